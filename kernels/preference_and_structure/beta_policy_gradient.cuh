// l = -A log_prob - w sum H of Beta(a, b) at x, element by element in f64: ln Gamma of a, b and a + b for the loss, their
// digammas for the gradient, trigammas where the entropy counts.
#pragma once
#include "losskit_args/beta_policy_gradient.h"
#include "../skeletons/row_sets.cuh"
#include "../special.cuh"

namespace lk {

// Of the header, in f64: where the rewards' mean and one over their deviation are.
constexpr int kRewardMean = 2, kRewardScale = 3;

struct BetaPolicy : RowSetBase<lk_beta_policy_gradient_args, 3> {
  // Sums of log-densities and entropies.
  struct Acc {
    double log_prob, entropy;
  };
  struct Row {
    double log_prob, entropy, advantage, scale;
  };

  const Args& a;
  const double* header;
  double weight;
  u64 row_index;
  bool forward;

  LK_DEVICE explicit BetaPolicy(const Args& args)
      : a(args),
        header(static_cast<const double*>(args.workspace)),
        weight(args.opts.entropy_weight),
        row_index(0),
        forward(args.pass != kPassBackward) {}

  static LK_DEVICE u64 classes(const Args& a) { return a.d; }
  static LK_DEVICE const void* input(const Args& a, int i) {
    return i == 0 ? a.concentration1 : i == 1 ? a.concentration0 : a.actions;
  }
  static LK_DEVICE void* gradient_of(const Args& a, int i) {
    return i == 0 ? a.grad_concentration1 : i == 1 ? a.grad_concentration0 : nullptr;
  }

  LK_DEVICE void begin(u64 r, u64, const void* const (&)[3]) { row_index = r; }
  LK_DEVICE Acc init() const { return {0.0, 0.0}; }
  LK_DEVICE float max(const Acc&, int) const { return 0.0f; }
  LK_DEVICE void rebase(Acc&, const float (&)[3]) const {}
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.log_prob + q.log_prob, p.entropy + q.entropy}; }

  // 0 where the factor is; a NaN stays.
  static LK_DEVICE double times_log(double factor, double x) { return factor == 0.0 && x == x ? 0.0 : factor * log(x); }

  template <bool kEntropy>
  static LK_DEVICE void add_values(Acc& acc, double p, double q, double x) {
    const Gamma of_p = gamma_of<true, kEntropy, false>(p), of_q = gamma_of<true, kEntropy, false>(q);
    const Gamma of_sum = gamma_of<true, kEntropy, false>(p + q);
    const double ln_beta = (of_p.ln + of_q.ln) - of_sum.ln;
    acc.log_prob += times_log(p - 1.0, x) + times_log(q - 1.0, 1.0 - x) - ln_beta;
    if (kEntropy) acc.entropy += ln_beta - (p - 1.0) * of_p.psi - (q - 1.0) * of_q.psi + (p + q - 2.0) * of_sum.psi;
  }
  LK_DEVICE void add(Acc& acc, const float (&x)[3], u64) const {
    if (!forward) return;
    if (weight > 0.0) {
      add_values<true>(acc, x[0], x[1], x[2]);
    } else {
      add_values<false>(acc, x[0], x[1], x[2]);
    }
  }

  LK_DEVICE Row finish(const Acc& acc) const {
    const double reward = load1(a.rewards, a.dtype, row_index);
    const double advantage =
        a.opts.normalize ? (reward - header[kRewardMean]) * header[kRewardScale] : reward - a.opts.baseline;
    return {acc.log_prob, acc.entropy, advantage, 1.0};
  }
  LK_DEVICE float loss(const Row& row) const {
    return static_cast<float>(-row.advantage * row.log_prob - (weight > 0.0 ? weight * row.entropy : 0.0));
  }
  LK_DEVICE void outputs(const Row& row) const {
    if (a.log_prob) a.log_prob[row_index] = static_cast<float>(row.log_prob);
  }
  LK_DEVICE void scale(Row& row, float s) const { row.scale = s; }

  template <bool kEntropy>
  LK_DEVICE void slopes(const Row& row, double p, double q, double x, float (&g)[3]) const {
    const Gamma of_p = gamma_of<false, true, kEntropy>(p), of_q = gamma_of<false, true, kEntropy>(q);
    const Gamma of_sum = gamma_of<false, true, kEntropy>(p + q);
    double dp = -row.advantage * (log(x) + (of_sum.psi - of_p.psi));
    double dq = -row.advantage * (log(1.0 - x) + (of_sum.psi - of_q.psi));
    if (kEntropy) {
      const double common = (p + q - 2.0) * of_sum.psi1;
      dp -= weight * (common - (p - 1.0) * of_p.psi1);
      dq -= weight * (common - (q - 1.0) * of_q.psi1);
    }
    g[0] = static_cast<float>(row.scale * dp);
    g[1] = static_cast<float>(row.scale * dq);
  }
  LK_DEVICE void gradient(const Row& row, const float (&x)[3], float (&g)[3], u64) const {
    if (weight > 0.0) {
      slopes<true>(row, x[0], x[1], x[2], g);
    } else {
      slopes<false>(row, x[0], x[1], x[2], g);
    }
  }
};

// One block: mean and scale of the rewards to the header.
LK_DEVICE void beta_policy_rewards(const lk_beta_policy_gradient_args& a) {
  __shared__ double scratch[32];
  __shared__ double mean;
  const auto add = [](double x, double y) { return x + y; };
  const double rows = static_cast<double>(a.rows);
  double sum = 0.0;
  for (u64 r = threadIdx.x; r < a.rows; r += blockDim.x) sum += load1(a.rewards, a.dtype, r);
  sum = reduce_group(sum, 0.0, scratch, add);
  if (threadIdx.x == 0) mean = sum / rows;
  __syncthreads();
  double squares = 0.0;
  for (u64 r = threadIdx.x; r < a.rows; r += blockDim.x) {
    const double d = load1(a.rewards, a.dtype, r) - mean;
    squares += d * d;
  }
  squares = reduce_group(squares, 0.0, scratch, add);
  if (threadIdx.x != 0) return;
  double* header = static_cast<double*>(a.workspace);
  header[kRewardMean] = mean;
  header[kRewardScale] = 1.0 / (sqrt(squares / rows) + 1e-8);
}

}  // namespace lk
