// l = softplus(a (b - u_y)) / a with u_k = (z_k - mean) / sigma over the row, and
// dz_k = -s logistic(a (b - u_y)) (delta_ky - 1/C - u_y u_k / C) / sigma.
#pragma once
#include "losskit_args/z_loss.h"
#include "../skeletons/rows.cuh"

namespace lk {

struct ZLoss {
  using Args = lk_z_loss_args;
  static constexpr int kSaved = 3;  // mean of the other classes in two floats, and their deviation
  static constexpr bool kRelative = false;

  // Everything is derived from the mean m and deviation t of the classes other than the label, and
  // D = z_y - m: then sigma^2 = (C-1)/C (D^2/C + t^2), and what cancels for a confident row,
  // 1 + u_y^2 - C and 1 + u_y u_k, has a closed form in t.
  //
  // Sums of z - shift and its square over k != y. As the shift is one of those elements, the variance
  // loses at most a factor C of f64's precision by subtraction, whatever the row's offset.
  struct Acc {
    double sum, squares;
  };
  struct Row {
    double mean, deviation;    // of the other classes
    double difference, sigma;  // z_y - mean; over all classes
    double u;                  // of the label
    float softplus, logistic;  // of a (b - u)
    // Gradient: fma(slope, (z - center) - center_rest, offset), and the label's own.
    float center, center_rest, slope, offset, at_label;
  };

  double option_a, option_b, classes, shift, z_label;
  u64 label;
  int dtype;

  LK_DEVICE ZLoss(const Args& a, const double*)
      : option_a(a.opts.a), option_b(a.opts.b), classes(static_cast<double>(a.classes)), shift(0), z_label(0),
        label(0), dtype(a.dtype) {}

  LK_DEVICE void begin(const void* z, u64 y) {
    z_label = load1(z, dtype, y);
    shift = load1(z, dtype, y == 0 && classes > 1.0 ? 1 : 0);
    label = y;
  }

  LK_DEVICE Acc init() const { return {0.0, 0.0}; }

  template <int N>
  LK_DEVICE void add(Acc& acc, float (&x)[N], u64 k) const {
    replace_label(x, k, label, static_cast<float>(shift));
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const double d = static_cast<double>(x[j]) - shift;
      acc.sum += d;
      acc.squares = fma(d, d, acc.squares);
    }
  }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.sum + q.sum, p.squares + q.squares}; }

  LK_DEVICE Row finish(const Acc& acc) const {
    const double others = classes > 1.0 ? classes - 1.0 : 1.0, offset = acc.sum / others;
    const double variance = (acc.squares - acc.sum * offset) / others;
    return complete(shift + offset, sqrt(variance < 0.0 ? 0.0 : variance));
  }

  LK_DEVICE Row complete(double mean, double deviation) const {
    Row row;
    row.mean = mean;
    row.deviation = deviation;
    row.difference = z_label - mean;
    const double share = (classes - 1.0) / classes;
    row.sigma = sqrt(share * (row.difference * row.difference / classes + deviation * deviation));
    row.u = row.sigma == 0.0 ? 0.0 : share * row.difference / row.sigma;
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
    saved[0] = static_cast<float>(row.mean);
    saved[1] = static_cast<float>(row.mean - saved[0]);
    saved[2] = static_cast<float>(row.deviation);
  }
  LK_DEVICE Row restore(const float* saved) const {
    return complete(static_cast<double>(saved[0]) + saved[1], saved[2]);
  }

  LK_DEVICE float loss(const Row& row) const { return static_cast<float>(row.softplus / option_a); }

  LK_DEVICE void scale(Row& row, float s) const {
    row.center = row.center_rest = row.slope = row.offset = row.at_label = 0.0f;
    if (row.sigma == 0.0) return;
    const double common = static_cast<double>(s) * row.logistic / (classes * row.sigma);
    const double others = classes - 1.0, t = row.deviation / row.sigma;
    row.slope = static_cast<float>(common * row.u / row.sigma);
    row.at_label = static_cast<float>(-common * others * (others / classes) * t * t);
    // Where the line crosses zero, unless it is too flat for that: there it is anchored at the mean.
    double center = row.mean - row.deviation / row.difference * row.deviation;
    if (fabs(row.u) < 0.5) {
      center = row.mean + row.difference / classes;
      row.offset = static_cast<float>(common);
    }
    row.center = static_cast<float>(center);
    row.center_rest = static_cast<float>(center - row.center);
  }
  LK_DEVICE float gradient(const Row& row, float z, u64, bool is_label) const {
    return is_label ? row.at_label : fmaf(row.slope, (z - row.center) - row.center_rest, row.offset);
  }
};

}  // namespace lk
