// Bytes: logits once from memory and once from L2, the gradient once to memory. Split: a group of threads per row,
// see skeletons/row_sets.cuh. Bound: memory.
#include "multi_margin_loss.cuh"

LK_KERNEL(multi_margin_loss, lk_multi_margin_loss_args) { lk::row_sets_kernel<lk::MultiMarginLoss>(a); }
