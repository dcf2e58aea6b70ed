// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "poisson_nll.cuh"

LK_KERNEL(poisson_nll, lk_poisson_nll_args) { lk::elements_kernel<lk::PoissonNll>(a); }
