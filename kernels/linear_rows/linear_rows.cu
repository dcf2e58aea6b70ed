// Work: one matrix product forward (linear_rows_statistics); three backward for each tile: the logits again
// (linear_rows_gradient), the gradients of x and of the weight. Bound: f32 fused multiply-adds, for f16 and bf16 tensor
// cores; weight is read once per 128 rows, x once per 64 classes. The tile lies in L2 where it fits.
#include "linear_rows.cuh"

LK_KERNEL(linear_rows_statistics, lk_linear_rows_args, lk::kTileThreads, 2) { lk::linear_statistics(a); }
LK_KERNEL(linear_rows_losses, lk_linear_rows_args, lk::kTileThreads) { lk::linear_losses(a); }
LK_KERNEL(linear_rows_gradient, lk_linear_rows_args, lk::kTileThreads, 2) { lk::linear_gradient(a); }
LK_KERNEL(linear_rows_to_x, lk_linear_rows_args, lk::kTileThreads, 2) { lk::linear_to_x(a); }
LK_KERNEL(linear_rows_add_parts, lk_linear_rows_args, lk::kTileThreads) { lk::linear_add_parts(a); }
LK_KERNEL(linear_rows_to_weight, lk_linear_rows_args, lk::kTileThreads, 2) { lk::linear_to_weight(a); }
LK_KERNEL(linear_rows_to_bias, lk_linear_rows_args, lk::kTileThreads) { lk::linear_to_bias(a); }
