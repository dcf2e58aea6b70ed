// Bytes: the inputs once from memory and once from cache, each wanted gradient once to memory. Split: a group of
// threads per row, see skeletons/row_sets.cuh. Bound: memory.
#include "distillation_kl.cuh"

LK_KERNEL(distillation_kl, lk_distillation_kl_args) { lk::row_sets_kernel<lk::DistillationKl>(a); }
