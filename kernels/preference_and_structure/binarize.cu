// Bytes: the input once from memory, the output or the gradient once to memory. Bound: memory.
#include "binarize.cuh"

LK_KERNEL(binarize, lk_binarize_args) { lk::map_kernel<lk::Binarize>(a, a.n, a.input, a.output, a.grad_input); }
