// Bytes: three rows once from memory, their gradients once to memory; the second sweep finds the rows in L2.
// Split: skeletons/row_sets.cuh. Bound: memory, on GPUs with full-rate f64 (three f64 operations for three
// elements); other norms than 1 and 2 by their powers.
#include "triplet_margin_loss.cuh"

LK_KERNEL(triplet_margin_loss, lk_triplet_margin_loss_args) { lk::row_sets_kernel<lk::TripletMarginLoss>(a); }
