// Bytes: the logits twice from memory for the statistics (the second time from L2) and once for the gradient,
// which is written once; 48 bytes per frame, sample and label for the variables, in L2. Bound: latency of
// `time` dependent steps in ctc_loss, memory in the other two.
#include "ctc_loss.cuh"

LK_KERNEL(ctc_loss_rows, lk_ctc_loss_args) { lk::ctc_rows(a); }
LK_KERNEL(ctc_loss, lk_ctc_loss_args) { lk::ctc_sample(a); }
LK_KERNEL(ctc_loss_gradient, lk_ctc_loss_args) { lk::ctc_gradient(a); }
