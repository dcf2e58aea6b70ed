// Bytes: those of the selection (selection/select.cu), then each gradient read and a byte written once. Split:
// grid-stride, 8 elements a thread. Bound: memory.
#include "saliency_mask.cuh"

LK_KERNEL(saliency_mask, lk_saliency_mask_args) { lk::saliency_mask(a); }
