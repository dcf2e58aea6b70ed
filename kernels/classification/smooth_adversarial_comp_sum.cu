// Bytes: both rows once from memory, their gradients once to memory; the second sweep finds the rows in L2.
// Split: skeletons/row_sets.cuh. Bound: memory, on GPUs with full-rate f64 (two f64 operations an element).
#include "smooth_adversarial_comp_sum.cuh"

LK_KERNEL(smooth_adversarial_comp_sum, lk_smooth_adversarial_comp_sum_args) {
  lk::row_sets_kernel<lk::SmoothAdversarialCompSum>(a);
}
