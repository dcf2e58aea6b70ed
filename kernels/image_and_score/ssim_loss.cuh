// 1 - l cs in terms of the sum and the difference of the images: with u = m_d^2 / D1 and e = v_d / D2, l = 1 - u
// and cs = 1 - e.
#pragma once
#include "losskit_args/ssim_loss.h"
#include "../skeletons/windows.cuh"

namespace lk {

struct SsimLoss {
  using Args = lk_ssim_loss_args;

  float c1, c2;

  LK_DEVICE explicit SsimLoss(const Args& a)
      : c1(static_cast<float>(a.opts.k1 * a.opts.data_range * a.opts.k1 * a.opts.data_range)),
        c2(static_cast<float>(a.opts.k2 * a.opts.data_range * a.opts.k2 * a.opts.data_range)) {}

  struct Terms {
    float inverse1, inverse2, u, e;
  };

  LK_DEVICE Terms terms(const Moments& m) const {
    const float square = m.mean_difference * m.mean_difference;
    const float i1 = 1.0f / fmaf(0.5f, fmaf(m.mean_sum, m.mean_sum, square), c1);
    const float i2 = 1.0f / fmaf(0.5f, m.variance_sum + m.variance_difference, c2);
    return {i1, i2, square * i1, m.variance_difference * i2};
  }

  LK_DEVICE float value(const Moments& m) const {
    const Terms t = terms(m);
    return fmaf(1.0f - t.u, t.e, t.u);
  }

  LK_DEVICE Moments slopes(const Moments& m) const {
    const Terms t = terms(m);
    const float of_means = (1.0f - t.e) * t.inverse1, of_variances = (1.0f - t.u) * t.inverse2;
    return {-of_means * t.u * m.mean_sum, of_means * (2.0f - t.u) * m.mean_difference, -0.5f * of_variances * t.e,
            of_variances * (1.0f - 0.5f * t.e)};
  }
};

LK_DEVICE void ssim_finish(const lk_ssim_loss_args& a) {
  const WindowWorkspace w(a.workspace, WindowSizes(a), a.batch);
  for (u64 image = blockIdx.x; image < a.batch; image += gridDim.x) {
    const double value = windows_mean(a, image);
    if (threadIdx.x != 0) continue;
    (a.opts.reduction == LK_REDUCTION_NONE && a.loss ? a.loss : w.values)[image] = static_cast<float>(value);
    if (a.ssim) a.ssim[image] = static_cast<float>(1.0 - value);
  }
}

LK_DEVICE void ssim_gradient(const lk_ssim_loss_args& a) {
  const WindowSizes z(a);
  const double each = static_cast<double>(a.channels * z.rows * z.columns);
  const double scale = a.opts.reduction == LK_REDUCTION_MEAN ? 1.0 / (each * static_cast<double>(a.batch)) : 1.0 / each;
  windows_gradient(a, [&](u64 image) {
    const float upstream = a.grad_loss ? a.grad_loss[a.opts.reduction == LK_REDUCTION_NONE ? image : 0] : 1.0f;
    return static_cast<float>(upstream * scale);
  });
}

}  // namespace lk
