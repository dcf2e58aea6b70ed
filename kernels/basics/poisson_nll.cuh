// l = e^x - t x, or x - t log(x + eps); Stirling where t > 1.
#pragma once
#include "losskit_args/poisson_nll.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct PoissonNll {
  using Args = lk_poisson_nll_args;
  static constexpr int kInputs = 2, kGradients = 1;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_pred; }

  bool log_input, full;
  float eps;

  LK_DEVICE explicit PoissonNll(const Args& a) : log_input(a.opts.log_input), full(a.opts.full), eps(static_cast<float>(a.opts.eps)) {}

  LK_DEVICE float value(const float (&x)[2]) const {
    const float t = x[1], l = log_input ? expf(x[0]) - t * x[0] : x[0] - t * logf(x[0] + eps);
    if (!full || !(t > 1.0f)) return l;
    const float log_t = logf(t);
    return l + (t * (log_t - 1.0f) + fmaf(0.5f, log_t, 0.9189385f));
  }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[1]) const {
    g[0] = log_input ? expf(x[0]) - x[1] : 1.0f - x[1] / (x[0] + eps);
  }
};

}  // namespace lk
