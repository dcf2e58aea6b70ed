// l = softplus(a (b - u_y)) / a with u_k = (z_k - mean) / sigma over the row, and
// dz_k = -s logistic(a (b - u_y)) (delta_ky - 1/C - u_y u_k / C) / sigma.
#pragma once
#include "../skeletons/rows.cuh"

namespace lk {

struct ZLoss {
  using Args = lk_z_loss_args;
  static constexpr int kSaved = 3;  // the mean in two floats, then sigma

  // Sums of z - shift and of its square, shift = z_0. As z_0 is one of the row's elements, what the
  // variance loses by subtraction is at most a factor C of f64's precision, whatever the offset.
  struct Acc {
    double sum, squares;
  };
  struct Row {
    float mean, mean_rest, sigma;
    double u;                     // of the label
    float softplus, logistic;     // of a (b - u)
    float common, slope, at_label;  // gradient: common + slope (z - mean), and the label's own
  };

  double option_a, option_b, classes, shift, z_label;
  u64 label;
  int dtype;

  LK_DEVICE ZLoss(const Args& a, const double*)
      : option_a(a.opts.a), option_b(a.opts.b), classes(static_cast<double>(a.classes)), shift(0), z_label(0),
        label(0), dtype(a.dtype) {}

  LK_DEVICE void begin(const void* z, u64 y) {
    shift = load1(z, dtype, 0);
    z_label = load1(z, dtype, y);
    label = y;
  }

  LK_DEVICE Acc init() const { return {0.0, 0.0}; }

  template <int N>
  LK_DEVICE void add(Acc& acc, const float (&x)[N], u64) const {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const double d = static_cast<double>(x[j]) - shift;
      acc.sum += d;
      acc.squares = fma(d, d, acc.squares);
    }
  }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.sum + q.sum, p.squares + q.squares}; }

  LK_DEVICE Row finish(const Acc& acc) const {
    const double offset = acc.sum / classes;
    const double variance = (acc.squares - acc.sum * offset) / classes;
    return complete(shift + offset, sqrt(variance < 0.0 ? 0.0 : variance));
  }

  LK_DEVICE Row complete(double mean, double sigma) const {
    Row row;
    row.mean = static_cast<float>(mean);
    row.mean_rest = static_cast<float>(mean - row.mean);
    row.sigma = static_cast<float>(sigma);
    row.u = sigma == 0.0 ? 0.0 : (z_label - mean) / sigma;
    // exp in f32, with what the rounding of its argument took away put back.
    const double x = option_a * (option_b - row.u);
    const float magnitude = static_cast<float>(fabs(x)), rest = static_cast<float>(fabs(x) - magnitude);
    float e = expf(-magnitude);
    e = magnitude < 100.0f ? fmaf(e, -rest, e) : e;
    const float tail = log1pf(e);
    row.logistic = x < 0.0 ? e / (1.0f + e) : 1.0f / (1.0f + e);
    row.softplus = x < 0.0 ? tail : static_cast<float>(x + tail);
    if (x != x) row.softplus = row.logistic = quiet_nan();
    return row;
  }

  LK_DEVICE void save(const Row& row, float* saved) const {
    saved[0] = row.mean;
    saved[1] = row.mean_rest;
    saved[2] = row.sigma;
  }
  LK_DEVICE Row restore(const float* saved) const {
    return complete(static_cast<double>(saved[0]) + saved[1], saved[2]);
  }

  LK_DEVICE float loss(const Row& row) const { return static_cast<float>(row.softplus / option_a); }

  LK_DEVICE void scale(Row& row, float s) const {
    if (row.sigma == 0.0f) {
      row.common = row.slope = row.at_label = 0.0f;
      return;
    }
    const double common = static_cast<double>(s) * row.logistic / (classes * row.sigma);
    row.common = static_cast<float>(common);
    row.slope = static_cast<float>(common * row.u / row.sigma);
    row.at_label = static_cast<float>(common * (1.0 + row.u * row.u - classes));
  }
  LK_DEVICE float gradient(const Row& row, float z, u64 k) const {
    return k == label ? row.at_label : fmaf(row.slope, (z - row.mean) - row.mean_rest, row.common);
  }
};

}  // namespace lk
