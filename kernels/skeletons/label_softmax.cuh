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
  // The same while a row is swept: relative to `from`, a whole number at most kSlack below the maximum. So it seldom has to
  // be raised, and exponentials are cheap.
  struct Running {
    float max, sum, from;
  };
  static constexpr float kSlack = 32.0f;

  struct Row {
    float max, rest, at_label;
    float sum, log_sum, nll;  // log_sum = lse - max, nll = -log p_y
    float poison;             // NaN for a row without a finite maximum, else 0

    // exp(z - max) = shift exp(z - from), `from` whole.
    LK_DEVICE float from() const { return whole(max); }
    LK_DEVICE double shift() const { return exp(static_cast<double>(from()) - max); }
  };

  static LK_DEVICE Acc empty() { return {-infinity(), 0.0f}; }
  static LK_DEVICE Running start() { return {-infinity(), 0.0f, quiet_nan()}; }

  // Where a row so far has nothing but -inf: exp(z - 0) is 0 for those and keeps a NaN.
  static LK_DEVICE float reference(float max) { return max == -infinity() ? 0.0f : max; }

  static LK_DEVICE float whole(float max) { return reference(floorf(max)); }

  struct NoRest {};

  static LK_DEVICE bool settled(const Acc& acc, float top) { return top == acc.max; }
  static LK_DEVICE void raise(Acc& acc, float top) {
    acc.sum *= exp_difference(acc.max, reference(top));
    acc.max = top;
  }
  static LK_DEVICE float exponential(const Acc& acc, float z, const NoRest&, int) {
    return exp_difference(z, reference(acc.max));
  }
  static LK_DEVICE float exponential(const Acc& acc, float z, const float* rest, int j) {
    return exp_difference(z, reference(acc.max), rest[j]);
  }

  // 0 <= top - from <= kSlack; not while there is no `from`.
  static LK_DEVICE bool settled(const Running& acc, float top) {
    return __float_as_uint(top - acc.from) <= __float_as_uint(kSlack);
  }
  static LK_DEVICE void raise(Running& acc, float top) {
    const float from = whole(top);
    if (acc.sum != 0.0f) acc.sum *= exp_difference(acc.from, from);
    acc.from = from;
  }
  static LK_DEVICE float exponential(const Running& acc, float z, const NoRest&, int) { return exp_from_whole(z, acc.from); }
  static LK_DEVICE float exponential(const Running& acc, float z, const float* rest, int j) {
    return exp_from_whole(z, acc.from, rest[j]);
  }

  // Takes elements k .. k+N-1; `rest` holds what f32 cannot of each.
  template <class A, int N, class Rest = NoRest>
  static LK_DEVICE void add(A& acc, const float (&x)[N], u64 k, u64 label, const Rest& rest = Rest()) {
    float z[N];
#pragma unroll
    for (int j = 0; j < N; ++j) z[j] = x[j];
    float top = acc.max;
#pragma unroll
    for (int j = 0; j < N; ++j) top = fmaxf(top, z[j]);
    // Rare both, so one branch. That the label counts for the maximum does no harm: it will in the end.
    if (!settled(acc, top) || label - k < N) {
      LK_UNLIKELY_HERE;
      if (!settled(acc, top)) raise(acc, top);
      replace_label(z, k, label, -infinity());
    }
    acc.max = top;
    float e[N];
#pragma unroll
    for (int j = 0; j < N; ++j) e[j] = exponential(acc, z[j], rest, j);
    // A tree: half the additions' rounding, and they do not wait for each other.
#pragma unroll
    for (int width = N / 2; width > 0; width /= 2) {
#pragma unroll
      for (int j = 0; j < width; ++j) e[j] += e[j + width];
    }
    acc.sum += e[0];
  }

  static LK_DEVICE void rebase(Acc& acc, float max) {
    if (acc.max != max) acc.sum *= exp_difference(acc.max, reference(max));
    acc.max = max;
  }
  // In double: losses that raise probabilities to a power multiply the sum's error.
  static LK_DEVICE void rebase(Running& acc, float max) {
    if (acc.sum != 0.0f) acc.sum = static_cast<float>(acc.sum * exp(static_cast<double>(acc.from) - reference(max)));
    acc.max = max;
  }

  // Of two with the same maximum.
  static LK_DEVICE Acc merge(const Acc& p, const Acc& q) { return {p.max, p.sum + q.sum}; }
  static LK_DEVICE Running merge(const Running& p, const Running& q) { return {p.max, p.sum + q.sum, p.from}; }

  // After a rebase to a maximum that includes the label's.
  template <class A>
  static LK_DEVICE Row finish(const A& acc, float z_label, float z_rest = 0.0f) {
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
