// l = expm1((1-tau) v) / (1-tau) + nu |d|, v = -log p_y of p = softmax(z / rho), d_k = (a_y - a_k) - (z_y - z_k);
// with N = |d|: da_k = -s nu d_k / N, dz_k = s p_y^(tau-1) p_k / rho + s nu d_k / N, and the label's by sums.
#pragma once
#include "losskit_args/smooth_adversarial_comp_sum.h"
#include "../skeletons/row_sets.cuh"
#include "../skeletons/softmax_entropy.cuh"

namespace lk {

// Rows: clean, attacked.
struct SmoothAdversarialCompSum : RowSetBase<lk_smooth_adversarial_comp_sum_args, 2> {
  struct Acc {
    SoftmaxEntropy::Acc softmax;
    double squares, sum;  // of d
  };
  struct Row {
    SoftmaxEntropy::Row softmax;
    double nll, others, norm, sum;
    float slope, more, direction;  // slope x more e_k: one factor may overflow where the product does not
    float at_label[2];
  };

  const Args& a;
  double c, rho, nu;
  Scaled scaled;  // by 1 / rho
  float own[2];
  u64 y;

  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.logits : a.adversarial_logits; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_logits : a.grad_adversarial_logits; }
  static LK_DEVICE int64_t label(const Args& a, u64 r) { return a.labels[r]; }

  LK_DEVICE explicit SmoothAdversarialCompSum(const Args& args)
      : a(args), c(1.0 - args.opts.tau), rho(args.opts.rho), nu(args.opts.nu),
        scaled(static_cast<float>(1.0 / rho), static_cast<float>(1.0 / rho - static_cast<float>(1.0 / rho))), own{0, 0}, y(0) {}

  LK_DEVICE void begin(u64, u64 label, const void* const (&rows)[2]) {
    y = label;
    own[0] = load1(rows[0], a.dtype, label);
    own[1] = load1(rows[1], a.dtype, label);
  }
  LK_DEVICE float difference(const float (&x)[2]) const {
    return __fsub_rn(__fsub_rn(own[1], x[1]), __fsub_rn(own[0], x[0]));
  }
  LK_DEVICE Acc init() const { return {SoftmaxEntropy::empty(), 0.0, 0.0}; }
  template <int N>
  LK_DEVICE void add_chunk(Acc& acc, const float (&x)[2][N], u64) const {
    SoftmaxEntropy::add(acc.softmax, x[0], scaled);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float pair[2] = {x[0][j], x[1][j]};
      const double d = difference(pair);
      acc.squares = fma(d, d, acc.squares);
      acc.sum += d;
    }
  }
  LK_DEVICE float max(const Acc& acc, int i) const { return i == 0 ? acc.softmax.max : 0.0f; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[2]) const { SoftmaxEntropy::rebase(acc.softmax, m[0], scaled); }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const {
    return {SoftmaxEntropy::merge(p.softmax, q.softmax), p.squares + q.squares, p.sum + q.sum};
  }
  LK_DEVICE Row finish(const Acc& acc) const {
    Row row;
    row.softmax = SoftmaxEntropy::finish(acc.softmax);
    const double lead = (static_cast<double>(own[0]) - row.softmax.max) / rho;
    row.nll = log1p(static_cast<double>(row.softmax.rest)) - lead;
    row.others = lead == 0.0 ? row.softmax.others : 1.0 - row.softmax.inverse * exp(lead);
    row.norm = sqrt(acc.squares);
    row.sum = acc.sum;
    return row;
  }
  LK_DEVICE float loss(const Row& row) const {
    const double clean = c == 0.0 ? row.nll : expm1(c * row.nll) / c;
    return static_cast<float>(clean + (nu > 0.0 ? nu * row.norm : 0.0));
  }
  LK_DEVICE void scale(Row& row, float s) const {
    const double clean = s * (c == 0.0 ? 1.0 : exp(c * row.nll)) / rho, weight = clean * row.softmax.inverse;
    const bool huge = fabs(weight) > 3.4028234663852886e38 && fabs(weight) < 1e300;
    const double first = huge ? 1e30 : weight;
    row.slope = static_cast<float>(first);
    row.more = huge ? static_cast<float>(weight / first) : 1.0f;
    const double change = row.norm == 0.0 ? 0.0 : s * nu / row.norm, t = nu > 0.0 ? change * row.sum : 0.0;
    row.direction = static_cast<float>(change);
    row.at_label[0] = static_cast<float>(-clean * row.others - t);
    row.at_label[1] = static_cast<float>(t);
  }
  LK_DEVICE void gradient(const Row& row, const float (&x)[2], float (&g)[2], u64 k) const {
    if (k == y) {
      g[0] = row.at_label[0];
      g[1] = row.at_label[1];
      return;
    }
    float unused;
    const float e = SoftmaxEntropy::exponential(row.softmax, x[0], unused, scaled);
    const float t = row.direction * difference(x);
    g[0] = (e == 0.0f ? e : row.slope * e * row.more) + t;
    g[1] = -t;
  }
};

}  // namespace lk
