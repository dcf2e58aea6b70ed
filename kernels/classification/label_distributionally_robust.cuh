// l = t (logsumexp(d / t) - log C), d_k = z_k - z_y + margin, d_y = 0, t fixed or the row's own: the root of
// alpha (t - t0) = KL(softmax(d / t) || uniform), plus alpha/2 (t - t0)^2; dz_k = s (p_k - delta_ky).
#pragma once
#include "losskit_args/label_distributionally_robust.h"
#include "../skeletons/row_sets.cuh"

namespace lk {

// Sums over k != y of exp(x), x exp(x), x^2 exp(x), x = (z - top) / t.
struct RobustSums {
  float rest, cross, square;
};

// The label against the rest of a row at a temperature.
struct RobustOdds {
  double own, others, share;  // p_y, 1 - p_y; exp(x_k) share = p_k
  double log_sum, nll;        // logsumexp(d / t) less x's reference, and -log p_y
  LK_DEVICE RobustOdds(double lead, double rest) {
    const double decay = exp(-fabs(lead));
    const double a = lead > 0.0 ? 1.0 : decay, b = lead > 0.0 ? decay : 1.0;
    share = b / (a + rest * b);
    own = a / (a + rest * b);
    others = rest * share;
    const double log_term = lead > 0.0 ? log1p(rest * decay) : log(rest + decay);
    log_sum = (lead > 0.0 ? lead : 0.0) + log_term;
    nll = (lead > 0.0 ? 0.0 : -lead) + log_term;
  }
};

struct RobustRow {
  const lk_label_distributionally_robust_args& a;
  const void* z;
  u64 label;
  bool valid;
  float top;
  double lead, classes;
  RobustSums* scratch;

  // The same for all threads of the group.
  LK_DEVICE RobustSums sums(double t) const {
    const float f = static_cast<float>(1.0 / t), about = top;
    RobustSums acc = {0.0f, 0.0f, 0.0f};
    if (valid) {
      sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
        const int own = position<N>(k, label);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          const float e = j == own ? 0.0f : exp_scaled_difference(x[j], about, f);
          if (e == 0.0f) continue;
          const float u = __fmul_rn(f, __fsub_rn(x[j], about));
          acc.rest += e;
          acc.cross = fmaf(e, u, acc.cross);
          acc.square = fmaf(e * u, u, acc.square);
        }
      });
    }
    acc = reduce_group(acc, RobustSums{0.0f, 0.0f, 0.0f}, scratch, [](const RobustSums& p, const RobustSums& q) {
      return RobustSums{p.rest + q.rest, p.cross + q.cross, p.square + q.square};
    });
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    return acc;
  }
  LK_DEVICE RobustOdds odds(const RobustSums& s, double t) const {
    return RobustOdds(lead / t, lead == infinity() ? quiet_nan() : s.rest);
  }

  // Newton's steps on alpha (t - t0) - KL(t), halving where they leave the bracket. All threads of a warp turn
  // until the last row of it is done.
  LK_DEVICE double solve() const {
    const double start = a.opts.temperature, alpha = a.opts.alpha;
    double low = start, high = infinity(), t = start;
    bool done = !valid;
    for (int turn = 0; turn < 60; ++turn) {
      const RobustSums s = sums(t);
      if (!done) {
        const RobustOdds o = odds(s, t);
        const double x = o.own == 0.0 ? 0.0 : lead / t;
        const double mean = o.share * s.cross + o.own * x, square = o.share * s.square + o.own * x * x;
        const double divergence = log(classes) - (o.log_sum - mean);
        const double variance = square - mean * mean > 0.0 ? square - mean * mean : 0.0;
        const double excess = alpha * (t - start) - divergence;
        if (excess != excess || (t == start && divergence <= 0.0)) {
          done = true;
        } else {
          if (excess < 0.0) {
            low = t;
            high = fmin(high, start + divergence / alpha);
          } else {
            high = t;
          }
          double next = t - excess / (alpha + variance / t);
          if (!(next >= low && next <= high)) next = 0.5 * (low + high);
          done = fabs(next - t) <= 2e-5 * next;
          t = next;
        }
      }
      int running = !done;
      if (blockDim.x <= 32) running = reduce_lanes(running, 32, [](int p, int q) { return p | q; });
      if (!running) break;
    }
    return t;
  }
};

LK_DEVICE void label_distributionally_robust(const lk_label_distributionally_robust_args& a) {
  __shared__ RobustSums scratch[32];
  __shared__ float maxima[32];
  const double* header = static_cast<const double*>(a.workspace);
  const bool reduced = a.opts.reduction != LK_REDUCTION_NONE, forward = a.pass != kPassBackward;
  float* losses = a.loss && reduced ? reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + kHeaderBytes) : a.loss;

  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.rows;
    const int64_t label = present ? a.labels[r] : 0;
    const bool counted = present && label != a.opts.ignore_index && a.classes > 0;
    const bool valid = counted && label >= 0 && static_cast<u64>(label) < a.classes;
    const void* z = at(a.logits, a.dtype, present ? r * a.classes : 0);
    const float own = valid ? load1(z, a.dtype, static_cast<u64>(label)) : 0.0f;

    float top = -infinity();
    if (valid) {
      sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
        const int at_label = position<N>(k, static_cast<u64>(label));
#pragma unroll
        for (int j = 0; j < N; ++j) top = fmaxf(top, j == at_label ? -infinity() : x[j]);
      });
    }
    top = reduce_group(top, -infinity(), maxima, [](float p, float q) { return fmaxf(p, q); });
    double lead = own - a.opts.margin - top;
    if (top == -infinity() && own != infinity()) {
      top = 0.0f;  // no other class: any reference does
      lead = own - own == 0.0f || own == -infinity() ? 0.0 : own;
    }
    const RobustRow row = {a, z, static_cast<u64>(label), valid, top, lead, static_cast<double>(a.classes), scratch};
    const double t = a.opts.adaptive ? row.solve() : a.opts.temperature;
    const RobustOdds odds = row.odds(row.sums(t), t);
    if (!present) continue;

    if (forward && threadIdx.x == 0) {
      const double moved = t - a.opts.temperature, price = a.opts.adaptive ? 0.5 * a.opts.alpha * moved * moved : 0.0;
      if (losses) {
        losses[r] = valid ? static_cast<float>(t * (odds.nll - log(row.classes)) + price) : counted ? quiet_nan() : 0.0f;
      }
      if (a.temperatures) a.temperatures[r] = valid ? static_cast<float>(t) : 0.0f;
    }
    if (counted && !valid && threadIdx.x == 0) atomicOr(a.device_flags, kFlagLabel);
    if (a.pass == kPassForward || !a.grad_logits) continue;

    const float s = upstream(a, header, r), f = static_cast<float>(1.0 / t);
    const float weight = static_cast<float>(s * odds.share), at_label = static_cast<float>(-s * odds.others);
    void* g = at(a.grad_logits, a.dtype, r * a.classes);
    const bool vector = ((reinterpret_cast<uintptr_t>(g) ^ reinterpret_cast<uintptr_t>(z)) & 15) == 0;
    sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
      constexpr int N = sizeof(x) / sizeof(float);
      const int at = position<N>(k, static_cast<u64>(label));
#pragma unroll
      for (int j = 0; j < N; ++j) {
        x[j] = !valid ? 0.0f : j == at ? at_label : weight * exp_scaled_difference(x[j], top, f);
      }
      store(g, a.dtype, k, vector, x);
    });
  }
}

}  // namespace lk
