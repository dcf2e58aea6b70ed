// h_(k+1) = (x h_k - sqrt(k) h_(k-1)) / sqrt(k+1), in f64; dx = sum_k g_k sqrt(k) h_(k-1).
// Bytes: the values once from memory, the features (or their upstream gradients) once. Split: one value a thread.
// Bound: f64 arithmetic, or memory where that is fast.
#include "losskit_args/hermite_features.h"
#include "../common.cuh"

LK_KERNEL(hermite_features, lk_hermite_features_args) {
  using namespace lk;
  const u64 step = u64(gridDim.x) * blockDim.x, width = static_cast<u64>(a.opts.degree) + 1;
  const bool backward = a.pass == kPassBackward;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const double x = load1(a.x, a.dtype, i);
    double before = 0.0, h = 1.0, sum = 0.0;
    for (u64 k = 0; k < width; ++k) {
      const double root = sqrt(static_cast<double>(k)), slope = root * before;
      if (backward) {
        sum += slope * (a.grad_loss ? a.grad_loss[i * width + k] : 1.0f);
      } else {
        a.features[i * width + k] = static_cast<float>(h);
      }
      const double next = (x * h - slope) / sqrt(static_cast<double>(k) + 1.0);
      before = h;
      h = next;
    }
    if (backward) store1(a.grad_x, a.dtype, i, static_cast<float>(sum));
  }
}
