// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "alpha_scaled_mse.cuh"

LK_KERNEL(alpha_scaled_mse, lk_alpha_scaled_mse_args) { lk::elements_kernel<lk::AlphaScaledMse>(a); }
