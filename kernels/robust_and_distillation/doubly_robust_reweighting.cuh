// loss = r log sum_i prior_i exp(l_i / r), weights its slopes, about the largest loss and in f64.
#pragma once
#include "losskit_args/doubly_robust_reweighting.h"
#include "../common.cuh"

namespace lk {

using ReweightingArgs = lk_doubly_robust_reweighting_args;

constexpr u64 kReweightingBlocks = 512;

// Sums of prior e, prior (e - 1) and prior, e = exp((l - top) / r).
struct ReweightingSums {
  double terms, less, prior;
};

struct ReweightingRoom {
  double* tops;
  ReweightingSums* sums;
  LK_DEVICE explicit ReweightingRoom(const ReweightingArgs& a)
      : tops(static_cast<double*>(a.workspace)), sums(reinterpret_cast<ReweightingSums*>(tops + kReweightingBlocks)) {}
};

LK_DEVICE double reweighting_max(double x, double y) { return x > y ? x : y; }

LK_DEVICE void reweighting_largest(const ReweightingArgs& a) {
  __shared__ double scratch[32];
  const double lowest = -static_cast<double>(infinity());
  double top = lowest;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    top = reweighting_max(load1(a.losses, a.dtype, i), top);
  }
  top = reduce_group(top, lowest, scratch, reweighting_max);
  if (threadIdx.x == 0) ReweightingRoom(a).tops[blockIdx.x] = top;
}

// What the blocks left, the same in all threads.
LK_DEVICE double reweighting_top(const ReweightingArgs& a) {
  __shared__ double scratch[32];
  const double lowest = -static_cast<double>(infinity());
  double top = lowest;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) top = reweighting_max(ReweightingRoom(a).tops[i], top);
  return reduce_group(top, lowest, scratch, reweighting_max);
}

LK_DEVICE ReweightingSums reweighting_add(const ReweightingSums& x, const ReweightingSums& y) {
  return {x.terms + y.terms, x.less + y.less, x.prior + y.prior};
}

LK_DEVICE void reweighting_sums(const ReweightingArgs& a) {
  __shared__ ReweightingSums scratch[32];
  const double top = reweighting_top(a);
  ReweightingSums sums = {0.0, 0.0, 0.0};
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const double x = (load1(a.losses, a.dtype, i) - top) / a.opts.temperature, p = a.prior ? a.prior[i] : 1.0;
    sums = reweighting_add(sums, {p * exp(x), p * expm1(x), p});
  }
  sums = reduce_group(sums, ReweightingSums{0.0, 0.0, 0.0}, scratch, reweighting_add);
  if (threadIdx.x == 0) ReweightingRoom(a).sums[blockIdx.x] = sums;
}

LK_DEVICE void reweighting(const ReweightingArgs& a) {
  __shared__ ReweightingSums scratch[32];
  const double top = reweighting_top(a);
  ReweightingSums sums = {0.0, 0.0, 0.0};
  for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) sums = reweighting_add(sums, ReweightingRoom(a).sums[i]);
  sums = reduce_group(sums, ReweightingSums{0.0, 0.0, 0.0}, scratch, reweighting_add);
  const bool forward = a.pass != kPassBackward;
  if (forward && a.loss && blockIdx.x == 0 && threadIdx.x == 0) {
    const double mean = sums.terms / sums.prior, log_mean = mean > 0.5 ? log1p(sums.less / sums.prior) : log(mean);
    *a.loss = static_cast<float>(top + a.opts.temperature * log_mean);
  }
  float* weights = forward ? a.weights : nullptr;
  void* gradient = a.pass != kPassForward ? a.grad_losses : nullptr;
  if (!weights && !gradient) return;
  const double g = a.grad_loss ? *a.grad_loss : 1.0;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const double x = (load1(a.losses, a.dtype, i) - top) / a.opts.temperature, p = a.prior ? a.prior[i] : 1.0;
    const double w = p * exp(x) / sums.terms;
    if (weights) weights[i] = static_cast<float>(w);
    if (gradient) store1(gradient, a.dtype, i, static_cast<float>(g * w));
  }
}

}  // namespace lk
