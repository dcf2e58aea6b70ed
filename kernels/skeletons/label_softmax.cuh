// Softmax statistics of a row with the label's own term kept apart: m the maximum, rest = sum over k != y
// of exp(z_k - m), e_y = exp(z_y - m). So 1 - p_y = rest / sum and, where the label is the maximum,
// -log p_y = log1p(rest) keep their relative accuracy however certain the row is.
#pragma once
#include "rows.cuh"

namespace lk {

struct LabelSoftmax {
  static constexpr int kSaved = 3;  // m, rest, e_y

  // Over k != y. The sum is relative to the maximum.
  struct Acc {
    float max, sum;
  };
  struct Row {
    float max, rest, at_label;
    float sum, log_sum, nll;  // log_sum = lse - max, nll = -log p_y
    float poison;             // NaN for a row without a finite maximum, else 0
  };

  static LK_DEVICE Acc empty() { return {-infinity(), 0.0f}; }

  // Where a row so far has nothing but -inf: exp(z - 0) is 0 for those and keeps a NaN.
  static LK_DEVICE float reference(float max) { return max == -infinity() ? 0.0f : max; }

  struct NoRest {
    LK_DEVICE float operator[](int) const { return 0.0f; }
  };

  // Takes elements k .. k+N-1; `rest` holds what f32 cannot of each.
  template <int N, class Rest = NoRest>
  static LK_DEVICE void add(Acc& acc, const float (&x)[N], u64 k, u64 label, const Rest& rest = Rest()) {
    const int own = position<N>(k, label);
    float top = acc.max;
#pragma unroll
    for (int j = 0; j < N; ++j) top = fmaxf(top, j == own ? -infinity() : x[j]);
    const float ref = reference(top);
    if (top != acc.max) acc.sum *= exp_difference(acc.max, ref);
    float e[N];
#pragma unroll
    for (int j = 0; j < N; ++j) e[j] = j == own ? 0.0f : exp_difference(x[j], ref, rest[j]);
    // A tree: half the additions' rounding, and they do not wait for each other.
#pragma unroll
    for (int width = N / 2; width > 0; width /= 2) {
#pragma unroll
      for (int j = 0; j < width; ++j) e[j] += e[j + width];
    }
    acc.max = top;
    acc.sum += e[0];
  }

  static LK_DEVICE void rebase(Acc& acc, float max) {
    if (acc.max != max) acc.sum *= exp_difference(acc.max, reference(max));
    acc.max = max;
  }

  // Of two with the same maximum.
  static LK_DEVICE Acc merge(const Acc& p, const Acc& q) { return {p.max, p.sum + q.sum}; }

  // After a rebase to a maximum that includes the label's.
  static LK_DEVICE Row finish(const Acc& acc, float z_label, float z_rest = 0.0f) {
    return complete(acc.max, acc.sum, exp_difference(z_label, reference(acc.max), z_rest), z_label, z_rest);
  }

  static LK_DEVICE Row complete(float max, float rest, float at_label, float z_label, float z_rest) {
    Row row;
    row.max = max;
    row.rest = rest;
    row.at_label = at_label;
    row.sum = rest + at_label;
    row.poison = max - max;
    const bool largest = z_label == max;
    const float own = largest ? log1pf(rest / at_label) : logf(row.sum);
    row.log_sum = (largest ? own + z_rest : own) + row.poison;
    row.nll = (largest ? own : (max - z_label) + (own - z_rest)) + row.poison;
    return row;
  }

  static LK_DEVICE void save(const Row& row, float* saved) {
    saved[0] = row.max;
    saved[1] = row.rest;
    saved[2] = row.at_label;
  }
  static LK_DEVICE Row restore(const float* saved, float z_label, float z_rest = 0.0f) {
    return complete(saved[0], saved[1], saved[2], z_label, z_rest);
  }
};

}  // namespace lk
