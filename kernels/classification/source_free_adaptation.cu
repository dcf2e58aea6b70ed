// Bytes: logits twice from memory, the gradient once to memory. Split and bound: those of skeletons/maps.cuh.
#include "source_free_adaptation.cuh"

LK_KERNEL(source_free_adaptation_sums, lk_source_free_adaptation_args, 256, 3) { lk::maps_sums<lk::SourceFreeAdaptation>(a); }
LK_KERNEL(source_free_adaptation_totals, lk_source_free_adaptation_args) { lk::maps_totals<lk::SourceFreeAdaptation>(a); }
LK_KERNEL(source_free_adaptation_factors, lk_source_free_adaptation_args) { lk::adaptation_factors(a); }
LK_KERNEL(source_free_adaptation_gradient, lk_source_free_adaptation_args, 256, 3) { lk::maps_gradient<lk::SourceFreeAdaptation>(a); }
