// Bytes: losses three times and prior twice (from L2 where they fit), weights and gradients once. Split: grid-stride;
// partial results of blocks, which every block of the next launch reduces again. Bound: launches for a batch of the
// usual size, one up to 8192 samples; then two f64 exponentials per sample.
#include "doubly_robust_reweighting.cuh"

LK_KERNEL(doubly_robust_reweighting_largest, lk_doubly_robust_reweighting_args) { lk::reweighting_largest(a); }
LK_KERNEL(doubly_robust_reweighting_sums, lk_doubly_robust_reweighting_args) { lk::reweighting_sums(a); }
LK_KERNEL(doubly_robust_reweighting, lk_doubly_robust_reweighting_args) { lk::reweighting(a); }
LK_KERNEL(doubly_robust_reweighting_small, lk_doubly_robust_reweighting_args) {
  lk::reweighting_largest(a);
  __syncthreads();
  lk::reweighting_sums(a);
  __syncthreads();
  lk::reweighting(a);
}
