// Bytes: both inputs once from memory, each wanted gradient once to memory. Split: grid-stride, 8 elements
// a thread. Bound: memory.
#include "mse_loss.cuh"

LK_KERNEL(mse_loss, lk_mse_loss_args) { lk::elements_kernel<lk::MseLoss>(a); }
