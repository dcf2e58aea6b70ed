// Operations: 4 rows d experts forward; twice that again for the gradient of x, and for those of the weights. Bytes: x
// once for each 64 experts, tiles of rows x experts written and read. Split: 64 x 64 tiles of products; a group of
// threads per row for what is between them; sums over rows in fixed parts, added up in order. Bound: f32 arithmetic.
#include "gaussian_mixture_of_experts.cuh"

LK_KERNEL(mixture_precision, lk_mixture_args, 256) { lk::mixture_precision(a); }
LK_KERNEL(mixture_products, lk_mixture_args, 256) { lk::mixture_products(a); }
LK_KERNEL(mixture_rows, lk_mixture_args) { lk::mixture_rows(a); }
LK_KERNEL(mixture_to_x, lk_mixture_args, 256) { lk::mixture_to_x(a); }
LK_KERNEL(mixture_to_weights, lk_mixture_args, 256) { lk::mixture_to_weights(a); }
LK_KERNEL(mixture_add_weights, lk_mixture_args, 256) { lk::mixture_add_weights(a); }
LK_KERNEL(mixture_to_experts, lk_mixture_args, 256) { lk::mixture_to_experts(a); }
LK_KERNEL(mixture_add_experts, lk_mixture_args, 256) { lk::mixture_add_experts(a); }
