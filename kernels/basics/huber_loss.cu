// Bytes: all inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements a
// thread. Bound: memory.
#include "huber_loss.cuh"

LK_KERNEL(huber_loss, lk_huber_loss_args) { lk::elements_kernel<lk::HuberLoss>(a); }
