// l = max(0, margin + D(a, p) - D(a, n)), or min(D(a, n), D(p, n)) with swap, D(x, y) = |x - y + eps|_p;
// dD/dx = sign(u) (|u| / D)^(p-1), u = x - y + eps.
#pragma once
#include "losskit_args/triplet_margin_loss.h"
#include "../skeletons/elements.cuh"
#include "../skeletons/row_sets.cuh"

namespace lk {

// Rows: anchor, positive, negative. Differences: anchor - positive, anchor - negative, positive - negative.
struct TripletMarginLoss : RowSetBase<lk_triplet_margin_loss_args, 3> {
  // Sums of |u|^p: in f64 for a small integer p, else in terms of the largest, so that no power leaves f32's range.
  struct Acc {
    double sum[3];
    float max[3], pad;
  };
  struct Row {
    double distance[3], excess;
    int far;  // which is the second distance
    float near_weight, far_weight, near_inverse, far_inverse;
  };

  const Args& a;
  float p, eps;
  int whole;  // p from 1 to kWhole, else 0

  // The highest power of an f32 whose sums stay in f64's range.
  static constexpr int kWhole = 7;

  static LK_DEVICE u64 classes(const Args& a) { return a.d; }
  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.anchor : i == 1 ? a.positive : a.negative; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) {
    return i == 0 ? a.grad_anchor : i == 1 ? a.grad_positive : a.grad_negative;
  }

  LK_DEVICE explicit TripletMarginLoss(const Args& args)
      : a(args), p(static_cast<float>(args.opts.p)), eps(static_cast<float>(args.opts.eps)),
        whole(args.opts.p <= kWhole && args.opts.p == static_cast<int>(args.opts.p) ? static_cast<int>(args.opts.p) : 0) {}

  // x^n for n from 0 on.
  template <class T>
  static LK_DEVICE T power(T x, int n) {
    T product = n == 0 ? 1 : x;
    for (int i = 1; i < n; ++i) product *= x;
    return product;
  }
  // sum^(1/p) for a whole p: an estimate in f32 and two steps of Newton.
  LK_DEVICE double root_of(double sum) const {
    if (whole == 1 || sum == 0.0 || !(sum < static_cast<double>(infinity()))) return sum;
    if (whole == 2) return sqrt(sum);
    int exponent;
    const double mantissa = frexp(sum, &exponent);
    double root = exp2f((log2f(static_cast<float>(mantissa)) + static_cast<float>(exponent)) / p);
    if (!(root > 1e-36 && root < static_cast<double>(infinity()))) return pow(sum, 1.0 / p);  // no good estimate
    for (int step = 0; step < 2; ++step) {
      const double below = power(root, whole - 1);
      root -= (root * below - sum) / (p * below);
    }
    return root;
  }

  LK_DEVICE void begin(u64, u64, const void* const (&)[3]) {}
  LK_DEVICE void differences(const float (&x)[3], float (&u)[3]) const {
    u[0] = __fadd_rn(__fsub_rn(x[0], x[1]), eps);
    u[1] = __fadd_rn(__fsub_rn(x[0], x[2]), eps);
    u[2] = __fadd_rn(__fsub_rn(x[1], x[2]), eps);
  }
  LK_DEVICE Acc init() const { return {{0.0, 0.0, 0.0}, {0.0f, 0.0f, 0.0f}, 0.0f}; }
  LK_DEVICE void raise(Acc& acc, int i, float top) const {
    if (top == acc.max[i]) return;
    acc.sum[i] *= acc.max[i] == 0.0f ? 0.0 : powf(acc.max[i] / top, p);
    acc.max[i] = top;
  }
  LK_DEVICE void add(Acc& acc, const float (&x)[3], u64) const {
    float u[3];
    differences(x, u);
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const double d = fabsf(u[i]);
      if (whole) {
        acc.sum[i] = fma(d, power(d, whole - 1), acc.sum[i]);
        continue;
      }
      raise(acc, i, fmaxf(acc.max[i], fabsf(u[i])));
      if (u[i] != 0.0f) acc.sum[i] += powf(fabsf(u[i]) / acc.max[i], p);
    }
  }
  LK_DEVICE float max(const Acc& acc, int i) const { return acc.max[i]; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[3]) const {
#pragma unroll
    for (int i = 0; i < 3; ++i) raise(acc, i, m[i]);
  }
  LK_DEVICE Acc merge(const Acc& x, const Acc& y) const {
    Acc both = x;
#pragma unroll
    for (int i = 0; i < 3; ++i) both.sum[i] += y.sum[i];
    return both;
  }
  LK_DEVICE Row finish(const Acc& acc) const {
    Row row;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const double sum = acc.sum[i];
      row.distance[i] = whole ? root_of(sum) : sum == 0.0 ? 0.0 : acc.max[i] * pow(sum, 1.0 / a.opts.p);
    }
    row.far = a.opts.swap && !(row.distance[1] <= row.distance[2]) ? 2 : 1;
    row.excess = a.opts.margin + row.distance[0] - (row.far == 1 ? row.distance[1] : row.distance[2]);
    return row;
  }
  LK_DEVICE float loss(const Row& row) const { return row.excess < 0.0 ? 0.0f : static_cast<float>(row.excess); }
  LK_DEVICE void scale(Row& row, float s) const {
    const float weight = row.excess > 0.0 ? s : row.excess <= 0.0 ? 0.0f : quiet_nan();
    const double near = row.distance[0], far = (row.far == 1 ? row.distance[1] : row.distance[2]);
    row.near_weight = near == 0.0 ? 0.0f : weight;
    row.far_weight = far == 0.0 ? 0.0f : weight;
    row.near_inverse = near == 0.0 ? 0.0f : static_cast<float>(1.0 / near);
    row.far_inverse = far == 0.0 ? 0.0f : static_cast<float>(1.0 / far);
  }
  LK_DEVICE float slope(float u, float inverse) const {
    if (p == 2.0f) return u * inverse;
    if (p == 1.0f) return u != u ? u : sign(u);
    if (whole) return copysignf(power(fabsf(u) * inverse, whole - 1), u);
    return u == 0.0f ? 0.0f : copysignf(powf(fabsf(u) * inverse, p - 1.0f), u);
  }
  LK_DEVICE void gradient(const Row& row, const float (&x)[3], float (&g)[3], u64) const {
    if (row.near_weight == 0.0f && row.far_weight == 0.0f) return;
    float u[3];
    differences(x, u);
    const float near = row.near_weight * slope(u[0], row.near_inverse);
    const float far = row.far_weight * slope(row.far == 1 ? u[1] : u[2], row.far_inverse);
    g[0] = row.far == 1 ? near - far : near;
    g[1] = row.far == 1 ? -near : -near - far;
    g[2] = far;
  }
};

}  // namespace lk
