// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "focal_loss.cuh"

LK_KERNEL(focal_loss, lk_focal_loss_args) { lk::elements_kernel<lk::FocalLoss>(a); }
