// l_i = -w_i m_i, m_i = target_i score_i; dscore_i = -s w_i target_i. The largest of the transformed draws x go to the
// smallest margins; w = x / max(m, 1) + 1e-6.
#pragma once
#include "losskit_args/ensloss.h"
#include "../philox.cuh"
#include "../skeletons/elements.cuh"
#include "../skeletons/sort.cuh"

namespace lk {

// As src/losses has it: w, pairs of draws, pairs of margins, partial sums.
struct EnsLossPlaces {
  float* w;
  u64 *draws, *margins, padded;
  double* partials;
  LK_DEVICE explicit EnsLossPlaces(const lk_ensloss_args& a) : padded(kSortLeast) {
    while (padded < a.n) padded *= 2;
    unsigned char* p = static_cast<unsigned char*>(a.workspace);
    w = reinterpret_cast<float*>(p);
    draws = reinterpret_cast<u64*>(p + (a.n * 4 + 255) / 256 * 256);
    margins = draws + padded;
    partials = reinterpret_cast<double*>(margins + padded);
  }
};

// Inverse Box-Cox transformation, at most 1; a NaN stays.
LK_DEVICE float ensloss_transform(float draw, double lambda) {
  double x;
  if (lambda == 0.0) {
    x = exp(static_cast<double>(draw));
  } else {
    const double inside = lambda * draw;
    // At and beyond the boundary 0 or infinity.
    x = exp((inside <= -1.0 ? -static_cast<double>(infinity()) : log1p(inside)) / lambda);
  }
  return x > 1.0 ? 1.0f : static_cast<float>(x);
}

LK_DEVICE float ensloss_margin(const lk_ensloss_args& a, u64 i) {
  return __fmul_rn(load1(a.target, a.dtype, i), load1(a.scores, a.dtype, i));
}

LK_DEVICE void ensloss_keys(const lk_ensloss_args& a) {
  const EnsLossPlaces places(a);
  const Philox from = {a.opts.seed, a.opts.offset};
  const u64 step = u64(gridDim.x) * blockDim.x;
  // Four at a time: the draws of a counter block.
  for (u64 j = u64(blockIdx.x) * blockDim.x + threadIdx.x; j < places.padded / 4; j += step) {
    float draw[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (!a.draws && 4 * j < a.n) {
      const PhiloxBlock block = from.block(j);
      philox_normals(block.w[0], block.w[1], draw[0], draw[1]);
      philox_normals(block.w[2], block.w[3], draw[2], draw[3]);
    }
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const u64 i = 4 * j + v;
      if (i >= a.n) {
        places.draws[i] = places.margins[i] = kSortPadding;
        continue;
      }
      const float x = ensloss_transform(a.draws ? a.draws[i] : draw[v], a.opts.box_cox);
      places.draws[i] = sort_pair(~order_key(x), i);
      places.margins[i] = sort_pair(order_key(ensloss_margin(a, i)), i);
    }
  }
}

LK_DEVICE void ensloss_match(const lk_ensloss_args& a) {
  const EnsLossPlaces places(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 j = u64(blockIdx.x) * blockDim.x + threadIdx.x; j < a.n; j += step) {
    const u64 i = sort_place(places.margins[j]);
    const float x = order_value(~sort_key(places.draws[j])), m = ensloss_margin(a, i);
    places.w[i] = (m > 1.0f ? x / m : x) + 1e-6f;
  }
}

LK_DEVICE void ensloss(const lk_ensloss_args& a) {
  __shared__ double scratch[32];
  const EnsLossPlaces places(a);
  const bool none = a.opts.reduction == LK_REDUCTION_NONE, mean = a.opts.reduction == LK_REDUCTION_MEAN;
  const bool forward = a.pass != kPassBackward, backward = a.pass != kPassForward && a.grad_scores;
  const float* w_of = a.pass == kPassBackward && a.saved ? a.saved : places.w;
  const double count = static_cast<double>(a.n);
  const float scale = static_cast<float>((backward && !none && a.grad_loss ? *a.grad_loss : 1.0f) / (mean ? count : 1.0));
  const u64 step = u64(gridDim.x) * blockDim.x;
  double sum = 0.0;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const float w = w_of[i], target = load1(a.target, a.dtype, i);
    const float loss = -(w * __fmul_rn(target, load1(a.scores, a.dtype, i)));
    if (forward) {
      if (a.slopes) a.slopes[i] = -w;
      if (a.pass == kPassForward && a.saved) a.saved[i] = w;
      if (a.loss && none) a.loss[i] = loss;
      sum += loss;
    }
    if (backward) store1(a.grad_scores, a.dtype, i, -(none && a.grad_loss ? a.grad_loss[i] : scale) * w * target);
  }
  if (!forward || !a.loss || none) return;
  sum = reduce_group(sum, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) {
    *a.loss = static_cast<float>(sum / (mean ? count : 1.0));
  } else {
    places.partials[2 * u64(blockIdx.x)] = sum;
    places.partials[2 * u64(blockIdx.x) + 1] = 0.0;
  }
}

}  // namespace lk
