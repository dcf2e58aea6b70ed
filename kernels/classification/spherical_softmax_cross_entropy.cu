// Bytes: the row once from memory, its gradient once to memory; the second sweep finds the row in L2.
// Split: skeletons/rows.cuh. Bound: memory, on GPUs with full-rate f64 (one or two f64 operations an element).
#include "spherical_softmax_cross_entropy.cuh"

LK_KERNEL(spherical_softmax_cross_entropy, lk_spherical_softmax_cross_entropy_args) {
  lk::rows_kernel<lk::SphericalSoftmax>(a);
}
