// The diagonal and the loss of ridge regression; products and the decomposition are kernels/dense. Bytes: predictions, targets
// and weights once. Split: parts of equal length, added up in order. Bound: the products, in f64.
#include "losskit_args/ridge_regression.h"
#include "../common.cuh"

// Mirrored by src/losses/preference_and_structure/ridge_regression/device.rs.
struct lk_ridge_args {
  lk_ridge_regression_args call;
  double* matrix;  // [side][side]
  uint64_t side;
  double* weights;    // [m][k]
  double* residuals;  // [n][k]: predictions
  double* parts;      // [256][2]: squared residuals, squared weights
};

struct lk_ridge_squares {
  double residuals, weights;
};

LK_KERNEL(ridge_diagonal, lk_ridge_args) {
  using namespace lk;
  const u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < a.side) a.matrix[i * a.side + i] += static_cast<double>(a.call.n) * a.call.opts.regularization;
}

LK_KERNEL(ridge_squares, lk_ridge_args) {
  using namespace lk;
  __shared__ lk_ridge_squares scratch[32];
  const lk_ridge_regression_args& c = a.call;
  const u64 step = u64(gridDim.x) * blockDim.x, first = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  lk_ridge_squares sum = {0.0, 0.0};
  for (u64 i = first; i < c.n * c.k; i += step) {
    const double residual = a.residuals[i] - load1(c.target, c.dtype, i);
    sum.residuals += residual * residual;
  }
  for (u64 i = first; i < c.m * c.k; i += step) sum.weights += a.weights[i] * a.weights[i];
  sum = reduce_group(sum, lk_ridge_squares{0.0, 0.0}, scratch, [](const lk_ridge_squares& p, const lk_ridge_squares& q) {
    return lk_ridge_squares{p.residuals + q.residuals, p.weights + q.weights};
  });
  if (threadIdx.x != 0) return;
  a.parts[2 * blockIdx.x] = sum.residuals;
  a.parts[2 * blockIdx.x + 1] = sum.weights;
}

LK_KERNEL(ridge_regression, lk_ridge_args) {
  using namespace lk;
  __shared__ double scratch[32];
  const lk_ridge_regression_args& c = a.call;
  const double n = c.n ? static_cast<double>(c.n) : 1.0;
  double loss = a.parts[2 * threadIdx.x] / n + c.opts.regularization * a.parts[2 * threadIdx.x + 1];
  loss = reduce_group(loss, 0.0, scratch, [](double p, double q) { return p + q; });
  if (threadIdx.x == 0) *c.loss = static_cast<float>(loss);
}
