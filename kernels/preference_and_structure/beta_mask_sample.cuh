// G1 / (G1 + G0) of Gamma variates by Marsaglia and Tsang, the same bits as on the CPU: products and sums that might be
// contracted are written out.
#pragma once
#include "losskit_args/beta_mask_sample.h"
#include "../common.cuh"
#include "../philox.cuh"
#include "../special.cuh"

namespace lk {

constexpr u64 kBetaBlocks = 16;  // counter blocks of an element

LK_DEVICE double beta_unit(uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

// A variate of one shape parameter in the making.
struct GammaVariate {
  double d, c;  // the parameter less 1/3, of a shape of at least 1
  double lift;  // logarithm of what lifts a shape below 1
  double v;     // G / d, once a try is accepted
  bool accepted;

  LK_DEVICE GammaVariate(double shape, uint32_t word) : lift(0.0), v(1.0), accepted(false) {
    double above = shape;
    if (shape < 1.0) {
      above = shape + 1.0;
      lift = exact_ln(beta_unit(word)) / shape;
    }
    d = above - 1.0 / 3.0;
    c = 1.0 / sqrt(9.0 * d);
  }

  LK_DEVICE void take(float normal, uint32_t word) {
    const double x = normal, root = exact_step(c, x, 1.0);
    if (accepted || root <= 0.0) return;
    const double u = beta_unit(word), xx = __dmul_rn(x, x), cube = __dmul_rn(__dmul_rn(root, root), root);
    // The first condition implies the second, and mostly spares it.
    accepted = u < __dadd_rn(1.0, -__dmul_rn(0.0331, __dmul_rn(xx, xx)));
    if (!accepted) {
      const double bound = __dadd_rn(__dmul_rn(0.5, xx), __dmul_rn(d, __dadd_rn(1.0 - cube, exact_ln(cube))));
      accepted = exact_ln(u) < bound;
    }
    if (accepted) v = cube;
  }

  // ln G
  LK_DEVICE double log_value() const { return __dadd_rn(exact_ln(__dmul_rn(d, v)), lift); }
};

LK_DEVICE double beta_sample(const Philox& philox, u64 element, double one, double zero) {
  if (!(one > 0.0 && zero > 0.0 && one + zero < static_cast<double>(infinity()))) return quiet_nan();
  const u64 first = element * kBetaBlocks;
  const PhiloxBlock lifts = philox.block(first);
  GammaVariate g1(one, lifts.w[0]), g0(zero, lifts.w[1]);
  for (u64 turn = 1; turn < kBetaBlocks && !(g1.accepted && g0.accepted); ++turn) {
    const PhiloxBlock words = philox.block(first + turn);
    float x, y;
    philox_normals(words.w[0], words.w[1], x, y);
    g1.take(x, words.w[2]);
    g0.take(y, words.w[3]);
  }
  const double lead = __dadd_rn(g1.log_value(), -g0.log_value()), e = exact_exp_neg(fabs(lead));
  return lead < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
}

LK_DEVICE void beta_mask_sample(const lk_beta_mask_sample_args& a) {
  const Philox philox = {a.opts.seed, a.opts.offset};
  // The smallest number that is handed out, and the largest of the type below 1.
  const float low = a.dtype == LK_DTYPE_F16 ? 0x1p-24f : 0x1p-126f;
  const float high = a.dtype == LK_DTYPE_F32 ? 0x1.fffffep-1f : a.dtype == LK_DTYPE_F16 ? 0x1.ffcp-1f : 0x1.fep-1f;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < a.n; e += step) {
    const double one = load1(a.concentration1, a.dtype, e), zero = load1(a.concentration0, a.dtype, e);
    const float x = static_cast<float>(beta_sample(philox, e, one, zero));
    store1(a.actions, a.dtype, e, x < low ? low : x > high ? high : x);
  }
}

}  // namespace lk
