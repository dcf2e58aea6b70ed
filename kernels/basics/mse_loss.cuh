// l = (pred - target)^2; dpred = 2 s (pred - target) = -dtarget.
#pragma once
#include "losskit_args/mse_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct MseLoss : Pair<lk_mse_loss_args> {
  LK_DEVICE explicit MseLoss(const Args&) {}

  LK_DEVICE float value(const float (&x)[2]) const { return (x[0] - x[1]) * (x[0] - x[1]); }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    g[0] = 2.0f * (x[0] - x[1]);
    g[1] = -g[0];
  }
};

}  // namespace lk
