// l = -log p_y + beta KL(p || q), p = softmax(logits), q = softmax(adversarial_logits);
// dlogits = s [p - e_y + beta p (log p - log q - KL)], dadversarial = s beta (q - p).
#pragma once
#include "losskit_args/trades_loss.h"
#include "../skeletons/label_softmax.cuh"
#include "../skeletons/row_sets.cuh"

namespace lk {

// Rows: clean, adversarial.
struct TradesLoss : RowSetBase<lk_trades_loss_args, 2> {
  // The clean row's exponentials but for the label's stand apart, for 1 - p_y.
  struct Acc {
    PairSoftmax::Acc pair;
    float rest;
  };
  struct Row {
    PairSoftmax::Row pair;
    LabelSoftmax::Row own;
    float s;
  };

  float beta, z_label;
  u64 y;
  int dtype;

  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.logits : a.adversarial_logits; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_logits : a.grad_adversarial_logits; }
  static LK_DEVICE int64_t label(const Args& a, u64 r) { return a.labels[r]; }

  LK_DEVICE explicit TradesLoss(const Args& a)
      : beta(static_cast<float>(a.opts.beta)), z_label(0), y(0), dtype(a.dtype) {}

  LK_DEVICE void begin(u64, u64 label, const void* const (&rows)[2]) {
    y = label;
    z_label = load1(rows[0], dtype, label);
  }
  LK_DEVICE Acc init() const { return {PairSoftmax::empty(), 0.0f}; }
  LK_DEVICE void raise_rest(Acc& acc, float top) const {
    const float m = acc.pair.m[0];
    if (top != m) acc.rest *= m == -infinity() ? 0.0f : exp_difference(m, PairSoftmax::reference(top));
  }
  LK_DEVICE void add(Acc& acc, const float (&x)[2], u64 k) const {
    raise_rest(acc, fmaxf(acc.pair.m[0], x[0]));
    PairSoftmax::add(acc.pair, x[0], x[1]);
    if (k != y) acc.rest += exp_difference(x[0], PairSoftmax::reference(acc.pair.m[0]));
  }
  LK_DEVICE float max(const Acc& acc, int i) const { return acc.pair.m[i]; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[2]) const {
    raise_rest(acc, m[0]);
    PairSoftmax::rebase(acc.pair, m);
  }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {PairSoftmax::merge(p.pair, q.pair), p.rest + q.rest}; }
  LK_DEVICE Row finish(const Acc& acc) const {
    const float m = acc.pair.m[0];
    const float at_label = exp_difference(z_label, PairSoftmax::reference(m));
    return {PairSoftmax::finish(acc.pair), LabelSoftmax::complete(m, acc.rest, at_label, z_label, 0.0f), 0.0f};
  }

  LK_DEVICE float loss(const Row& row) const {
    const double robust = beta > 0.0f ? beta * PairSoftmax::divergence(row.pair) : 0.0;
    return static_cast<float>(row.own.nll + robust);
  }
  LK_DEVICE void scale(Row& row, float s) const { row.s = s; }
  LK_DEVICE void gradient(const Row& row, const float (&x)[2], float (&g)[2], u64 k) const {
    const PairSoftmax::Row& pair = row.pair;
    const float p = pair.inverse[0] * exp_difference(x[0], pair.m[0]);
    const float q = pair.inverse[1] * exp_difference(x[1], pair.m[1]);
    const float difference = p == 0.0f ? 0.0f : (x[0] - x[1]) - pair.lead;
    const float clean = k == y ? -row.own.rest / row.own.sum + row.own.poison : p;
    g[0] = row.s * fmaf(beta * difference, p, clean);
    g[1] = row.s * beta * (q - p);
  }
};

}  // namespace lk
