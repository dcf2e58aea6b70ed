// Bytes: logits once from memory and once from L2, the gradient once to memory. Split: a group of threads per row,
// see skeletons/rows.cuh. Bound: memory.
#include "softmax_focal_loss.cuh"

LK_KERNEL(softmax_focal_loss, lk_softmax_focal_loss_args) { lk::rows_kernel<lk::SoftmaxFocalLoss>(a); }
