// Bytes: the row once from memory, its gradient once to memory; the second sweep finds the row in L2.
// Split: skeletons/rows.cuh. Bound: memory, on GPUs with full-rate f64 (three f64 operations an element).
#include "z_loss.cuh"

LK_KERNEL(z_loss, lk_z_loss_args) { lk::rows_kernel<lk::ZLoss>(a); }
