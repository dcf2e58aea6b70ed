// l_bp = |xi_p -+ sigma_b|^2 / (4 n); dsigma_b = sum_p g_bp (sigma_b -+ xi_p) / (2 n). Of differences (sums for plus), so
// that nothing cancels.
#pragma once
#include "losskit_args/hebbian_loss.h"
#include "../common.cuh"

namespace lk {

constexpr int kTile = 64, kDepth = 16, kMicro = 4, kSide = kTile / kMicro, kPitch = kTile + 4;

using HebbianPanel = float[kDepth][kPitch];

// Rows first .. first + 63, neurons k .. k + 15, times `sign`; 0 beyond the end of either.
LK_DEVICE void hebbian_load(HebbianPanel& to, const void* p, int dtype, u64 first, u64 count, u64 k, u64 n, float sign) {
  for (unsigned e = threadIdx.x; e < kTile * kDepth; e += blockDim.x) {
    const u64 row = first + e / kDepth, at = k + e % kDepth;
    to[e % kDepth][e / kDepth] = row < count && at < n ? sign * load1(p, dtype, row * n + at) : 0.0f;
  }
}

// A block takes 64 states and 64 patterns at a time; threads 4 x 4 pairs each.
LK_DEVICE void hebbian_losses(const lk_hebbian_loss_args& a) {
  __shared__ HebbianPanel states, patterns;
  const float sign = a.opts.sign == LK_HEBBIAN_LOSS_SIGN_PLUS ? -1.0f : 1.0f;
  const double scale = 0.25 / static_cast<double>(a.n);
  const unsigned row = threadIdx.x / kSide * kMicro, column = threadIdx.x % kSide * kMicro;
  const u64 across = (a.pattern_count + kTile - 1) / kTile, down = (a.batch + kTile - 1) / kTile;
  for (u64 tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
    const u64 b0 = tile / across * kTile, p0 = tile % across * kTile;
    float sum[kMicro][kMicro] = {};
    for (u64 k = 0; k < a.n; k += kDepth) {
      hebbian_load(states, a.state, a.dtype, b0, a.batch, k, a.n, sign);
      hebbian_load(patterns, a.patterns, a.dtype, p0, a.pattern_count, k, a.n, 1.0f);
      __syncthreads();
      float part[kMicro][kMicro] = {};
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
#pragma unroll
        for (int i = 0; i < kMicro; ++i) {
#pragma unroll
          for (int j = 0; j < kMicro; ++j) {
            const float difference = states[d][row + i] - patterns[d][column + j];
            part[i][j] = fmaf(difference, difference, part[i][j]);
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kMicro; ++i) {
#pragma unroll
        for (int j = 0; j < kMicro; ++j) sum[i][j] += part[i][j];
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const u64 b = b0 + row + i, p = p0 + column + j;
        if (b < a.batch && p < a.pattern_count) a.loss[b * a.pattern_count + p] = static_cast<float>(scale * sum[i][j]);
      }
    }
  }
}

// A block takes 64 states and 64 neurons, and all patterns, 16 at a time. Its own part of the states is read before it
// is written: the gradient may lie over them.
LK_DEVICE void hebbian_gradient(const lk_hebbian_loss_args& a) {
  __shared__ float patterns[kDepth][kPitch], weights[kDepth][kPitch];  // [pattern][neuron], [pattern][state]
  const bool plus = a.opts.sign == LK_HEBBIAN_LOSS_SIGN_PLUS;
  const double scale = 0.5 / static_cast<double>(a.n);
  const unsigned row = threadIdx.x / kSide * kMicro, column = threadIdx.x % kSide * kMicro;
  const u64 across = (a.n + kTile - 1) / kTile, down = (a.batch + kTile - 1) / kTile;
  for (u64 tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
    const u64 b0 = tile / across * kTile, k0 = tile % across * kTile;
    float mine[kMicro][kMicro], sum[kMicro][kMicro] = {};
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const u64 b = b0 + row + i, k = k0 + column + j;
        mine[i][j] = b < a.batch && k < a.n ? load1(a.state, a.dtype, b * a.n + k) : 0.0f;
      }
    }
    for (u64 p0 = 0; p0 < a.pattern_count; p0 += kDepth) {
      for (unsigned e = threadIdx.x; e < kTile * kDepth; e += blockDim.x) {
        const u64 p = p0 + e / kTile, k = k0 + e % kTile;
        const float x = p < a.pattern_count && k < a.n ? load1(a.patterns, a.dtype, p * a.n + k) : 0.0f;
        patterns[e / kTile][e % kTile] = plus ? -x : x;
        const u64 q = p0 + e % kDepth, b = b0 + e / kDepth;
        const bool inside = q < a.pattern_count && b < a.batch;
        weights[e % kDepth][e / kDepth] = !inside ? 0.0f : a.grad_loss ? a.grad_loss[b * a.pattern_count + q] : 1.0f;
      }
      __syncthreads();
      float part[kMicro][kMicro] = {};
#pragma unroll
      for (int p = 0; p < kDepth; ++p) {
#pragma unroll
        for (int i = 0; i < kMicro; ++i) {
#pragma unroll
          for (int j = 0; j < kMicro; ++j) part[i][j] = fmaf(weights[p][row + i], mine[i][j] - patterns[p][column + j], part[i][j]);
        }
      }
#pragma unroll
      for (int i = 0; i < kMicro; ++i) {
#pragma unroll
        for (int j = 0; j < kMicro; ++j) sum[i][j] += part[i][j];
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const u64 b = b0 + row + i, k = k0 + column + j;
        if (b < a.batch && k < a.n) store1(a.grad_state, a.dtype, b * a.n + k, static_cast<float>(scale * sum[i][j]));
      }
    }
  }
}

}  // namespace lk
