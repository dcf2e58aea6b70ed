// l = H(softmax(z)) on rows where softmax(z)_m - softmax(w)_m >= threshold, m the class of w's largest logit;
// dz_k = -s p_k (log p_k + H). Two kernels: the mean's gradient needs the number of selected rows.
#pragma once
#include "losskit_args/open_set_entropy_minimization.h"
#include "../skeletons/row_sets.cuh"
#include "../skeletons/softmax_entropy.cuh"

namespace lk {

// What the first leaves for the second after the header: the losses, 1 for each selected row, and the statistics.
// As src/losses has it.
struct OpenSetFound {
  float *losses, *flags, *statistics;
  LK_DEVICE explicit OpenSetFound(const lk_open_set_entropy_minimization_args& a) {
    const u64 bytes = (a.rows * 4 + 255) / 256 * 256;
    unsigned char* workspace = static_cast<unsigned char*>(a.workspace) + kHeaderBytes;
    losses = reinterpret_cast<float*>(workspace);
    flags = reinterpret_cast<float*>(workspace + bytes);
    statistics = reinterpret_cast<float*>(workspace + 2 * bytes);
  }
};

// Rows: adapted, source.
struct OpenSetSelect : RowSetBase<lk_open_set_entropy_minimization_args, 2> {
  struct Acc {
    SoftmaxEntropy::Acc own, source;
    u64 index;  // of the first of the source's largest
    float at_index, pad;
  };
  struct Row {
    SoftmaxEntropy::Row own;
    bool selected;
  };

  const Args& a;
  OpenSetFound found;
  u64 r;

  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.logits : a.source_logits; }
  static LK_DEVICE void* gradient_of(const Args&, int) { return nullptr; }
  // Written by `outputs`: a sum follows in any case.
  static LK_DEVICE float* losses(const Args&) { return nullptr; }

  LK_DEVICE explicit OpenSetSelect(const Args& args) : a(args), found(args), r(0) {}

  LK_DEVICE void begin(u64 sample, u64, const void* const (&)[2]) { r = sample; }
  LK_DEVICE Acc init() const { return {SoftmaxEntropy::empty(), SoftmaxEntropy::empty(), ~u64(0), 0.0f, 0.0f}; }
  // In ascending order of k: equals come later.
  template <int N>
  LK_DEVICE void add_chunk(Acc& acc, const float (&x)[2][N], u64 k) const {
    const float before = acc.source.max;
    SoftmaxEntropy::add(acc.own, x[0]);
    SoftmaxEntropy::add(acc.source, x[1]);
    if (acc.source.max == before) return;
#pragma unroll
    for (int j = N - 1; j >= 0; --j) {
      if (x[1][j] != acc.source.max) continue;
      acc.index = k + j;
      acc.at_index = x[0][j];
    }
  }
  LK_DEVICE float max(const Acc& acc, int i) const { return i == 0 ? acc.own.max : acc.source.max; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[2]) const {
    if (acc.source.max != m[1]) acc.index = ~u64(0);
    SoftmaxEntropy::rebase(acc.own, m[0]);
    SoftmaxEntropy::rebase(acc.source, m[1]);
  }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const {
    const Acc& first = p.index <= q.index ? p : q;
    return {SoftmaxEntropy::merge(p.own, q.own), SoftmaxEntropy::merge(p.source, q.source), first.index, first.at_index, 0.0f};
  }
  LK_DEVICE Row finish(const Acc& acc) const {
    const SoftmaxEntropy::Row own = SoftmaxEntropy::finish(acc.own), source = SoftmaxEntropy::finish(acc.source);
    const double rise = exp(static_cast<double>(acc.at_index) - own.max) * own.inverse - source.inverse;
    // A row with a NaN is selected, so that it shows.
    if (rise != rise) return {SoftmaxEntropy::complete(own.max, quiet_nan(), own.cross), true};
    return {own, rise >= a.opts.threshold};
  }
  LK_DEVICE float loss(const Row&) const { return 0.0f; }
  LK_DEVICE void outputs(const Row& row) const {
    SoftmaxEntropy::save(row.own, found.statistics + SoftmaxEntropy::kSaved * r);
    found.flags[r] = row.selected ? 1.0f : 0.0f;
    if (a.selected) a.selected[r] = row.selected;
    const float loss = row.selected ? row.own.entropy : 0.0f;
    found.losses[r] = loss;
    if (a.loss && a.opts.reduction == LK_REDUCTION_NONE) a.loss[r] = loss;
  }
  LK_DEVICE void scale(Row&, float) const {}
  LK_DEVICE void gradient(const Row&, const float (&)[2], float (&)[2], u64) const {}
};

LK_DEVICE void open_set_gradient(const lk_open_set_entropy_minimization_args& a) {
  const double* header = static_cast<const double*>(a.workspace);
  const OpenSetFound found(a);
  for (u64 r = u64(blockIdx.x) * blockDim.y + threadIdx.y; r < a.rows; r += u64(gridDim.x) * blockDim.y) {
    const bool selected = found.flags[r] != 0.0f;
    const SoftmaxEntropy::Row row = SoftmaxEntropy::restore(found.statistics + SoftmaxEntropy::kSaved * r);
    const float weight = upstream(a, header, r) * row.inverse;
    const void* z = at(a.logits, a.dtype, r * a.classes);
    void* g = at(a.grad_logits, a.dtype, r * a.classes);
    sweep_to(g, z, a.dtype, a.classes, [&](auto& x, u64) {
#pragma unroll
      for (float& e : x) {
        float u;
        const float p = weight * SoftmaxEntropy::exponential(row, e, u);
        e = selected ? p * (row.mean - u) : 0.0f;
      }
    });
  }
}

}  // namespace lk
