// l = w_y / C sum_{k != y} h_k^p, h_k = max(0, margin - z_y + z_k); dz_k = s w_y p h_k^(p-1) / C, dz_y = -their sum.
#pragma once
#include "losskit_args/multi_margin_loss.h"
#include "../skeletons/elements.cuh"
#include "../skeletons/row_sets.cuh"

namespace lk {

struct MultiMarginLoss : RowSetBase<lk_multi_margin_loss_args, 1> {
  struct Acc {
    float loss, slope;  // sums of h^p and of p h^(p-1)
  };
  struct Row {
    float loss, slope, factor;
  };

  const Args& a;
  float margin, z_label, factor;
  bool squared;
  u64 y;

  static LK_DEVICE const void* input(const Args& a, int) { return a.logits; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_logits; }
  static LK_DEVICE int64_t label(const Args& a, u64 r) { return a.labels[r]; }

  LK_DEVICE explicit MultiMarginLoss(const Args& args)
      : a(args), margin(static_cast<float>(args.opts.margin)), z_label(0), factor(0), squared(args.opts.p == 2), y(0) {}

  LK_DEVICE void begin(u64, u64 label, const void* const (&rows)[1]) {
    y = label;
    z_label = load1(rows[0], a.dtype, label);
    const float weight = a.class_weights ? load1(a.class_weights, a.dtype, label) : 1.0f;
    factor = static_cast<float>(static_cast<double>(weight) / static_cast<double>(a.classes));
  }
  LK_DEVICE float violation(float z) const { return __fadd_rn(__fsub_rn(z, z_label), margin); }
  LK_DEVICE float slope(float h) const { return hinged(h, squared ? 2.0f * h : 1.0f); }

  LK_DEVICE Acc init() const { return {0.0f, 0.0f}; }
  LK_DEVICE void add(Acc& acc, const float (&x)[1], u64 k) const {
    if (k == y) return;
    const float h = violation(x[0]), above = relu(h);
    acc.loss += squared ? above * above : above;
    acc.slope += slope(h);
  }
  LK_DEVICE float max(const Acc&, int) const { return -infinity(); }
  LK_DEVICE void rebase(Acc&, const float (&)[1]) const {}
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.loss + q.loss, p.slope + q.slope}; }
  LK_DEVICE Row finish(const Acc& acc) const {
    const float poison = z_label == z_label ? 0.0f : z_label;
    return {acc.loss + poison, acc.slope + poison, factor};
  }
  LK_DEVICE float loss(const Row& row) const { return row.factor * row.loss; }
  LK_DEVICE void scale(Row& row, float s) const { row.factor *= s; }
  LK_DEVICE void gradient(const Row& row, const float (&x)[1], float (&g)[1], u64 k) const {
    g[0] = row.factor * (k == y ? -row.slope : slope(violation(x[0])));
  }
};

}  // namespace lk
