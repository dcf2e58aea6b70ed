// l = w [(1-t) softplus(z) + q t softplus(-z)] = w [(1-t) z + k softplus(-z)], k = 1 + (q-1) t;
// dz = s w [(1-t) - k logistic(-z)]; dt = s w [q softplus(-z) - softplus(z)]. For z < 0 the z inside softplus(-z) is taken out and cancelled by
// hand: l = w [-q t z + k log1p(e^z)], dz = s w [-q t + k logistic(z)].
#pragma once
#include "losskit_args/bce_with_logits.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct BceWithLogits {
  using Args = lk_bce_with_logits_args;
  static constexpr int kInputs = 4, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.rows * a.classes; }
  static LK_DEVICE Operand input(const Args& a, int i) {
    switch (i) {
      case 0: return {a.logits, 0, 0.0f};
      case 1: return {a.target, 0, 0.0f};
      case 2: return {a.weight, 0, 1.0f};
      default: return {a.pos_weight, a.classes, 1.0f};
    }
  }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_logits : a.grad_target; }

  LK_DEVICE explicit BceWithLogits(const Args&) {}

  LK_DEVICE float value(const float (&x)[4]) const {
    const float z = x[0], t = x[1], q = x[3], k = fmaf(q, t, 1.0f - t);
    const float tail = log1p_of_fraction(exp_of_negative(z));
    return x[2] * fmaf(k, tail, z < 0.0f ? -q * t * z : (1.0f - t) * z);
  }
  LK_DEVICE void gradient(const float (&x)[4], float (&g)[2]) const {
    const float z = x[0], t = x[1], q = x[3], k = fmaf(q, t, 1.0f - t);
    const float e = exp_of_negative(z), small = ratio(e, 1.0f + e);
    const float tail = log1p_of_fraction(e), above = fmaxf(z, 0.0f) + tail, below = fmaxf(-z, 0.0f) + tail;
    g[0] = x[2] * (z < 0.0f ? fmaf(k, small, -q * t) : fmaf(-k, small, 1.0f - t));
    g[1] = x[2] * fmaf(q, below, -above);
  }
};

}  // namespace lk
