// Operations: some 300 in f64 and two Philox blocks per element, rarely more. Bytes: inputs and draws once. Split: an element a
// thread. Bound: f64 arithmetic.
#include "beta_mask_sample.cuh"

LK_KERNEL(beta_mask_sample, lk_beta_mask_sample_args, 128) { lk::beta_mask_sample(a); }
