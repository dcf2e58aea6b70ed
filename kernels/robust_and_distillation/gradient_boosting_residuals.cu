// Bytes: pred once from memory (softmax: twice more from cache), target once, each output once to memory. Split: a group of
// threads per row. Bound: memory.
#include "losskit_args/gradient_boosting_residuals.h"
#include "gradient_boosting.cuh"

LK_KERNEL(gradient_boosting_residuals, lk_gradient_boosting_residuals_args) {
  using namespace lk;
  __shared__ float tops[32];
  __shared__ BoostSum sums[32];
  __shared__ double losses[32];
  Boost boost(a.opts.kind);
  // The same number of turns for all threads of a block: they meet at barriers.
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.n; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.n;
    const u64 start = present ? r * a.k : 0;
    if (boost.kind == kBoostSoftmax) boost.row(boost_softmax(at(a.pred, a.dtype, start), a.dtype, a.k, present, tops, sums));
    double loss = 0.0;
    for (u64 j = threadIdx.x; present && j < a.k; j += blockDim.x) {
      const BoostElement e = boost.element(load1(a.pred, a.dtype, start + j), load1(a.target, a.dtype, start + j));
      if (a.residuals) a.residuals[start + j] = e.residual;
      if (a.hessian) a.hessian[start + j] = e.hessian;
      loss += e.loss;
    }
    loss = reduce_group(loss, 0.0, losses, [](double p, double q) { return p + q; });
    if (present && threadIdx.x == 0 && a.losses) a.losses[r] = static_cast<float>(loss);
    __syncthreads();
  }
}
