// l = (p_m - [m = y])^2, p = softmax(z / T), m the largest logit's class; with D = 2 s (p_m - [m = y]):
// dz_k = D p_m (delta_km - p_k) / T, dT = D p_m (mean of x) / T, x = (z - z_m) / T.
#pragma once
#include "losskit_args/correctness_aware_calibration.h"
#include "../skeletons/row_sets.cuh"
#include "../skeletons/softmax_entropy.cuh"

namespace lk {

struct CorrectnessAwareCalibration : RowSetBase<lk_correctness_aware_calibration_args, 1> {
  static constexpr bool kIgnores = true;

  struct Acc {
    SoftmaxEntropy::Acc softmax;
    u64 index;  // of the first of the largest
  };
  struct Row {
    SoftmaxEntropy::Row softmax;
    u64 index;
    float error, slope;
  };

  const Args& a;
  float temperature;
  Scaled scaled;  // by its inverse
  u64 r, y;

  static LK_DEVICE const void* input(const Args& a, int) { return a.logits; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_logits; }
  static LK_DEVICE int64_t label(const Args& a, u64 r) { return a.labels[r]; }

  LK_DEVICE explicit CorrectnessAwareCalibration(const Args& args) : a(args), temperature(1), scaled(1.0f), r(0), y(0) {}

  LK_DEVICE void begin(u64 sample, u64 label, const void* const (&)[1]) {
    r = sample;
    y = label;
    temperature = load1(a.temperatures, a.dtype, sample);
    const float inverse = 1.0f / temperature;
    scaled = Scaled(inverse, static_cast<float>(1.0 / temperature - inverse));
  }
  LK_DEVICE Acc init() const { return {SoftmaxEntropy::empty(), ~u64(0)}; }
  // In ascending order of k: equals come later.
  template <int N>
  LK_DEVICE void add_chunk(Acc& acc, const float (&x)[1][N], u64 k) const {
    const float before = acc.softmax.max;
    SoftmaxEntropy::add(acc.softmax, x[0], scaled);
    if (acc.softmax.max == before) return;
#pragma unroll
    for (int j = N - 1; j >= 0; --j) {
      if (x[0][j] == acc.softmax.max) acc.index = k + j;
    }
  }
  LK_DEVICE float max(const Acc& acc, int) const { return acc.softmax.max; }
  LK_DEVICE void rebase(Acc& acc, const float (&m)[1]) const {
    if (acc.softmax.max != m[0]) acc.index = ~u64(0);
    SoftmaxEntropy::rebase(acc.softmax, m[0], scaled);
  }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const {
    return {SoftmaxEntropy::merge(p.softmax, q.softmax), p.index < q.index ? p.index : q.index};
  }
  LK_DEVICE Row finish(const Acc& acc) const {
    const SoftmaxEntropy::Row m = SoftmaxEntropy::finish(acc.softmax);
    return {m, acc.index, acc.index == y ? -m.others : m.inverse, 0.0f};
  }
  LK_DEVICE float loss(const Row& row) const { return row.error * row.error; }
  LK_DEVICE void outputs(const Row& row) const {
    if (a.confidence) a.confidence[r] = row.softmax.inverse;
    if (a.correct) a.correct[r] = row.index == y;
  }
  LK_DEVICE void scale(Row& row, float s) const {
    row.slope = static_cast<float>(2.0 * s * row.error * row.softmax.inverse / temperature);
  }
  LK_DEVICE void gradients(const Row& row) const {
    if (a.grad_temperatures) store1(a.grad_temperatures, a.dtype, r, row.slope * row.softmax.mean);
  }
  LK_DEVICE void gradient(const Row& row, const float (&x)[1], float (&g)[1], u64 k) const {
    float unused;
    const float p = row.softmax.inverse * SoftmaxEntropy::exponential(row.softmax, x[0], unused, scaled);
    g[0] = row.slope * (k == row.index ? row.softmax.others : -p);
  }
  LK_DEVICE void clear(u64 sample) const {
    if (a.pass != kPassBackward) {
      if (a.confidence) a.confidence[sample] = 0.0f;
      if (a.correct) a.correct[sample] = 0;
    }
    if (a.pass != kPassForward && a.grad_temperatures) store1(a.grad_temperatures, a.dtype, sample, 0.0f);
  }
};

}  // namespace lk
