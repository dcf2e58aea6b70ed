// l = (log c + d^2 / c) / 2, c = max(var, eps), d = pred - target.
#pragma once
#include "losskit_args/gaussian_nll.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct GaussianNll {
  using Args = lk_gaussian_nll_args;
  static constexpr int kInputs = 3, kGradients = 3;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : i == 1 ? a.target : a.var, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_pred : i == 1 ? a.grad_target : a.grad_var; }

  float eps, constant;  // log(2 pi) / 2, or 0

  LK_DEVICE explicit GaussianNll(const Args& a) : eps(static_cast<float>(a.opts.eps)), constant(a.opts.full ? 0.9189385f : 0.0f) {}

  LK_DEVICE float clamped(float var) const { return var < eps ? eps : var; }
  LK_DEVICE float value(const float (&x)[3]) const {
    const float c = clamped(x[2]), d = x[0] - x[1];
    return 0.5f * (logf(c) + d * d / c) + constant;
  }
  LK_DEVICE void gradient(const float (&x)[3], float (&g)[3]) const {
    const float c = clamped(x[2]);
    g[0] = (x[0] - x[1]) / c;
    g[1] = -g[0];
    g[2] = 0.5f * (1.0f / c - g[0] * g[0]);
  }
};

}  // namespace lk
