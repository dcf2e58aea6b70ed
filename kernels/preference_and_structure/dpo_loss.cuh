// h = beta d, d = (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected), and a loss of it.
#pragma once
#include "losskit_args/dpo_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct DpoLoss {
  using Args = lk_dpo_loss_args;
  static constexpr int kInputs = 4, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.pairs; }
  static LK_DEVICE Operand input(const Args& a, int i) {
    return {i == 0 ? a.policy_chosen : i == 1 ? a.policy_rejected : i == 2 ? a.reference_chosen : a.reference_rejected, 0, 0.0f};
  }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_policy_chosen : a.grad_policy_rejected; }

  int kind;
  float beta, keep, flip;  // (1 - e) and e, divided by 1 - 2 e for rdpo
  float goal, goal_rest;   // 1 / (2 beta)

  LK_DEVICE explicit DpoLoss(const Args& a) : kind(a.opts.kind), beta(static_cast<float>(a.opts.beta)) {
    const double e = kind == LK_DPO_LOSS_KIND_DPO ? 0.0 : a.opts.flip_probability, half = 0.5 / a.opts.beta;
    const bool unbiased = kind == LK_DPO_LOSS_KIND_RDPO;
    keep = static_cast<float>(unbiased ? (1.0 - e) / (1.0 - 2.0 * e) : 1.0 - e);
    flip = static_cast<float>(unbiased ? -e / (1.0 - 2.0 * e) : e);
    goal = static_cast<float>(half);
    goal_rest = static_cast<float>(half - goal);
  }

  // a - b, and what rounding took from it.
  static LK_DEVICE float minus(float a, float b, float& rest) {
    const float d = __fsub_rn(a, b), back = __fsub_rn(d, a);
    rest = __fsub_rn(__fsub_rn(a, __fsub_rn(d, back)), __fadd_rn(b, back));
    return d;
  }
  static LK_DEVICE float difference(const float (&x)[4], float& rest) {
    float r, q, p;
    const float a = minus(x[0], x[2], r), b = minus(x[1], x[3], q), d = minus(a, b, p);
    rest = p + (r - q);
    if (!(fabsf(rest) < infinity())) rest = 0.0f;  // infinite differences have no rest
    return d;
  }
  LK_DEVICE float margin(const float (&x)[4]) const {
    float rest;
    const float d = difference(x, rest);
    return beta * (d + rest);
  }
  LK_DEVICE float beyond_goal(const float (&x)[4]) const {
    float rest;
    const float d = difference(x, rest);
    return __fsub_rn(d, goal) + (rest - goal_rest);
  }

  static LK_DEVICE float softplus(float x) { return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x))); }
  static LK_DEVICE float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
  }

  LK_DEVICE float value(const float (&x)[4]) const {
    if (kind == LK_DPO_LOSS_KIND_IPO) {
      const float d = beyond_goal(x);
      return d * d;
    }
    const float h = margin(x);
    if (kind == LK_DPO_LOSS_KIND_HINGE) return 1.0f - h < 0.0f ? 0.0f : 1.0f - h;
    const float wrong = softplus(-h);
    return flip == 0.0f ? wrong : fmaf(keep, wrong, flip * softplus(h));
  }
  LK_DEVICE void gradient(const float (&x)[4], float (&g)[2]) const {
    if (kind == LK_DPO_LOSS_KIND_IPO) {
      g[0] = 2.0f * beyond_goal(x);
    } else {
      const float h = margin(x);
      if (kind == LK_DPO_LOSS_KIND_HINGE) {
        g[0] = h != h ? h : h < 1.0f ? -beta : 0.0f;
      } else {
        const float wrong = keep * sigmoid(-h), right = flip == 0.0f ? 0.0f : flip * sigmoid(h);
        g[0] = beta * (right - wrong);
      }
    }
    g[1] = -g[0];
  }
};

LK_DEVICE void dpo_margins(const lk_dpo_loss_args& a) {
  const DpoLoss loss(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.pairs; i += step) {
    float x[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) x[n] = load1(DpoLoss::input(a, n).data, a.dtype, i);
    a.margins[i] = loss.margin(x);
  }
}

}  // namespace lk
