// Work: one matrix product forward (linear_rows_statistics); three backward for each tile: the logits again
// (linear_rows_gradient), the gradients of x and of the weight. Bound: f32 fused multiply-adds, for f16 and bf16 tensor
// cores; x and weight are read once per 64 rows or classes of the other. The tile lies in L2 where it fits.
#include "linear_rows.cuh"

LK_KERNEL(linear_rows_statistics, lk_linear_rows_args, lk::kTileThreads) { lk::linear_statistics(a); }
LK_KERNEL(linear_rows_losses, lk_linear_rows_args, lk::kTileThreads) { lk::linear_losses(a); }
LK_KERNEL(linear_rows_gradient, lk_linear_rows_args, lk::kTileThreads) { lk::linear_gradient(a); }
LK_KERNEL(linear_rows_to_x, lk_linear_rows_args, lk::kTileThreads) { lk::linear_to_x(a); }
LK_KERNEL(linear_rows_to_weight, lk_linear_rows_args, lk::kTileThreads) { lk::linear_to_weight(a); }
LK_KERNEL(linear_rows_to_bias, lk_linear_rows_args, lk::kTileThreads) { lk::linear_to_bias(a); }
