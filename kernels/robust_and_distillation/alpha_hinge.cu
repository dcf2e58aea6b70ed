// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "alpha_hinge.cuh"

LK_KERNEL(alpha_hinge, lk_alpha_hinge_args) { lk::elements_kernel<lk::AlphaHinge>(a); }
