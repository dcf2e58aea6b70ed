// Bytes: the row once from memory, its gradient once to memory; the second sweep finds the row in L2.
// Split: skeletons/rows.cuh. Bound: memory; one exponential per element and sweep.
#include "entropy_regularized_cross_entropy.cuh"

LK_KERNEL(entropy_regularized_cross_entropy, lk_entropy_regularized_cross_entropy_args) {
  lk::rows_kernel<lk::EntropyRegularizedCrossEntropy>(a);
}
