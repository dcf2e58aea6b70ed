// l = h^p, h = max(0, margin - t y); dy = -s t p h^(p-1) where h > 0.
#pragma once
#include "losskit_args/hinge_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct HingeLoss {
  using Args = lk_hinge_loss_args;
  static constexpr int kInputs = 2, kGradients = 1;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.scores : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_scores; }

  float margin;
  bool squared;

  LK_DEVICE explicit HingeLoss(const Args& a) : margin(static_cast<float>(a.opts.margin)), squared(a.opts.p == 2) {}

  LK_DEVICE float violation(const float (&x)[2]) const { return margin - x[1] * x[0]; }
  LK_DEVICE float value(const float (&x)[2]) const {
    const float h = relu(violation(x));
    return squared ? h * h : h;
  }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[1]) const {
    const float h = violation(x);
    g[0] = hinged(h, squared ? -2.0f * h * x[1] : -x[1]);
  }
};

}  // namespace lk
