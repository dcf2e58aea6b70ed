// Statistics of p = softmax(f z) with the largest element apart: everything about the row's entropy without
// cancellation, however certain the row is. x_k = f (z_k - max); the factor f may be given in two floats.
#pragma once
#include "rows.cuh"

namespace lk {

struct SoftmaxEntropy {
  static constexpr int kSaved = 4;  // the last for layout only: the CPU saves as many

  struct Acc {
    float max, tops;    // the largest, and how many there are of it
    float rest, cross;  // sums of exp(x) over the others, and of exp(x) x
  };
  struct Row {
    float max, rest, cross;          // `rest` without one of the largest
    float inverse, others;           // p_k = inverse exp(x_k); 1 - the largest probability
    float log_sum, mean, entropy;    // log p_k = x_k - log_sum; mean of x under p
  };

  static LK_DEVICE Acc empty() { return {-infinity(), 0.0f, 0.0f, 0.0f}; }
  static LK_DEVICE float reference(float max) { return max == -infinity() ? 0.0f : max; }

  template <class Scale = Unscaled>
  static LK_DEVICE void rebase(Acc& acc, float max, const Scale& scale = Scale()) {
    if (acc.max == max) return;
    if (acc.max != -infinity()) {
      float step;
      const float shrink = scale.exponential(acc.max, max, step), all = acc.rest + acc.tops;
      acc.cross = shrink * fmaf(all, step, acc.cross);
      acc.rest = shrink * all;
      acc.tops = 0.0f;
    }
    acc.max = max;
  }

  template <int N, class Scale = Unscaled>
  static LK_DEVICE void add(Acc& acc, const float (&z)[N], const Scale& scale = Scale()) {
    float top = acc.max;
#pragma unroll
    for (int j = 0; j < N; ++j) top = fmaxf(top, z[j]);
    if (top != acc.max) {
      LK_UNLIKELY_HERE;
      rebase(acc, top, scale);
    }
    const float about = reference(top), one = top == -infinity() ? 0.0f : 1.0f;
    float rest = 0.0f, cross = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float x, e = scale.exponential(z[j], about, x);
      if (z[j] == top) {
        acc.tops += one;
        e = 0.0f;
      }
      rest += e;
      cross = fmaf(e, x, cross);
    }
    acc.rest += rest;
    acc.cross += cross;
  }

  // Of two with the same maximum.
  static LK_DEVICE Acc merge(const Acc& p, const Acc& q) {
    return {p.max, p.tops + q.tops, p.rest + q.rest, p.cross + q.cross};
  }

  static LK_DEVICE Row finish(const Acc& acc) { return complete(acc.max, acc.rest + (acc.tops - 1.0f), acc.cross); }

  // NaN for a row without a finite maximum.
  static LK_DEVICE Row complete(float max, float rest, float cross) {
    Row row;
    const float poison = max - max;
    row.max = max;
    row.rest = rest;
    row.cross = cross;
    row.inverse = 1.0f / (1.0f + rest) + poison;
    row.others = rest * row.inverse;
    row.log_sum = log1pf(rest) + poison;
    row.mean = cross * row.inverse;
    row.entropy = row.log_sum - row.mean;
    return row;
  }
  static LK_DEVICE void save(const Row& row, float* saved) {
    saved[0] = row.max;
    saved[1] = row.rest;
    saved[2] = row.cross;
    saved[3] = 0.0f;
  }
  static LK_DEVICE Row restore(const float* saved) { return complete(saved[0], saved[1], saved[2]); }

  // exp(x) and x of an element.
  template <class Scale = Unscaled>
  static LK_DEVICE float exponential(const Row& row, float z, float& x, const Scale& scale = Scale()) {
    return scale.exponential(z, row.max, x);
  }
};

}  // namespace lk
