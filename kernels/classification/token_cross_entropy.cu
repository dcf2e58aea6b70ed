// Bytes: the row once from memory, its gradient once to memory; the second sweep finds the row in L2.
// Split: skeletons/rows.cuh. Bound: memory; one exponential per element and sweep.
#include "token_cross_entropy.cuh"

LK_KERNEL(token_cross_entropy, lk_token_cross_entropy_args) { lk::rows_kernel<lk::TokenCrossEntropy>(a); }
