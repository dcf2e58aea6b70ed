// l = -log p_y + w H; dz_k = s [p_k - delta_ky - w p_k (log p_k + H)].
#pragma once
#include "losskit_args/entropy_regularized_cross_entropy.h"
#include "../skeletons/softmax_entropy.cuh"

namespace lk {

struct EntropyRegularizedCrossEntropy {
  using Args = lk_entropy_regularized_cross_entropy_args;
  using Acc = SoftmaxEntropy::Acc;
  static constexpr int kSaved = SoftmaxEntropy::kSaved;
  static constexpr bool kRelative = true;

  struct Row {
    SoftmaxEntropy::Row softmax;
    float own, lead;              // of the label: probability, and exponent less the largest
    float slope, constant, factor, at_label;  // gradient: slope exp(x) (factor x + constant), and the label's own
  };

  double weight;
  float z_label;
  int dtype;

  LK_DEVICE EntropyRegularizedCrossEntropy(const Args& a, const double*)
      : weight(a.opts.entropy_weight), z_label(0), dtype(a.dtype) {}

  LK_DEVICE void begin(const void* z, u64 y) { z_label = load1(z, dtype, y); }
  LK_DEVICE Acc init() const { return SoftmaxEntropy::empty(); }
  template <int N>
  LK_DEVICE void add(Acc& acc, const float (&x)[N], u64) const {
    SoftmaxEntropy::add(acc, x);
  }
  LK_DEVICE float max(const Acc& acc) const { return acc.max; }
  LK_DEVICE void rebase(Acc& acc, float max) const { SoftmaxEntropy::rebase(acc, max); }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return SoftmaxEntropy::merge(p, q); }

  LK_DEVICE Row complete(const SoftmaxEntropy::Row& softmax) const {
    const float own = softmax.inverse * exp_difference(z_label, softmax.max);
    return {softmax, own, __fsub_rn(z_label, softmax.max), 0.0f, 0.0f, 0.0f, 0.0f};
  }
  LK_DEVICE Row finish(const Acc& acc) const { return complete(SoftmaxEntropy::finish(acc)); }
  LK_DEVICE void save(const Row& row, float* saved) const { SoftmaxEntropy::save(row.softmax, saved); }
  LK_DEVICE Row restore(const float* saved) const { return complete(SoftmaxEntropy::restore(saved)); }

  LK_DEVICE float loss(const Row& row) const {
    const SoftmaxEntropy::Row& m = row.softmax;
    return static_cast<float>((static_cast<double>(m.log_sum) - row.lead) + weight * m.entropy);
  }
  LK_DEVICE void scale(Row& row, float s) const {
    const SoftmaxEntropy::Row& m = row.softmax;
    row.slope = s * m.inverse;
    row.factor = static_cast<float>(-weight);
    row.constant = static_cast<float>(1.0 + weight * m.mean);
    // 1 - p_y as a sum where p_y is near 1.
    const double others = row.lead == 0.0f ? m.others : 1.0 - row.own;
    const double mixed = row.own == 0.0f ? 0.0 : row.own * (static_cast<double>(row.lead) - m.mean);
    row.at_label = static_cast<float>(-s * (others + weight * mixed));
  }
  LK_DEVICE float gradient(const Row& row, float z, u64, bool is_label) const {
    if (is_label) return row.at_label;
    float x;
    const float p = row.slope * SoftmaxEntropy::exponential(row.softmax, z, x);
    return p * fmaf(row.factor, x, row.constant);
  }
};

}  // namespace lk
