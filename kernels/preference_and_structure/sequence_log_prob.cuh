// -log p of each token, and its gradient: the upstream gradient is that of the token's sequence.
#pragma once
#include "losskit_args/sequence_log_prob.h"
#include "../skeletons/label_softmax.cuh"

namespace lk {

// The call as rows_kernel sees rows of logits.
struct SequenceRows {
  struct Options {
    int64_t ignore_index;
    int32_t reduction;
  } opts;
  int32_t dtype, pass;
  u64 rows, classes, logits_stride, sequences;
  const void* logits;
  const int64_t *labels, *segments;
  float* loss;
  float* saved;
  const float* grad_loss;
  void* grad_logits;
  void* workspace;
  const float* divisors;  // NULL = 1
  uint32_t* device_flags;

  // The workspace has the divisors of the sequences (src/cuda/sequences.rs); `workspace` points behind them.
  LK_DEVICE explicit SequenceRows(const lk_sequence_log_prob_args& a)
      : opts{a.opts.ignore_index, LK_REDUCTION_NONE}, dtype(a.dtype), pass(a.pass), rows(a.tokens), classes(a.classes),
        logits_stride(a.logits_stride), sequences(static_cast<u64>(a.opts.sequences)), logits(a.logits), labels(a.labels),
        segments(a.segments), loss(static_cast<float*>(a.workspace)), saved(a.saved), grad_loss(a.grad_loss),
        grad_logits(a.grad_logits), workspace(nullptr), divisors(nullptr), device_flags(a.device_flags) {
    if (a.opts.average) {
      divisors = reinterpret_cast<const float*>(static_cast<const unsigned char*>(a.workspace) - (sequences * 4 + 255) / 256 * 256);
    }
  }
};

LK_DEVICE float upstream(const SequenceRows& a, const double*, u64 r) {
  const int64_t s = a.segments[r];
  if (static_cast<u64>(s) >= a.sequences) {
    atomicOr(a.device_flags, kFlagLabel);
    return 0.0f;
  }
  const float g = a.grad_loss ? a.grad_loss[s] : 1.0f;
  return a.divisors ? -g / a.divisors[s] : -g;
}

struct SequenceLogProb : LabelSoftmax {
  using Args = SequenceRows;
  using Acc = LabelSoftmax::Running;
  static constexpr bool kRelative = true;

  float z_label;
  u64 label;
  int dtype;

  LK_DEVICE SequenceLogProb(const Args& a, const double*) : z_label(0), label(0), dtype(a.dtype) {}

  struct Row : LabelSoftmax::Row {
    float start, slope, at_own;  // gradient: slope exp(z - start), and the label's own
  };
  static LK_DEVICE Row row_of(const LabelSoftmax::Row& m) {
    Row row;
    static_cast<LabelSoftmax::Row&>(row) = m;
    return row;
  }

  LK_DEVICE void begin(const void* z, u64 y) {
    label = y;
    z_label = load1(z, dtype, y);
  }
  LK_DEVICE Acc init() const { return start(); }
  template <int N>
  LK_DEVICE void add(Acc& acc, const float (&x)[N], u64 k) const { LabelSoftmax::add(acc, x, k, label); }
  LK_DEVICE float max(const Acc& acc) const { return acc.max; }
  LK_DEVICE void rebase(Acc& acc, float max) const { LabelSoftmax::rebase(acc, fmaxf(max, z_label)); }
  LK_DEVICE Row finish(const Acc& acc) const { return row_of(LabelSoftmax::finish(acc, z_label)); }
  LK_DEVICE Row restore(const float* saved) const { return row_of(LabelSoftmax::restore(saved, z_label)); }
  LK_DEVICE float loss(const Row& row) const { return row.nll; }
  LK_DEVICE void scale(Row& row, float s) const {
    row.start = row.from();
    row.slope = static_cast<float>(row.shift() * s / row.sum) + row.poison;
    row.at_own = -s * (row.rest / row.sum) + row.poison;
  }
  LK_DEVICE float gradient(const Row& row, float z, u64, bool is_label) const {
    return is_label ? row.at_own : row.slope * exp_from_whole(z, row.start);
  }
};

}  // namespace lk
