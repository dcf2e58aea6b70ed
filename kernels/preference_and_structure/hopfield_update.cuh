// n h = sum_p (s . x_p) x_p - s sum_p x_p^2, and its sign, or that of tanh(beta h) plus a draw.
#pragma once
#include "losskit_args/hopfield_update.h"
#include "../philox.cuh"
#include "../skeletons/overlaps.cuh"

// Mirrored by src/losses.
struct lk_hopfield_step_args {
  lk_hopfield_update_args call;
  lk_overlaps overlaps;
  float* diagonal;         // sum_p x_p^2
  uint64_t first;          // state that those of the overlaps begin with
  uint64_t settled;        // blocks of hopfield_settle that settle overlaps; the others are at the diagonal
};

namespace lk {

// (2 word + 1) / 2^32 - 1, of magnitude below 1.
LK_DEVICE float hopfield_draw(uint32_t word) {
  const float exact = static_cast<float>(static_cast<int64_t>(2 * static_cast<u64>(word) + 1) - (1ll << 32)) * 0x1p-32f;
  return fminf(fmaxf(exact, -0x1.fffffep-1f), 0x1.fffffep-1f);
}

// Draws e to e + 7.
LK_DEVICE void hopfield_draws(const Philox& philox, u64 e, float (&draws)[8]) {
  uint32_t words[12] = {};
#pragma unroll 1
  for (int n = 0; n < (e % 4 == 0 ? 2 : 3); ++n) {
    // The blocks pass through, the first to the front.
    const PhiloxBlock block = philox.block(e / 4 + n);
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      words[w] = n == 0 ? block.w[w] : words[w];
      words[4 + w] = n == 1 ? block.w[w] : words[4 + w];
      words[8 + w] = block.w[w];
    }
  }
#pragma unroll
  for (int w = 0; w < 11; ++w) words[w] = e & 1 ? words[w + 1] : words[w];
#pragma unroll
  for (int w = 0; w < 8; ++w) draws[w] = hopfield_draw(e & 2 ? words[w + 2] : words[w]);
}

// A block for each state's overlaps, or for 32 neurons of the diagonal by 8 shares of the patterns.
LK_DEVICE void hopfield_settle(const lk_hopfield_step_args& args) {
  __shared__ float largest[32];
  __shared__ double sums[8][32];
  const lk_hopfield_update_args& a = args.call;
  if (blockIdx.x < args.settled) {
    settle_overlaps(args.overlaps, blockIdx.x, largest);
    return;
  }
  const u64 i = (blockIdx.x - args.settled) * 32 + threadIdx.x % 32;
  const unsigned share = threadIdx.x / 32;
  double sum = 0.0;
  if (i < a.n) {
#pragma unroll 8
    for (u64 p = share; p < a.pattern_count; p += 8) {
      const double x = load1(a.patterns, a.dtype, p * a.n + i);
      sum += x * x;
    }
  }
  sums[share][threadIdx.x % 32] = sum;
  __syncthreads();
  if (share != 0 || i >= a.n) return;
  for (int n = 1; n < 8; ++n) sum += sums[n][threadIdx.x];
  args.diagonal[i] = static_cast<float>(sum);
}

// Spins from number i of state b on, from their fields. They are read before they are written: next_state may lie over the
// states.
LK_DEVICE void hopfield_spins(const lk_hopfield_step_args& args, u64 b, u64 i, int left, float (&h)[8]) {
  const lk_hopfield_update_args& a = args.call;
  const double slope = a.opts.beta / static_cast<double>(a.n);
  const u64 from = (args.first + b) * a.n + i;
  float spin[8];
  get_chunk(a.state, a.dtype, from, left, spin);
  if (a.opts.zero_diagonal) {
    float own[8];
    get_chunk(args.diagonal, LK_DTYPE_F32, i, left, own);
#pragma unroll
    for (int e = 0; e < 8; ++e) h[e] = __fsub_rn(h[e], __fmul_rn(spin[e], own[e]));
  }
  if (slope == 0.0) {
#pragma unroll
    for (int e = 0; e < 8; ++e) h[e] = h[e] != h[e] ? h[e] : h[e] > 0.0f ? 1.0f : h[e] < 0.0f ? -1.0f : spin[e];
  } else {
    float draw[8];
    if (a.draws) {
      get_chunk(a.draws, LK_DTYPE_F32, from, left, draw);
    } else {
      hopfield_draws({a.opts.seed, a.opts.offset}, from, draw);
    }
    // One after another, in a circle: tanh is long.
#pragma unroll 1
    for (int n = 0; n < 8; ++n) {
      float next = h[0];
      if (next == next) {
        const float sum = tanhf(static_cast<float>(slope) * h[0]) + draw[0];
        bool up = sum >= 0.0f;
        // Closer to 0 the sign is looked at in f64.
        if (fabsf(sum) <= 1e-6f) up = tanh(slope * h[0]) + draw[0] >= 0.0;
        next = up ? 1.0f : -1.0f;
      }
#pragma unroll
      for (int e = 0; e < 7; ++e) {
        h[e] = h[e + 1];
        draw[e] = draw[e + 1];
      }
      h[7] = next;
    }
  }
  put_chunk(a.next_state, a.dtype, from, left, h);
}

template <int kDtype>
LK_DEVICE void hopfield_update(const lk_hopfield_step_args& args) {
  field_tile<kDtype>(args.overlaps, [&](u64 b, u64 i, int left, float (&h)[8]) { hopfield_spins(args, b, i, left, h); });
}

LK_DEVICE void hopfield_add_parts(const lk_hopfield_step_args& args) {
  each_field(args.overlaps, [&](u64 b, u64 i, int left, float (&h)[8]) { hopfield_spins(args, b, i, left, h); });
}

}  // namespace lk
