// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "smooth_l1_loss.cuh"

LK_KERNEL(smooth_l1_loss, lk_smooth_l1_loss_args) { lk::elements_kernel<lk::SmoothL1Loss>(a); }
