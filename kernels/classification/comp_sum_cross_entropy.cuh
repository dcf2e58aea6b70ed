// l = expm1((1-tau) v) / (1-tau), or v at tau = 1, with v = -log p_y;
// dz_k = -s exp((1-tau) v) e_k with e_k = delta_ky - p_k.
#pragma once
#include "losskit_args/comp_sum_cross_entropy.h"
#include "../skeletons/label_softmax.cuh"

namespace lk {

struct CompSumCrossEntropy {
  using Args = lk_comp_sum_cross_entropy_args;
  using Acc = LabelSoftmax::Running;
  static constexpr int kSaved = LabelSoftmax::kSaved;
  static constexpr bool kRelative = true;

  struct Row {
    LabelSoftmax::Row softmax;
    float power, power_rest;      // (1-tau) v in two floats
    float from, slope, root, gradient_at;  // gradient: slope exp(z - from) root, and the label's own
  };

  double one_minus_tau;
  float z_label;
  u64 label;
  int dtype;

  LK_DEVICE CompSumCrossEntropy(const Args& a, const double*)
      : one_minus_tau(1.0 - a.opts.tau), z_label(0), label(0), dtype(a.dtype) {}

  // Below this the formula differs from v by less than v^2 / 2 times it.
  LK_DEVICE bool logistic() const { return fabs(one_minus_tau) < 1e-9; }

  LK_DEVICE void begin(const void* z, u64 y) {
    label = y;
    z_label = load1(z, dtype, y);
  }
  LK_DEVICE Acc init() const { return LabelSoftmax::start(); }
  template <int N>
  LK_DEVICE void add(Acc& acc, const float (&x)[N], u64 k) const {
    LabelSoftmax::add(acc, x, k, label);
  }
  LK_DEVICE float max(const Acc& acc) const { return acc.max; }
  LK_DEVICE void rebase(Acc& acc, float max) const { LabelSoftmax::rebase(acc, fmaxf(max, z_label)); }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return LabelSoftmax::merge(p, q); }

  LK_DEVICE Row finish(const Acc& acc) const { return complete(LabelSoftmax::finish(acc, z_label)); }
  LK_DEVICE void save(const Row& row, float* saved) const { LabelSoftmax::save(row.softmax, saved); }
  LK_DEVICE Row restore(const float* saved) const { return complete(LabelSoftmax::restore(saved, z_label)); }

  LK_DEVICE Row complete(const LabelSoftmax::Row& softmax) const {
    Row row;
    row.softmax = softmax;
    row.power = row.power_rest = 0.0f;
    if (logistic()) return row;
    // exp turns an absolute error of the power into a relative one: v beyond f32, the log by one more
    // Newton step.
    double v = softmax.nll;
    if (z_label != softmax.max && softmax.nll < infinity()) {
      const float l = softmax.log_sum;
      v = (static_cast<double>(softmax.max) - z_label) + (l + static_cast<double>(fmaf(softmax.sum, expf(-l), -1.0f)));
    }
    const double power = one_minus_tau * v;
    row.power = static_cast<float>(power);
    row.power_rest = fabsf(row.power) < infinity() ? static_cast<float>(power - row.power) : 0.0f;
    return row;
  }

  // exp(share * power); 0 and infinity without the correction.
  LK_DEVICE float exp_power(const Row& row, float share) const {
    const float e = expf(share * row.power);
    return e > 0.0f && e < infinity() ? fmaf(e, share * row.power_rest, e) : e;
  }

  LK_DEVICE float loss(const Row& row) const {
    if (logistic()) return row.softmax.nll;
    float em1;
    if (row.power > 1.0f) {
      em1 = exp_power(row, 1.0f) - 1.0f;
    } else {
      em1 = expm1f(row.power);
      em1 = fmaf(em1 + 1.0f, row.power_rest, em1);
    }
    return static_cast<float>(em1 / one_minus_tau);
  }

  LK_DEVICE void scale(Row& row, float s) const {
    const LabelSoftmax::Row& m = row.softmax;
    // A large factor in two halves: it may overflow where its product with a small e_k does not.
    const bool large = row.power > 80.0f;
    const float factor = logistic() ? 1.0f : exp_power(row, large ? 0.5f : 1.0f);
    row.root = large ? factor : 1.0f;
    row.from = m.from();
    row.slope = static_cast<float>(m.shift() * s / m.sum * factor) + m.poison;
    row.gradient_at = -s * (m.rest / m.sum * factor) * row.root + m.poison;
  }

  LK_DEVICE float gradient(const Row& row, float z, u64, bool is_label) const {
    if (is_label) return row.gradient_at;
    const float e = exp_from_whole(z, row.from);
    return e == 0.0f ? row.softmax.poison : row.slope * e * row.root;
  }
};

}  // namespace lk
