// Operations: m n k multiply-adds of f64 for a product, n^3 / 3 in one block for LU, n^3 / 6 for Cholesky in products. Bound: f64 arithmetic, and
// latency: a hundred rows do not fill a GPU. cuBLAS is not worth its loading for that.
#include "dense.cuh"

LK_KERNEL(dense_product, lk_dense_product_args, 256) { lk::dense_product(a); }
LK_KERNEL(dense_parts, lk_dense_product_args) { lk::dense_parts(a); }
LK_KERNEL(dense_copy, lk_dense_copy_args) { lk::dense_copy(a); }
LK_KERNEL(dense_lu, lk_dense_lu_args) { lk::dense_lu(a); }
LK_KERNEL(dense_cholesky_square, lk_dense_cholesky_args, 256) { lk::dense_cholesky_square(a); }
LK_KERNEL(dense_cholesky_panel, lk_dense_cholesky_args, 64) { lk::dense_cholesky_panel(a); }
LK_KERNEL(dense_cholesky_solve, lk_dense_cholesky_args, 256) { lk::dense_cholesky_solve(a); }
LK_KERNEL(dense_solve, lk_dense_lu_args) { lk::dense_solve(a); }
