// Bytes: all inputs once from memory, each wanted gradient once to memory; the margins read them again. Split:
// grid-stride. Bound: launch latency, pairs are few.
#include "dpo_loss.cuh"

LK_KERNEL(dpo_loss, lk_dpo_loss_args) { lk::elements_kernel<lk::DpoLoss>(a); }
LK_KERNEL(dpo_loss_margins, lk_dpo_loss_args) { lk::dpo_margins(a); }
