// l = a q^gamma c, m = z where t is 1 else -z, c = softplus(-m), q = sigmoid(-m);
// dm = -s a q^gamma (q + gamma (1 - q) c).
#pragma once
#include "losskit_args/focal_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct FocalLoss {
  using Args = lk_focal_loss_args;
  static constexpr int kInputs = 2, kGradients = 1;

  static LK_DEVICE u64 count(const Args& a) { return a.rows * a.classes; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.logits : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_logits; }

  struct Terms {
    float right, q, c, factor;
    bool positive;
  };
  float gamma, of_positive, of_negative;
  bool whole;                     // gamma is 0, 1 or 2
  float constant, linear, square;  // the power's coefficients then

  LK_DEVICE explicit FocalLoss(const Args& a) : gamma(static_cast<float>(a.opts.gamma)) {
    const float alpha = static_cast<float>(a.opts.alpha);
    of_positive = alpha < 0.0f ? 1.0f : alpha;
    of_negative = alpha < 0.0f ? 1.0f : 1.0f - alpha;
    constant = gamma == 0.0f ? 1.0f : 0.0f;
    linear = gamma == 1.0f ? 1.0f : 0.0f;
    square = gamma == 2.0f ? 1.0f : 0.0f;
    whole = constant + linear + square > 0.0f;
  }

  LK_DEVICE Terms terms(const float (&x)[2]) const {
    const bool positive = x[1] > 0.5f;
    const float z = fmaf(x[1], 0.0f, x[0]);  // the NaN of a target stays
    const float m = positive ? z : -z, e = exp_of_negative(m), near = ratio(1.0f, 1.0f + e), far = e * near;
    const float tail = log1p_of_fraction(e);
    const float q = m > 0.0f ? far : near, right = m > 0.0f ? near : far;
    return {right, q, relu(-m) + tail, (positive ? of_positive : of_negative) * power(q, m, tail), positive};
  }
  // q^gamma = e^(-gamma softplus(m)), with an exponent of two floats: its rounding error is a relative error of
  // the result.
  LK_DEVICE float power(float q, float m, float tail) const {
    if (whole) return fmaf(q, fmaf(q, square, linear), constant);
    const float above = relu(m), high = __fadd_rn(above, tail), low = tail - __fsub_rn(high, above);
    const float exponent = __fmul_rn(-gamma, high);
    const float rest = fmaf(-gamma, low, fmaf(-gamma, high, -exponent)), power = expf(exponent);
    return power > 0.0f ? fmaf(power, rest, power) : power;
  }

  LK_DEVICE float value(const float (&x)[2]) const {
    const Terms t = terms(x);
    return t.factor * t.c;
  }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[1]) const {
    const Terms t = terms(x);
    const float slope = t.factor * fmaf(gamma * t.right, t.c, t.q);
    g[0] = t.positive ? -slope : slope;
  }
};

}  // namespace lk
