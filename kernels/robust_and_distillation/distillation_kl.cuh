// l = T^2 KL(p || q), p = softmax(teacher / T), q = softmax(student / T); dstudent = s T (q - p).
#pragma once
#include "losskit_args/distillation_kl.h"
#include "../skeletons/row_sets.cuh"

namespace lk {

// Rows: teacher, student.
struct DistillationKl : RowSetBase<lk_distillation_kl_args, 2> {
  using Acc = PairSoftmax::Acc;
  struct Row {
    PairSoftmax::Row pair;
    float weight[2];
  };

  float temperature, inverse;

  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.teacher : a.student; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? nullptr : a.grad_student; }

  LK_DEVICE explicit DistillationKl(const Args& a)
      : temperature(static_cast<float>(a.opts.temperature)), inverse(static_cast<float>(1.0 / a.opts.temperature)) {}

  LK_DEVICE void begin(u64, u64, const void* const (&)[2]) {}
  LK_DEVICE Acc init() const { return PairSoftmax::empty(); }
  template <int N>
  LK_DEVICE void add_chunk(Acc& acc, const float (&x)[2][N], u64) const {
    PairSoftmax::add(acc, x[0], x[1], inverse);
  }
  LK_DEVICE float max(const Acc& acc, int i) const { return acc.m[i]; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[2]) const { PairSoftmax::rebase(acc, m, inverse); }
  LK_DEVICE Acc merge(const Acc& x, const Acc& y) const { return PairSoftmax::merge(x, y); }
  LK_DEVICE Row finish(const Acc& acc) const { return {PairSoftmax::finish(acc), {0.0f, 0.0f}}; }

  LK_DEVICE float loss(const Row& row) const {
    const double t = temperature;
    return static_cast<float>(t * t * PairSoftmax::divergence(row.pair, 1.0 / t));
  }
  LK_DEVICE void scale(Row& row, float s) const {
    row.weight[0] = s * temperature * row.pair.inverse[0];
    row.weight[1] = s * temperature * row.pair.inverse[1];
  }
  LK_DEVICE void gradient(const Row& row, const float (&x)[2], float (&g)[2], u64) const {
    const float p = exp_scaled_difference(x[0], row.pair.m[0], inverse);
    const float q = exp_scaled_difference(x[1], row.pair.m[1], inverse);
    g[1] = __fmul_rn(row.weight[1], q) - __fmul_rn(row.weight[0], p);  // 0 for equal rows
  }
};

}  // namespace lk
