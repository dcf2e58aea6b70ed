// Bytes: the row once from memory, its gradient once to memory; other orders than 2: two more sweeps over the row in L2,
// and 64 more with twice log2(classes) for many equal logits or a high order. Split: skeletons/row_sets.cuh. Bound:
// memory; L2 for other orders.
#include "logit_gap.cuh"

LK_KERNEL(logit_gap, lk_logit_gap_args) { lk::row_sets_kernel<lk::LogitGap>(a); }
LK_KERNEL(logit_gap_of_order, lk_logit_gap_args) { lk::logit_gap_of_order(a); }
