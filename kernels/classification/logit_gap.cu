// Bytes: order 2 the row once from memory, its gradient once to memory. Other orders: 64 and twice log2(classes)
// more sweeps over the row in L2. Split: skeletons/row_sets.cuh. Bound: memory; L2 for other orders.
#include "logit_gap.cuh"

LK_KERNEL(logit_gap, lk_logit_gap_args) { lk::row_sets_kernel<lk::LogitGap>(a); }
LK_KERNEL(logit_gap_of_order, lk_logit_gap_args) { lk::logit_gap_of_order(a); }
