// Bytes: logits, target and weight once from memory, each wanted gradient once to memory; pos_weight stays
// in cache. Split: grid-stride, 8 elements a thread. Bound: memory.
#include "bce_with_logits.cuh"

LK_KERNEL(bce_with_logits, lk_bce_with_logits_args) { lk::elements_kernel<lk::BceWithLogits>(a); }
