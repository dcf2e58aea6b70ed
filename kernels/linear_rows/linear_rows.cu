// Work: one matrix product forward (linear_rows_statistics); three backward for each tile: the logits again
// (linear_rows_gradient), the gradients of x and of the weight. Bound: tensor cores, three products of TF32 for f32; for f16
// and bf16 one, and for the gradients two and three, for their factor from the logits comes in parts. Weight is read once
// per 128 rows, x once per 128 classes. The tile lies in L2 where it fits.
#include "linear_rows.cuh"

LK_KERNEL(linear_rows_statistics_f32, lk_linear_rows_args, 256, 1) { lk::linear_statistics<LK_DTYPE_F32>(a); }
LK_KERNEL(linear_rows_statistics_f16, lk_linear_rows_args, 128, 2) { lk::linear_statistics<LK_DTYPE_F16>(a); }
LK_KERNEL(linear_rows_statistics_bf16, lk_linear_rows_args, 128, 2) { lk::linear_statistics<LK_DTYPE_BF16>(a); }
LK_KERNEL(linear_rows_losses, lk_linear_rows_args, 256) { lk::linear_losses(a); }
LK_KERNEL(linear_rows_gradient_f32, lk_linear_rows_args, 256, 1) { lk::linear_gradient<LK_DTYPE_F32>(a); }
LK_KERNEL(linear_rows_gradient_f16, lk_linear_rows_args, 128, 2) { lk::linear_gradient<LK_DTYPE_F16>(a); }
LK_KERNEL(linear_rows_gradient_bf16, lk_linear_rows_args, 128, 2) { lk::linear_gradient<LK_DTYPE_BF16>(a); }
LK_KERNEL(linear_rows_maxima, lk_linear_rows_args, 256) { lk::linear_maxima(a); }
LK_KERNEL(linear_rows_inputs, lk_linear_rows_args, 256) { lk::linear_inputs(a); }
LK_KERNEL(linear_rows_to_x_f32, lk_linear_rows_args, 256, 1) { lk::linear_to_x<LK_DTYPE_F32>(a); }
LK_KERNEL(linear_rows_to_x_f16, lk_linear_rows_args, 256, 1) { lk::linear_to_x<LK_DTYPE_F16>(a); }
LK_KERNEL(linear_rows_to_x_bf16, lk_linear_rows_args, 256, 1) { lk::linear_to_x<LK_DTYPE_BF16>(a); }
LK_KERNEL(linear_rows_add_parts, lk_linear_rows_args, 256) { lk::linear_add_parts(a); }
LK_KERNEL(linear_rows_to_weight_f32, lk_linear_rows_args, 256, 1) { lk::linear_to_weight<LK_DTYPE_F32>(a); }
LK_KERNEL(linear_rows_to_weight_f16, lk_linear_rows_args, 256, 1) { lk::linear_to_weight<LK_DTYPE_F16>(a); }
LK_KERNEL(linear_rows_to_weight_bf16, lk_linear_rows_args, 256, 1) { lk::linear_to_weight<LK_DTYPE_BF16>(a); }
LK_KERNEL(linear_rows_to_bias, lk_linear_rows_args, 256) { lk::linear_to_bias(a); }
