// l = 1 - c for target +1, max(0, c - margin) for others, c = a.b / sqrt(A B), A = |a|^2 + 1e-12, B likewise;
// da = w (b / sqrt(A B) - a c / A), w = dl/dc, and db likewise.
#pragma once
#include "losskit_args/cosine_embedding_loss.h"
#include "../skeletons/row_sets.cuh"

namespace lk {

struct CosineEmbeddingLoss : RowSetBase<lk_cosine_embedding_loss_args, 2> {
  struct Acc {
    double ab, aa, bb;
  };
  struct Row {
    double loss, slope, norm[2];
    float cosine, unit[2], weight[2];
  };

  const Args& a;
  float target;

  static LK_DEVICE u64 classes(const Args& a) { return a.d; }
  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.a : a.b; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_a : a.grad_b; }

  LK_DEVICE explicit CosineEmbeddingLoss(const Args& args) : a(args), target(0) {}

  LK_DEVICE void begin(u64 r, u64, const void* const (&)[2]) { target = load1(a.target, a.dtype, r); }
  LK_DEVICE Acc init() const { return {0.0, 0.0, 0.0}; }
  LK_DEVICE void add(Acc& acc, const float (&x)[2], u64) const {
    const double p = x[0], q = x[1];
    acc.ab = fma(p, q, acc.ab);
    acc.aa = fma(p, p, acc.aa);
    acc.bb = fma(q, q, acc.bb);
  }
  LK_DEVICE float max(const Acc&, int) const { return 0.0f; }
  LK_DEVICE void rebase(Acc&, const float (&)[2]) const {}
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.ab + q.ab, p.aa + q.aa, p.bb + q.bb}; }
  LK_DEVICE Row finish(const Acc& acc) const {
    const double aa = acc.aa + 1e-12, bb = acc.bb + 1e-12, cosine = acc.ab / sqrt(aa * bb);
    const double excess = cosine - a.opts.margin;
    Row row;
    row.cosine = static_cast<float>(cosine);
    row.norm[0] = sqrt(aa);
    row.norm[1] = sqrt(bb);
    row.loss = target > 0.0f ? 1.0 - cosine : excess > 0.0 ? excess : 0.0;
    row.slope = target > 0.0f ? -1.0 : excess > 0.0 ? 1.0 : 0.0;
    if (target != target || excess != excess) row.loss = row.slope = quiet_nan();
    return row;
  }
  LK_DEVICE float loss(const Row& row) const { return static_cast<float>(row.loss); }
  LK_DEVICE void scale(Row& row, float s) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      // Vectors are scaled to length 1, so that neither their lengths nor the product leave f32's range.
      row.unit[i] = static_cast<float>(1.0 / row.norm[i]);
      row.weight[i] = static_cast<float>(s * row.slope / row.norm[i]);
    }
  }
  LK_DEVICE void gradient(const Row& row, const float (&x)[2], float (&g)[2], u64) const {
    const float p = row.unit[0] * x[0], q = row.unit[1] * x[1];
    g[0] = row.weight[0] * fmaf(-p, row.cosine, q);
    g[1] = row.weight[1] * fmaf(-q, row.cosine, p);
  }
};

}  // namespace lk
