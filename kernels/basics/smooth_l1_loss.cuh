// l = d^2 / (2 beta) below beta, |d| - beta / 2 from there on.
#pragma once
#include "losskit_args/smooth_l1_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct SmoothL1Loss : Pair<lk_smooth_l1_loss_args> {
  float beta, inverse;

  LK_DEVICE explicit SmoothL1Loss(const Args& a) : beta(static_cast<float>(a.opts.beta)), inverse(a.opts.beta > 0.0 ? static_cast<float>(1.0 / a.opts.beta) : 0.0f) {}

  LK_DEVICE float value(const float (&x)[2]) const {
    const float d = fabsf(x[0] - x[1]);
    return d < beta ? 0.5f * inverse * d * d : d - 0.5f * beta;
  }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    const float d = x[0] - x[1];
    g[0] = fabsf(d) < beta ? d * inverse : sign(d);
    g[1] = -g[0];
  }
};

}  // namespace lk
