// l = mean of -log p_y over what is to be forgotten + weight x that over what is retained; both sides' rows one after
// the other, each with its share of the sum.
#pragma once
#include "losskit_args/unlearning_cross_entropy.h"
#include "../skeletons/label_softmax.cuh"

namespace lk {

struct UnlearningRow {
  const void* z;
  void* g;
  int64_t label;
  double share;
  LK_DEVICE UnlearningRow(const lk_unlearning_cross_entropy_args& a, u64 r) {
    const bool forget = r < a.n;
    const u64 row = forget ? r : r - a.n;
    z = at(forget ? a.forget_logits : a.retain_logits, a.dtype, row * a.classes);
    void* gradient = forget ? a.grad_forget_logits : a.grad_retain_logits;
    g = gradient ? at(gradient, a.dtype, row * a.classes) : nullptr;
    label = (forget ? a.random_labels : a.retain_labels)[row];
    share = forget ? 1.0 / static_cast<double>(a.n) : a.opts.retain_weight / static_cast<double>(a.m);
  }
};

LK_DEVICE void unlearning_cross_entropy(const lk_unlearning_cross_entropy_args& a) {
  __shared__ LabelSoftmax::Acc scratch[32];
  __shared__ float maxima[32];
  const u64 rows = a.n + a.m;
  float* losses = reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + kHeaderBytes);
  const bool forward = a.pass != kPassBackward && a.loss, backward = a.pass != kPassForward;
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < rows;
    const UnlearningRow at_row(a, present ? r : 0);
    const bool valid = present && at_row.label >= 0 && static_cast<u64>(at_row.label) < a.classes;
    const u64 y = valid ? static_cast<u64>(at_row.label) : 0;
    const float z_label = load1(at_row.z, a.dtype, y);

    LabelSoftmax::Acc acc = LabelSoftmax::empty();
    if (valid) sweep(at_row.z, a.dtype, a.classes, [&](auto& x, u64 k) { LabelSoftmax::add(acc, x, k, y); });
    const float max = reduce_group(acc.max, -infinity(), maxima, [](float p, float q) { return fmaxf(p, q); });
    LabelSoftmax::rebase(acc, fmaxf(max, z_label));
    acc = reduce_group(acc, LabelSoftmax::empty(), scratch,
                       [](const LabelSoftmax::Acc& p, const LabelSoftmax::Acc& q) { return LabelSoftmax::merge(p, q); });
    // All have read the label's element and the scratch before somebody writes again.
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (!present) continue;
    const LabelSoftmax::Row row = LabelSoftmax::finish(acc, z_label);

    if (threadIdx.x == 0) {
      if (forward) losses[r] = !valid ? quiet_nan() : at_row.share > 0.0 ? static_cast<float>(at_row.share * row.nll) : 0.0f;
      if (!valid) atomicOr(a.device_flags, kFlagLabel);
    }
    if (!backward || !at_row.g) continue;
    const double upstream = (a.grad_loss ? *a.grad_loss : 1.0f) * at_row.share;
    const float slope = static_cast<float>(upstream / row.sum) + row.poison;
    const float at_label = static_cast<float>(-upstream * row.rest / row.sum) + row.poison;
    const bool vector = ((reinterpret_cast<uintptr_t>(at_row.g) ^ reinterpret_cast<uintptr_t>(at_row.z)) & 15) == 0;
    sweep(at_row.z, a.dtype, a.classes, [&](auto& x, u64 k) {
      constexpr int N = sizeof(x) / sizeof(float);
      const int own = position<N>(k, y);
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] = !valid ? 0.0f : j == own ? at_label : slope * exp_difference(x[j], row.max);
      store(at_row.g, a.dtype, k, vector, x);
    });
  }
}

}  // namespace lk
