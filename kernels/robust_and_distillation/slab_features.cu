// Coordinates in slabs that belong to the classes by turns. As src/losses/robust_and_distillation/slab_features.rs.
// Bytes: the uniforms once, the features once; targets and slabs from cache. Split: a thread per element. Bound: memory,
// or Philox and f64 where numbers are drawn.
#include "losskit_args/slab_features.h"
#include "../common.cuh"
#include "../philox.cuh"

LK_KERNEL(slab_features, lk_slab_features_args) {
  using namespace lk;
  const u64 step = u64(gridDim.x) * blockDim.x, count = a.n * a.coordinates;
  const Philox philox = {a.opts.seed, a.opts.offset};
  const double margin = a.opts.margin;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < count; e += step) {
    const int64_t k = a.slabs[e % a.coordinates];
    const double t = load1(a.target, a.dtype, e / a.coordinates);
    const bool valid = k >= 1 && k % 2 != 0 && margin < 2.0 / static_cast<double>(k);
    if (!valid) atomicOr(a.device_flags, kFlagLabel);
    if (!valid || (t != 1.0 && t != -1.0)) {
      a.features[e] = quiet_nan();
      continue;
    }
    const double u = a.uniforms ? a.uniforms[e] : philox_uniform(philox.word(e));
    if (k == 1) {
      a.features[e] = static_cast<float>(t * (margin / 2.0 + (1.0 - margin / 2.0) * u));
      continue;
    }
    const int own = t > 0.0 ? 1 : 0;
    const double width = 2.0 / static_cast<double>(k), v = u * (static_cast<double>((k - 1) / 2) + (1 - own));
    const double number = floor(v), slab = 2.0 * number + own;
    a.features[e] = static_cast<float>(-1.0 + width * slab + margin / 2.0 + (width - margin) * (v - number));
  }
}
