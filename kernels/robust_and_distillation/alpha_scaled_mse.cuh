// l = (alpha (f - f0) - y)^2 / alpha^2; df = 2 s (alpha (f - f0) - y) / alpha.
#pragma once
#include "losskit_args/alpha_scaled_mse.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct AlphaScaledMse {
  using Args = lk_alpha_scaled_mse_args;
  static constexpr int kInputs = 3, kGradients = 1;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : i == 1 ? a.initial : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_pred; }

  float alpha, inverse;

  LK_DEVICE explicit AlphaScaledMse(const Args& a) : alpha(static_cast<float>(a.opts.alpha)), inverse(static_cast<float>(1.0 / a.opts.alpha)) {}

  LK_DEVICE float residual(const float (&x)[3]) const { return inverse * (alpha * (x[0] - x[1]) - x[2]); }
  LK_DEVICE float value(const float (&x)[3]) const {
    const float r = residual(x);
    return r * r;
  }
  LK_DEVICE void gradient(const float (&x)[3], float (&g)[1]) const { g[0] = 2.0f * residual(x); }
};

}  // namespace lk
