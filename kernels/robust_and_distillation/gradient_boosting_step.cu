// Bytes: pred (softmax: three times), target and direction once. Split: row statistics of a softmax by a group of threads per
// row; then sums over samples, 32 columns by 8 rows at a time, in parts that a last kernel adds up in order. Bound: memory.
#include "losskit_args/gradient_boosting_step.h"
#include "gradient_boosting.cuh"

// Mirrored by src/losses/robust_and_distillation/gradient_boosting_step.rs.
struct lk_boosting_step_args {
  lk_gradient_boosting_step_args call;
  float* statistics;  // [n][2]: maximum, rest
  double* sums;       // [splits][2][k]
  uint64_t splits;
};

LK_KERNEL(gradient_boosting_statistics, lk_boosting_step_args) {
  using namespace lk;
  __shared__ float tops[32];
  __shared__ BoostSum sums[32];
  const lk_gradient_boosting_step_args& c = a.call;
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < c.n; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < c.n;
    const BoostSoftmax s = boost_softmax(at(c.pred, c.dtype, present ? r * c.k : 0), c.dtype, c.k, present, tops, sums);
    if (present && threadIdx.x == 0) {
      a.statistics[2 * r] = s.top;
      a.statistics[2 * r + 1] = s.rest;
    }
    __syncthreads();
  }
}

struct lk_boosting_sums {
  double slope, curvature;
};

LK_KERNEL(gradient_boosting_sums, lk_boosting_step_args) {
  using namespace lk;
  __shared__ lk_boosting_sums all[256];
  const lk_gradient_boosting_step_args& c = a.call;
  const u64 column = u64(blockIdx.x) * blockDim.x + threadIdx.x, step = u64(gridDim.y) * blockDim.y;
  Boost boost(c.opts.kind);
  lk_boosting_sums sum = {0.0, 0.0};
  for (u64 r = u64(blockIdx.y) * blockDim.y + threadIdx.y; column < c.k && r < c.n; r += step) {
    if (boost.kind == kBoostSoftmax) boost.row({a.statistics[2 * r], a.statistics[2 * r + 1]});
    const u64 i = r * c.k + column;
    const BoostElement e = boost.element(load1(c.pred, c.dtype, i), load1(c.target, c.dtype, i));
    const double d = load1(c.direction, c.dtype, i);
    sum.slope += e.residual * d;
    sum.curvature += e.hessian * d * d;
  }
  all[threadIdx.y * blockDim.x + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= c.k) return;
  for (unsigned y = 1; y < blockDim.y; ++y) {
    sum.slope += all[y * blockDim.x + threadIdx.x].slope;
    sum.curvature += all[y * blockDim.x + threadIdx.x].curvature;
  }
  a.sums[2 * blockIdx.y * c.k + column] = sum.slope;
  a.sums[(2 * blockIdx.y + 1) * c.k + column] = sum.curvature;
}

LK_KERNEL(gradient_boosting_step, lk_boosting_step_args) {
  using namespace lk;
  __shared__ lk_boosting_sums scratch[32];
  const lk_gradient_boosting_step_args& c = a.call;
  lk_boosting_sums sum = {0.0, 0.0};
  const u64 step = c.opts.per_class ? c.k : blockDim.x, first = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  for (u64 column = first; column < c.k; column += step) {
    for (u64 part = 0; part < a.splits; ++part) {
      sum.slope += a.sums[2 * part * c.k + column];
      sum.curvature += a.sums[(2 * part + 1) * c.k + column];
    }
  }
  if (!c.opts.per_class) {
    sum = reduce_group(sum, lk_boosting_sums{0.0, 0.0}, scratch, [](const lk_boosting_sums& p, const lk_boosting_sums& q) {
      return lk_boosting_sums{p.slope + q.slope, p.curvature + q.curvature};
    });
  }
  if (c.opts.per_class ? first >= c.k : first != 0) return;
  c.rho[c.opts.per_class ? first : 0] = sum.curvature == 0.0 ? 0.0f : static_cast<float>(sum.slope / sum.curvature);
}
