// l = -w_y q^gamma u, u = log p_y, q = 1 - p_y; dz_k = s D (delta_ky - p_k),
// D = -w_y (q^gamma - gamma q^(gamma-1) p_y u).
#pragma once
#include "losskit_args/softmax_focal_loss.h"
#include "../skeletons/label_softmax.cuh"

namespace lk {

struct SoftmaxFocalLoss {
  using Args = lk_softmax_focal_loss_args;
  using Acc = LabelSoftmax::Running;
  static constexpr int kSaved = LabelSoftmax::kSaved;
  static constexpr bool kRelative = true;

  struct Row {
    LabelSoftmax::Row softmax;
    float weight;
    float from, slope, gradient_at;  // gradient: slope exp(z - from), and the label's own
  };

  const Args& a;
  double gamma;
  float z_label, weight;
  u64 label;

  LK_DEVICE SoftmaxFocalLoss(const Args& args, const double*)
      : a(args), gamma(args.opts.gamma), z_label(0), weight(1), label(0) {}

  LK_DEVICE void begin(const void* z, u64 y) {
    label = y;
    z_label = load1(z, a.dtype, y);
    weight = a.class_weights ? load1(a.class_weights, a.dtype, y) : 1.0f;
  }
  LK_DEVICE Acc init() const { return LabelSoftmax::start(); }
  template <int N>
  LK_DEVICE void add(Acc& acc, const float (&x)[N], u64 k) const {
    LabelSoftmax::add(acc, x, k, label);
  }
  LK_DEVICE float max(const Acc& acc) const { return acc.max; }
  LK_DEVICE void rebase(Acc& acc, float max) const { LabelSoftmax::rebase(acc, fmaxf(max, z_label)); }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return LabelSoftmax::merge(p, q); }

  LK_DEVICE Row finish(const Acc& acc) const { return {LabelSoftmax::finish(acc, z_label), weight, 0.0f, 0.0f, 0.0f}; }
  LK_DEVICE void save(const Row& row, float* saved) const { LabelSoftmax::save(row.softmax, saved); }
  LK_DEVICE Row restore(const float* saved) const { return {LabelSoftmax::restore(saved, z_label), weight, 0.0f, 0.0f, 0.0f}; }

  // q^exponent, in double: the power multiplies the relative error of its base.
  LK_DEVICE double power(double q, double exponent) const {
    return exponent == 0.0 ? 1.0 : exponent == 1.0 ? q : exponent == 2.0 ? q * q : pow(q, exponent);
  }

  LK_DEVICE float loss(const Row& row) const {
    const double q = static_cast<double>(row.softmax.rest) / row.softmax.sum;
    return static_cast<float>(row.weight * power(q, gamma) * row.softmax.nll);
  }
  LK_DEVICE void scale(Row& row, float s) const {
    const LabelSoftmax::Row& m = row.softmax;
    const double q = static_cast<double>(m.rest) / m.sum, p = static_cast<double>(m.at_label) / m.sum;
    double slope = power(q, gamma);
    if (gamma > 0.0 && q != 0.0) slope += gamma * power(q, gamma - 1.0) * p * m.nll;
    slope *= static_cast<double>(s) * row.weight;
    row.from = m.from();
    row.slope = static_cast<float>(slope / m.sum * m.shift()) + m.poison;
    row.gradient_at = static_cast<float>(-slope * q) + m.poison;
  }
  LK_DEVICE float gradient(const Row& row, float z, u64, bool is_label) const {
    if (is_label) return row.gradient_at;
    const float e = exp_from_whole(z, row.from);
    return e == 0.0f ? row.softmax.poison : row.slope * e;
  }
};

}  // namespace lk
