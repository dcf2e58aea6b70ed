// Bytes: the sample's rows in all models once from memory, their gradients once to memory; the other sweeps find the
// rows in L2. Split: as skeletons/rows.cuh. Bound: memory; a mean over many models by the loads of single logits.
#include "ensemble_cross_entropy.cuh"

LK_KERNEL(ensemble_cross_entropy, lk_ensemble_cross_entropy_args) { lk::ensemble_cross_entropy(a); }
