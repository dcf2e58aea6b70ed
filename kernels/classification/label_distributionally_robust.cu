// Bytes: the row once from memory, its gradient once to memory; the other sweeps, one for the largest logit, one
// for the sums and some five more for a temperature of its own, find the row in L2. Split: as skeletons/rows.cuh.
// Bound: memory; adaptive rows by their exponentials.
#include "label_distributionally_robust.cuh"

LK_KERNEL(label_distributionally_robust, lk_label_distributionally_robust_args) { lk::label_distributionally_robust(a); }
