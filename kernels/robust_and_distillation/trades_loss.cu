// Bytes: the inputs once from memory and once from cache, each wanted gradient once to memory. Split: a group of
// threads per row, see skeletons/row_sets.cuh. Bound: memory.
#include "trades_loss.cuh"

LK_KERNEL(trades_loss, lk_trades_loss_args) { lk::row_sets_kernel<lk::TradesLoss>(a); }
