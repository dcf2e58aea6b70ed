// l = logsumexp(z)^2; dz = 2 s lse p.
#pragma once
#include "losskit_args/router_z_loss.h"
#include "../skeletons/row_sets.cuh"

namespace lk {

struct RouterZLoss : RowSetBase<lk_router_z_loss_args, 1> {
  struct Acc {
    float m, sum;
  };
  struct Row {
    float m, sum, lse, weight;
  };

  static LK_DEVICE u64 rows(const Args& a) { return a.tokens; }
  static LK_DEVICE u64 classes(const Args& a) { return a.experts; }
  static LK_DEVICE const void* input(const Args& a, int) { return a.logits; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_logits; }

  LK_DEVICE explicit RouterZLoss(const Args&) {}

  LK_DEVICE void begin(u64, u64, const void* const (&)[1]) {}
  LK_DEVICE Acc init() const { return {-infinity(), 0.0f}; }
  LK_DEVICE void raise(Acc& acc, float top) const {
    if (top == acc.m) return;
    acc.sum *= acc.m == -infinity() ? 0.0f : exp_difference(acc.m, PairSoftmax::reference(top));
    acc.m = top;
  }
  LK_DEVICE void add(Acc& acc, const float (&x)[1], u64) const {
    raise(acc, fmaxf(acc.m, x[0]));
    acc.sum += exp_difference(x[0], PairSoftmax::reference(acc.m));
  }
  LK_DEVICE float max(const Acc& acc, int) const { return acc.m; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[1]) const { raise(acc, m[0]); }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.m, p.sum + q.sum}; }
  LK_DEVICE Row finish(const Acc& acc) const { return {acc.m, acc.sum, acc.m + logf(acc.sum), 0.0f}; }

  LK_DEVICE float loss(const Row& row) const { return row.lse * row.lse; }
  LK_DEVICE void scale(Row& row, float s) const { row.weight = 2.0f * s * row.lse / row.sum; }
  LK_DEVICE void gradient(const Row& row, const float (&x)[1], float (&g)[1], u64) const {
    g[0] = row.weight * exp_difference(x[0], row.m);
  }
};

}  // namespace lk
