// l = d^2 / 2 up to delta, delta (|d| - delta / 2) from there on; dpred = s clamp(d) = -dtarget.
#pragma once
#include "losskit_args/huber_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct HuberLoss : Pair<lk_huber_loss_args> {
  float delta;

  LK_DEVICE explicit HuberLoss(const Args& a) : delta(static_cast<float>(a.opts.delta)) {}

  LK_DEVICE float value(const float (&x)[2]) const {
    const float d = fabsf(x[0] - x[1]);
    return d <= delta ? 0.5f * d * d : delta * (d - 0.5f * delta);
  }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    const float d = x[0] - x[1];
    g[0] = d > delta ? delta : d < -delta ? -delta : d;
    g[1] = -g[0];
  }
};

}  // namespace lk
