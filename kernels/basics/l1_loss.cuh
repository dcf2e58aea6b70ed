// l = |pred - target|; dpred = s sign(pred - target) = -dtarget, sign(0) = 0.
#pragma once
#include "losskit_args/l1_loss.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct L1Loss : Pair<lk_l1_loss_args> {
  LK_DEVICE explicit L1Loss(const Args&) {}

  LK_DEVICE float value(const float (&x)[2]) const { return fabsf(x[0] - x[1]); }
  LK_DEVICE void gradient(const float (&x)[2], float (&g)[2]) const {
    g[0] = sign(x[0] - x[1]);
    g[1] = -g[0];
  }
};

}  // namespace lk
