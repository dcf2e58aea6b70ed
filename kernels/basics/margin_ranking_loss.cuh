// l = max(0, margin - t (a - b)); da = -s t where l > 0, db = -da.
#pragma once
#include "losskit_args/margin_ranking_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct MarginRankingLoss {
  using Args = lk_margin_ranking_loss_args;
  static constexpr int kInputs = 3, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.a : i == 1 ? a.b : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_a : a.grad_b; }

  float margin;

  LK_DEVICE explicit MarginRankingLoss(const Args& a) : margin(static_cast<float>(a.opts.margin)) {}

  LK_DEVICE float violation(const float (&x)[3]) const { return margin - x[2] * (x[0] - x[1]); }
  LK_DEVICE float value(const float (&x)[3]) const { return relu(violation(x)); }
  LK_DEVICE void gradient(const float (&x)[3], float (&g)[2]) const {
    g[1] = hinged(violation(x), x[2]);
    g[0] = -g[1];
  }
};

}  // namespace lk
