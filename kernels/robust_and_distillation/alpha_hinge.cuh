// l = max(0, margin - alpha t (f - f0)) / alpha^p; df = -s t alpha^(1-p) where l > 0.
#pragma once
#include "losskit_args/alpha_hinge.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct AlphaHinge {
  using Args = lk_alpha_hinge_args;
  static constexpr int kInputs = 3, kGradients = 1;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.scores : i == 1 ? a.initial : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_scores; }

  float alpha, margin, scale, slope;  // scale = alpha^-p, slope = alpha^(1-p)

  LK_DEVICE explicit AlphaHinge(const Args& a) : alpha(static_cast<float>(a.opts.alpha)), margin(static_cast<float>(a.opts.margin)),
        scale(static_cast<float>(pow(a.opts.alpha, -a.opts.scale_power))),
        slope(static_cast<float>(pow(a.opts.alpha, 1.0 - a.opts.scale_power))) {}

  LK_DEVICE float violation(const float (&x)[3]) const { return margin - x[2] * (alpha * (x[0] - x[1])); }
  LK_DEVICE float value(const float (&x)[3]) const { return scale * relu(violation(x)); }
  LK_DEVICE void gradient(const float (&x)[3], float (&g)[1]) const { g[0] = hinged(violation(x), -slope * x[2]); }
};

}  // namespace lk
