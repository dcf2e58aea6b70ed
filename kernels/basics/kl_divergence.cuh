// l = t (log t - x), 0 where t <= 0; e^t (t - x) where targets are logarithms.
#pragma once
#include "losskit_args/kl_divergence.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct KlDivergence {
  using Args = lk_kl_divergence_args;
  static constexpr int kInputs = 2, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.rows * a.classes; }
  static LK_DEVICE u64 rows(const Args& a) { return a.rows; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_pred : a.grad_target; }

  bool log_target;

  LK_DEVICE explicit KlDivergence(const Args& a) : log_target(a.opts.log_target) {}

  LK_DEVICE float value(const float (&x)[2]) const {
    if (log_target) return expf(x[1]) * (x[1] - x[0]);
    return x[1] <= 0.0f ? 0.0f : x[1] * (logf(x[1]) - x[0]);
  }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    if (log_target) {
      const float e = expf(x[1]);
      g[0] = -e;
      g[1] = e * (x[1] - x[0] + 1.0f);
      return;
    }
    const bool none = x[1] <= 0.0f;
    g[0] = none ? 0.0f : -x[1];
    g[1] = none ? 0.0f : logf(x[1]) - x[0] + 1.0f;
  }
};

}  // namespace lk
