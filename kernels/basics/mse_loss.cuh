// l = (pred - target)^2; dpred = 2 s (pred - target) = -dtarget.
#pragma once
#include "../skeletons/elements.cuh"

namespace lk {

struct MseLoss {
  using Args = lk_mse_loss_args;
  static constexpr int kInputs = 2, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_pred : a.grad_target; }

  LK_DEVICE explicit MseLoss(const Args&) {}

  LK_DEVICE float value(const float (&x)[2]) const { return (x[0] - x[1]) * (x[0] - x[1]); }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    g[0] = 2.0f * (x[0] - x[1]);
    g[1] = -g[0];
  }
};

}  // namespace lk
