// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "hinge_loss.cuh"

LK_KERNEL(hinge_loss, lk_hinge_loss_args) { lk::elements_kernel<lk::HingeLoss>(a); }
