// n h = sum_p (s . x_p) x_p - s sum_p x_p^2, and its sign, or that of tanh(beta h) plus a draw.
#pragma once
#include "losskit_args/hopfield_update.h"
#include "../philox.cuh"
#include "../skeletons/overlaps.cuh"

// Mirrored by src/losses.
struct lk_hopfield_step_args {
  lk_hopfield_update_args call;
  uint64_t first;  // state that the call's `batch` states begin with
};

namespace lk {

struct Hopfield {
  const lk_hopfield_update_args& a;
  u64 first;
  float *diagonal, *overlaps;

  LK_DEVICE explicit Hopfield(const lk_hopfield_step_args& args) : a(args.call), first(args.first) {
    diagonal = static_cast<float*>(a.workspace);
    overlaps = diagonal + (a.n * 4 + 255) / 256 * 64;
  }

  LK_DEVICE PatternRows states() const { return {at(a.state, a.dtype, first * a.n), a.dtype, a.batch, a.n}; }
  LK_DEVICE PatternRows patterns() const { return {a.patterns, a.dtype, a.pattern_count, a.n}; }
};

// (2 word + 1) / 2^32 - 1, of magnitude below 1.
LK_DEVICE float hopfield_draw(uint32_t word) {
  const float exact = static_cast<float>(static_cast<int64_t>(2 * static_cast<u64>(word) + 1) - (1ll << 32)) * 0x1p-32f;
  return fminf(fmaxf(exact, -0x1.fffffep-1f), 0x1.fffffep-1f);
}

LK_DEVICE void hopfield_diagonal(const lk_hopfield_step_args& args) {
  const Hopfield net(args);
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < net.a.n; i += step) {
    double sum = 0.0;
    for (u64 p = 0; p < net.a.pattern_count; ++p) {
      const double x = load1(net.a.patterns, net.a.dtype, p * net.a.n + i);
      sum += x * x;
    }
    net.diagonal[i] = static_cast<float>(sum);
  }
}

// A thread reads a spin before it writes it: next_state may lie over the states.
LK_DEVICE void hopfield_update(const lk_hopfield_step_args& args) {
  const Hopfield net(args);
  const lk_hopfield_update_args& a = net.a;
  const Philox philox = {a.opts.seed, a.opts.offset};
  const double slope = a.opts.beta / static_cast<double>(a.n);
  field_tiles(net.overlaps, a.batch, net.patterns(), [&](u64 b, u64 i, float h) {
    const u64 e = (net.first + b) * a.n + i;
    const float spin = load1(a.state, a.dtype, e);
    if (a.opts.zero_diagonal) h = __fsub_rn(h, __fmul_rn(spin, net.diagonal[i]));
    float next;
    if (h != h) {
      next = h;
    } else if (slope == 0.0) {
      next = h > 0.0f ? 1.0f : h < 0.0f ? -1.0f : spin;
    } else {
      const float draw = a.draws ? a.draws[e] : hopfield_draw(philox.word(e));
      const float sum = tanhf(static_cast<float>(slope) * h) + draw;
      bool up = sum >= 0.0f;
      // Closer to 0 the sign is looked at in f64.
      if (fabsf(sum) <= 1e-6f) up = tanh(slope * h) + draw >= 0.0;
      next = up ? 1.0f : -1.0f;
    }
    store1(a.next_state, a.dtype, e, next);
  });
}

}  // namespace lk
