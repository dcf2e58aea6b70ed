// l = mean (f - t)^2 over what is to be forgotten + weight x that over what is retained.
#pragma once
#include "losskit_args/unlearning_mse.h"
#include "../skeletons/elements.cuh"

namespace lk {

struct UnlearningSide {
  const void *pred, *target;
  void* gradient;
  int dtype;
  float slope;
  bool sums;

  // Elements i .. i+N-1: everything is read before anything is written.
  template <int N>
  LK_DEVICE float run(u64 i) const {
    float x[N], t[N], sum = 0.0f;
    load(Operand{pred, 0, 0.0f}, dtype, i, x);
    load(Operand{target, 0, 0.0f}, dtype, i, t);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float d = x[j] - t[j];
      if (sums) sum += d * d;
      x[j] = slope * d;
    }
    if (gradient) put(gradient, dtype, i, x);
    return sum;
  }

  LK_DEVICE double all(u64 n) const {
    double sum = 0.0;
    each_chunk(n, [&](auto width, u64 i) { sum += run<decltype(width)::N>(i); });
    return sum;
  }
};

LK_DEVICE void unlearning_mse(const lk_unlearning_mse_args& a) {
  __shared__ double scratch[32];
  const bool forward = a.pass != kPassBackward && a.loss, backward = a.pass != kPassForward;
  const double upstream = backward && a.grad_loss ? *a.grad_loss : 1.0, weight = a.opts.retain_weight;
  double sum = 0.0;
  if (a.n > 0) {
    const double share = 1.0 / static_cast<double>(a.n);
    const UnlearningSide forget = {a.forget_pred, a.mismatched_target, backward ? a.grad_forget_pred : nullptr, a.dtype,
                                   static_cast<float>(2.0 * upstream * share), forward};
    sum += share * forget.all(a.n);
  }
  if (a.m > 0) {
    const double share = weight / static_cast<double>(a.m);
    const UnlearningSide retain = {a.retain_pred, a.retain_target, backward ? a.grad_retain_pred : nullptr, a.dtype,
                                   static_cast<float>(2.0 * upstream * share), forward && weight > 0.0};
    sum += share * retain.all(a.m);
  }
  if (!forward) return;
  sum = reduce_group(sum, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) {
    *a.loss = static_cast<float>(sum);
  } else {
    double* partials = static_cast<double*>(a.workspace) + 2 * u64(blockIdx.x);
    partials[0] = sum;
    partials[1] = 0.0;
  }
}

}  // namespace lk
