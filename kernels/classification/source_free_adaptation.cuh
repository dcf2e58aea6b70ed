// l = -(1/n) sum nu_k p_k log p_k + kl_weight KL(q, tau), q_k the mean of p_k; dl/dp_k = a_k log p_k + b_k.
#pragma once
#include "losskit_args/source_free_adaptation.h"
#include "../skeletons/maps.cuh"

namespace lk {

struct SourceFreeAdaptation {
  using Args = lk_source_free_adaptation_args;
  static constexpr int kSums = 2, kFactors = 2;

  LK_DEVICE explicit SourceFreeAdaptation(const Args&) {}

  static LK_DEVICE MapsCall call(const Args& a) {
    return {a.batch, a.classes, a.pixels, a.logits, a.grad_logits, kSoftmax, nullptr, 0, nullptr};
  }

  // log p, but 0 where p is: their product is.
  static LK_DEVICE float log_p(const Pixel& x) { return x.p == 0.0f ? 0.0f : x.log_p; }

  LK_DEVICE void add(float (&sums)[kSums], const Pixel& x) const {
    sums[0] += x.p;
    sums[1] = fmaf(x.p, log_p(x), sums[1]);
  }

  LK_DEVICE float slope(const float* f, const Pixel& x) const { return fmaf(f[0], log_p(x), f[1]); }
};

// A thread: an image.
LK_DEVICE void adaptation_factors(const lk_source_free_adaptation_args& a) {
  const auto& o = a.opts;
  const MapsWorkspace<SourceFreeAdaptation> w(a.workspace, SourceFreeAdaptation::call(a));
  const bool none = o.reduction == LK_REDUCTION_NONE, restored = a.pass == kPassBackward && a.saved;
  const bool inverse = o.class_weighting == LK_SOURCE_FREE_ADAPTATION_CLASS_WEIGHTING_INVERSE_PRIOR;
  const double pixels = a.pixels ? static_cast<double>(a.pixels) : 1.0;
  const double scale = o.reduction == LK_REDUCTION_MEAN ? 1.0 / static_cast<double>(a.batch) : 1.0;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 image = u64(blockIdx.x) * blockDim.x + threadIdx.x; image < a.batch; image += step) {
    const float* prior = a.prior + image * a.classes;
    double weight = static_cast<double>(a.classes);
    if (inverse) {
      weight = 0.0;
      for (u64 k = 0; k < a.classes; ++k) weight += 1.0 / prior[k];
    }
    const double upstream = (a.grad_loss ? a.grad_loss[none ? image : 0] : 1.0f) * scale / pixels;
    double value = 0.0;
    for (u64 k = 0; k < a.classes; ++k) {
      const u64 map = image * a.classes + k;
      const double* totals = w.totals + map * 3;
      const float ratio = restored ? a.saved[map] : static_cast<float>(totals[0] / pixels);
      if (a.pass == kPassForward && a.saved) a.saved[map] = ratio;
      const double q = ratio, tau = prior[k], nu = (inverse ? 1.0 / tau : 1.0) / weight;
      const double log_ratio = q == 0.0 && !o.reverse ? 0.0 : log(q / tau);
      if (!restored && a.pixels) {
        value += o.kl_weight * (o.reverse ? -tau * log_ratio : q * log_ratio) - nu * (totals[1] / pixels);
      }
      if (a.pass == kPassForward) continue;
      const double slope = o.reverse ? -tau / q : log_ratio + 1.0;
      w.factors[map * 2] = static_cast<float>(-upstream * nu);
      w.factors[map * 2 + 1] = static_cast<float>(upstream * (o.kl_weight * slope - nu));
    }
    w.dead[image] = 0.0f;
    if (a.pass != kPassBackward && a.loss) (none ? a.loss : w.values)[image] = static_cast<float>(value);
  }
}

}  // namespace lk
