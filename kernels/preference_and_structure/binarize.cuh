// sign(x); surrogate gradient g w(|x|).
#pragma once
#include "losskit_args/binarize.h"
#include "../skeletons/map.cuh"

namespace lk {

// Slope of |x|^(1/o), that of its chord up to `interval`, 0 beyond `clip`.
struct ResteSlope {
  float clip, interval, root, power, steepest;

  LK_DEVICE ResteSlope(double o, double c, double m)
      : clip(static_cast<float>(c)),
        interval(static_cast<float>(m)),
        root(static_cast<float>(1.0 / o)),
        power(static_cast<float>(1.0 / o - 1.0)),
        steepest(static_cast<float>(pow(m, 1.0 / o - 1.0))) {}

  LK_DEVICE float at(float a, float log_a) const {
    return a > clip ? 0.0f : a <= interval ? steepest : root * expf(power * log_a);
  }
};

struct Binarize {
  using Args = lk_binarize_args;

  int kind;
  float clip;
  ResteSlope reste;

  LK_DEVICE explicit Binarize(const Args& a)
      : kind(a.opts.kind), clip(static_cast<float>(a.opts.clip)), reste(a.opts.o, a.opts.clip, a.opts.interval) {}

  LK_DEVICE float output(float x) const { return x >= 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
  LK_DEVICE float slope(float x) const {
    const float a = fabsf(x);
    if (x != x) return x;
    switch (kind) {
      case LK_BINARIZE_KIND_IDENTITY: return 1.0f;
      case LK_BINARIZE_KIND_CLIPPED: return a <= clip ? 1.0f : 0.0f;
      case LK_BINARIZE_KIND_POLYNOMIAL: return a < clip ? 2.0f / clip * (1.0f - a / clip) : 0.0f;
      default: return reste.at(a, logf(a));
    }
  }
};

}  // namespace lk
