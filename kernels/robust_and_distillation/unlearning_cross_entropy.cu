// Bytes: the rows once from memory, their gradients once to memory; the second sweep finds a row in L2.
// Split: as skeletons/rows.cuh. Bound: memory; one exponential per element and sweep.
#include "unlearning_cross_entropy.cuh"

LK_KERNEL(unlearning_cross_entropy, lk_unlearning_cross_entropy_args) { lk::unlearning_cross_entropy(a); }
