// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "kl_divergence.cuh"

LK_KERNEL(kl_divergence, lk_kl_divergence_args) { lk::elements_kernel<lk::KlDivergence>(a); }
