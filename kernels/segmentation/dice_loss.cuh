// I = sum p t, P - I and T - I of every class; l = (1 - x)^gamma, 1 - x = M / (N + M) with N = 2 I + smooth and
// M = 2 alpha (P - I) + 2 beta (T - I), in which nothing cancels.
#pragma once
#include "losskit_args/dice_loss.h"
#include "../skeletons/maps.cuh"

namespace lk {

struct DiceLoss {
  using Args = lk_dice_loss_args;
  static constexpr int kSums = 3, kFactors = 2, kSaved = 4;

  bool squared;

  LK_DEVICE explicit DiceLoss(const Args& a) : squared(a.opts.squared != 0) {}

  static LK_DEVICE MapsCall call(const Args& a) {
    return {a.batch, a.classes, a.pixels, a.pred, a.grad_pred, a.opts.activation, a.labels, a.opts.ignore_index, a.target};
  }

  LK_DEVICE void add(float (&sums)[kSums], const Pixel& x) const {
    sums[0] = fmaf(x.p, x.t, sums[0]);
    sums[1] = fmaf(x.p, squared ? x.p - x.t : 1.0f - x.t, sums[1]);
    sums[2] = fmaf(x.t, squared ? x.t - x.p : x.q, sums[2]);
  }

  LK_DEVICE float slope(const float* f, const Pixel& x) const {
    return fmaf(f[0], x.t, squared ? f[1] * (x.p + x.p) : f[1]);
  }
};

// The sums of a map, and whether its image has a bad label. Backward starts from what forward can save, so
// they are taken as f32 everywhere.
LK_DEVICE bool dice_sums(const lk_dice_loss_args& a, const MapsWorkspace<DiceLoss>& w, u64 map, double (&sums)[3]) {
  const bool restored = a.pass == kPassBackward && a.saved;
  const float* saved = a.saved + map * DiceLoss::kSaved;
  const double* totals = w.totals + map * 4;
  bool dead = (restored ? saved[3] : totals[3]) != 0.0;
  for (int j = 0; j < 3; ++j) sums[j] += restored ? saved[j] : static_cast<float>(totals[j]);
  if (a.pass == kPassForward && a.saved) {
    float* to = a.saved + map * DiceLoss::kSaved;
    for (int j = 0; j < 3; ++j) to[j] = static_cast<float>(totals[j]);
    to[3] = dead ? 1.0f : 0.0f;
  }
  return dead;
}

// A thread: a class of an image, or of all of them.
LK_DEVICE void dice_factors(const lk_dice_loss_args& a) {
  const auto& o = a.opts;
  const MapsWorkspace<DiceLoss> w(a.workspace, DiceLoss::call(a));
  const bool none = o.reduction == LK_REDUCTION_NONE;
  const u64 groups = o.batch ? 1 : a.batch, images = o.batch ? a.batch : 1;
  const u64 first = !o.include_background && a.classes > 1 ? 1 : 0;
  double scale = 1.0;
  if (o.reduction == LK_REDUCTION_MEAN) scale = groups ? 1.0 / static_cast<double>(groups * (a.classes - first)) : 0.0;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 place = u64(blockIdx.x) * blockDim.x + threadIdx.x; place < groups * a.classes; place += step) {
    const u64 group = place / a.classes, k = place % a.classes;
    double s[3] = {0.0, 0.0, 0.0};
    bool dead = false;
    for (u64 i = 0; i < images; ++i) dead |= dice_sums(a, w, (group * images + i) * a.classes + k, s);
    const double n = 2.0 * s[0] + o.smooth, missed = 2.0 * (o.alpha * s[1] + o.beta * s[2]), d = n + missed;
    const double distance = missed / d;
    double value = distance, slope = -1.0;
    if (o.gamma != 1.0) {
      const bool zero = distance <= 0.0;
      value = zero ? 0.0 : pow(distance, o.gamma);
      slope = zero ? 0.0 : -o.gamma * pow(distance, o.gamma - 1.0);
    }
    if (k < first) value = slope = 0.0;
    if (dead) value = static_cast<double>(quiet_nan());
    if (a.pass != kPassBackward && a.loss) (none ? a.loss : w.values)[place] = static_cast<float>(value);
    if (a.pass == kPassForward || !a.grad_pred) continue;
    const double upstream = (a.grad_loss ? a.grad_loss[none ? place : 0] : 1.0f) * scale * slope;
    const double of_i = k < first ? 0.0 : upstream * (2.0 * missed + 2.0 * n * (o.alpha + o.beta)) / (d * d);
    const double of_p = k < first ? 0.0 : -2.0 * upstream * o.alpha * n / (d * d);
    for (u64 i = 0; i < images; ++i) {
      const u64 map = (group * images + i) * a.classes + k;
      w.factors[map * 2] = static_cast<float>(of_i);
      w.factors[map * 2 + 1] = static_cast<float>(of_p);
      // All classes of an image say the same.
      if (k == 0) w.dead[group * images + i] = dead ? 1.0f : 0.0f;
    }
  }
}

}  // namespace lk
