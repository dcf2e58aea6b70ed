// l = |pred - target|; dpred = s sign(pred - target) = -dtarget, sign(0) = 0.
#pragma once
#include "../skeletons/elements.cuh"

namespace lk {

struct L1Loss {
  using Args = lk_l1_loss_args;
  static constexpr int kInputs = 2, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_pred : a.grad_target; }

  LK_DEVICE explicit L1Loss(const Args&) {}

  LK_DEVICE float value(const float (&x)[2]) const { return fabsf(x[0] - x[1]); }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    const float d = x[0] - x[1];
    g[0] = d > 0.0f ? 1.0f : d < 0.0f ? -1.0f : d;
    g[1] = -g[0];
  }
};

}  // namespace lk
