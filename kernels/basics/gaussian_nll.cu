// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "gaussian_nll.cuh"

LK_KERNEL(gaussian_nll, lk_gaussian_nll_args) { lk::elements_kernel<lk::GaussianNll>(a); }
