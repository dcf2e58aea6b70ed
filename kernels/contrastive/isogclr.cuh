// g_i = mean_{j != i} exp((S_ij - S_ii) / t_i), log u_i' = log((1 - gamma) u_i + gamma g_i),
// loss_i = t_i (log u_i' + rho); W_ij = s_i exp((S_ij - S_ii) / t_i) / ((n - 1) u_i'), W_ii = -s_i sum_j p_ij.
#pragma once
#include "losskit_args/isogclr.h"
#include "../skeletons/tiles.cuh"

// Mirrored by src/losses/contrastive/isogclr.rs.
struct lk_isogclr_tile_args {
  lk_tiles tiles;
  lk_isogclr_args entry;
  double* own;    // [n, 2]: S_ii, and 1
  float* saved;   // [3, n]: between statistics and step the log of sum_j, then log((n - 1) u'); sum_j p_ij; 1 / t
  float* means;   // [n]: mean of (S_ij - S_ii) / t_i
  float* losses;  // [n], for the reduction
  int32_t restored, padding;
};

namespace lk {

struct Isogclr {
  using Args = lk_isogclr_tile_args;

  struct Stat {
    double sum, moment;  // of exp(z - about), z exp(z - about)
    float about, unused;
  };

  const Args& a;
  const u64 n;
  const float *logs, *shares, *inverse;

  LK_DEVICE explicit Isogclr(const Args& args)
      : a(args), n(args.entry.n), logs(args.saved), shares(args.saved + n), inverse(args.saved + 2 * n) {}

  LK_DEVICE Stat init() const { return {0.0, 0.0, -infinity(), 0.0f}; }

  LK_DEVICE float relative(u64 row, float s, float factor) const { return (s - static_cast<float>(a.own[2 * row])) * factor; }

  LK_DEVICE void add(Stat& stat, u64 owner, u64 other, const float (&s)[8], int count) const {
    float z[8], top = stat.about;
    const float factor = 1.0f / a.entry.temperatures[owner];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      z[j] = j < count && other + j != owner ? relative(owner, s[j], factor) : -infinity();
      top = fmaxf(top, z[j]);
    }
    if (top == -infinity()) {
      // Nothing to sum yet, unless it is NaN.
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (z[j] != z[j]) stat.sum += z[j];
      }
      return;
    }
    top = fminf(top, 3.4028234e38f);
    if (top > stat.about) {
      const double factor = stat.sum != 0.0 ? exp(static_cast<double>(stat.about) - top) : 0.0;
      if (stat.sum == stat.sum) {
        stat.sum *= factor;
        stat.moment *= factor;
      }
      stat.about = top;
    }
    float sum = 0.0f, moment = 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float e = expf(z[j] - top);
      sum += e;
      moment += z[j] == -infinity() ? 0.0f : z[j] * e;
    }
    stat.sum += sum;
    stat.moment += moment;
  }

  LK_DEVICE Stat merge(const Stat& p, const Stat& q) const {
    const float about = fmaxf(p.about, q.about);
    const double x = p.about == about ? 1.0 : p.sum != 0.0 ? exp(static_cast<double>(p.about) - about) : 0.0;
    const double y = q.about == about ? 1.0 : q.sum != 0.0 ? exp(static_cast<double>(q.about) - about) : 0.0;
    return {p.sum * x + q.sum * y, p.moment * x + q.moment * y, about, 0.0f};
  }

  LK_DEVICE void finish(u64 owner, const Stat& stat) const {
    a.saved[owner] = stat.sum == 0.0 ? -infinity() : static_cast<float>(stat.about + log(stat.sum));
    if (stat.sum != stat.sum) a.saved[owner] = quiet_nan();
    a.means[owner] = static_cast<float>(stat.moment / stat.sum);
  }

  LK_DEVICE float upstream(u64 row) const {
    const lk_isogclr_args& e = a.entry;
    const float g = e.grad_loss ? e.grad_loss[e.opts.reduction == LK_REDUCTION_NONE ? row : 0] : 1.0f;
    return e.opts.reduction == LK_REDUCTION_MEAN ? static_cast<float>(static_cast<double>(g) / static_cast<double>(n)) : g;
  }

  LK_DEVICE float weight(u64 row, u64 column, float s) const {
    if (row == column) return -upstream(row) * shares[row];
    return upstream(row) * expf(relative(row, s, inverse[row]) - logs[row]);
  }

  // Between statistics and gradients; reads the state of its sample before it writes it.
  LK_DEVICE void step(u64 i) const {
    const lk_isogclr_args& e = a.entry;
    const double others = log(static_cast<double>(n) - 1.0), log_mean = a.saved[i] - others, t = e.temperatures[i];
    const double old = log(1.0 - e.opts.gamma) + e.log_u[i], fresh = log(e.opts.gamma) + log_mean;
    const double high = old > fresh ? old : fresh, low = old > fresh ? fresh : old;
    const double log_u = low == -static_cast<double>(infinity()) ? high : high + log1p(exp(low - high));
    const double share = exp(log_mean - log_u), grad = log_u + e.opts.rho - share * a.means[i];
    const double loss = t * (log_u + e.opts.rho);
    a.saved[i] = static_cast<float>(others + log_u);
    a.saved[n + i] = static_cast<float>(share);
    a.saved[2 * n + i] = 1.0f / e.temperatures[i];
    if (e.pass == kPassBackward) return;
    a.losses[i] = static_cast<float>(loss);
    if (e.loss && e.opts.reduction == LK_REDUCTION_NONE) e.loss[i] = static_cast<float>(loss);
    double moved = t - e.opts.learning_rate * grad;
    moved = moved < e.opts.min_temperature ? e.opts.min_temperature : moved;
    moved = moved > e.opts.max_temperature ? e.opts.max_temperature : moved;
    if (e.log_u_next) e.log_u_next[i] = static_cast<float>(log_u);
    if (e.temperature_grad) e.temperature_grad[i] = static_cast<float>(grad);
    if (e.temperatures_next) e.temperatures_next[i] = static_cast<float>(moved);
  }
};

}  // namespace lk
