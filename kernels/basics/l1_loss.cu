// Bytes: both inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements
// a thread. Bound: memory.
#include "l1_loss.cuh"

LK_KERNEL(l1_loss, lk_l1_loss_args) { lk::elements_kernel<lk::L1Loss>(a); }
