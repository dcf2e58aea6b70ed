// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "margin_ranking_loss.cuh"

LK_KERNEL(margin_ranking_loss, lk_margin_ranking_loss_args) { lk::elements_kernel<lk::MarginRankingLoss>(a); }
