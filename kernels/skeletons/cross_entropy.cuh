// l = (1-eps) w_y (lse - z_y) + (eps/C) sum_k w_k (lse - z_k) + lambda lse^2, z after an optional softcap;
// dz_k = s (Q p_k - q_k + 2 lambda lse p_k) (1 - (z_k/c)^2), q_k = (eps/C) w_k + (1-eps) w_y delta_ky.
#pragma once
#include "label_softmax.cuh"
#include "../softcap.cuh"

namespace lk {

struct CrossEntropy {
  static constexpr int kSaved = LabelSoftmax::kSaved;
  static constexpr bool kRelative = true;

  // For label smoothing the sums of w_k (max - z_k), no term of which is negative, and of w_k; k != y.
  template <class Softmax>
  struct AccOf {
    Softmax softmax;
    float gap, weight;
  };
  using Acc = AccOf<LabelSoftmax::Acc>;
  using Running = AccOf<LabelSoftmax::Running>;
  struct Row {
    LabelSoftmax::Row softmax;
    float gap;                            // over all classes
    float from, slope, smoothing, gradient_at;  // gradient: slope exp(z_k - from) - smoothing w_k, and the label's own
  };

  const void* class_weights;
  int dtype;
  float keep, smooth, penalty, cap;  // 1-eps, eps/C, lambda, c
  float weight_sum, w_label;
  float z_label, z_rest, label_slope;  // after the cap
  u64 label;

  LK_DEVICE CrossEntropy(const void* weights, int weights_dtype, u64 classes, double label_smoothing, double z_weight,
                         double softcap, const double* header)
      : class_weights(weights), dtype(weights_dtype), keep(static_cast<float>(1.0 - label_smoothing)),
        smooth(static_cast<float>(label_smoothing / static_cast<double>(classes))), penalty(static_cast<float>(z_weight)),
        cap(static_cast<float>(softcap)), weight_sum(static_cast<float>(classes)), w_label(1), z_label(-infinity()),
        z_rest(0), label_slope(1), label(0) {
    if (smooth > 0.0f && class_weights) weight_sum = static_cast<float>(header[kHeaderWeightSum]);
  }

  LK_DEVICE float weight(u64 k) const { return class_weights ? load1(class_weights, dtype, k) : 1.0f; }

  LK_DEVICE void begin(const void* z, u64 y) { begin(load1(z, dtype, y), y); }

  LK_DEVICE void begin(float logit_of_label, u64 y) {
    label = y;
    z_label = logit_of_label;
    if (cap > 0.0f) {
      const Capped capped = soft_cap(z_label, cap);
      z_label = capped.hi;
      z_rest = capped.lo;
      label_slope = capped.slope;
    }
    w_label = weight(y);
  }

  LK_DEVICE Acc init() const { return {LabelSoftmax::empty(), 0.0f, 0.0f}; }

  template <class A, int N>
  LK_DEVICE void add(A& acc, float (&x)[N], u64 k) const {
    if (cap > 0.0f) With<true>{*this}.add(acc, x, k); else With<false>{*this}.add(acc, x, k);
  }

  // kCap: there may be a cap.
  template <bool kCap, bool kSmooth = true>
  struct With {
    static constexpr bool kChunks = !kCap;
    const CrossEntropy& loss;

    template <class A, int N>
    LK_DEVICE void add(A& acc, float (&x)[N], u64 k) const {
      const float before = acc.softmax.max;
      if constexpr (kCap) {
        float rest[N];
#pragma unroll
        for (int j = 0; j < N; ++j) {
          const Capped capped = soft_cap(x[j], loss.cap);
          x[j] = capped.hi;
          rest[j] = capped.lo;
        }
        LabelSoftmax::add(acc.softmax, x, k, loss.label, rest);
        if (loss.smooth > 0.0f) loss.add_gaps(acc, x, k, before, rest);
      } else {
        LabelSoftmax::add(acc.softmax, x, k, loss.label);
        if (kSmooth && loss.smooth > 0.0f) loss.add_gaps(acc, x, k, before, nullptr);
      }
    }
    LK_DEVICE float gradient(const Row& row, float z, u64 k) const {
      float g, slope = 1.0f;
      if constexpr (kCap) {
        const Capped x = soft_cap(z, loss.cap);
        g = row.slope * exp_from_whole(x.hi, row.from, x.lo);
        slope = x.slope;
      } else {
        g = row.slope * exp_from_whole(z, row.from);
      }
      if (kSmooth && loss.smooth > 0.0f) g = fmaf(-row.smoothing, loss.weight(k), g);
      return kCap ? g * slope : g;
    }
  };
  template <class F>
  LK_DEVICE void with_options(F f) const {
    if (cap > 0.0f) f(With<true>{*this});
    else if (smooth > 0.0f) f(With<false>{*this});
    else f(With<false, false>{*this});
  }

  // A weight of 0 leaves its class out, so that it may have -inf.
  template <class A, int N>
  LK_DEVICE void add_gaps(A& acc, const float (&x)[N], u64 k, float before, const float* rest) const {
    const float max = acc.softmax.max;
    const int own = position<N>(k, label);
    if (acc.weight > 0.0f && max != before) acc.gap = fmaf(acc.weight, max - before, acc.gap);
    float gaps = 0.0f, weights = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float w = j == own ? 0.0f : weight(k + j);
      if (w == 0.0f) continue;
      gaps = fmaf(w, x[j] == -infinity() ? infinity() : rest ? (max - x[j]) - rest[j] : max - x[j], gaps);
      weights += w;
    }
    acc.gap += gaps;
    acc.weight += weights;
  }

  template <class A>
  LK_DEVICE float max(const A& acc) const { return acc.softmax.max; }
  template <class A>
  LK_DEVICE void rebase(A& acc, float max) const {
    max = fmaxf(max, z_label);
    if (acc.weight > 0.0f && max != acc.softmax.max) {
      acc.gap = fmaf(acc.weight, max - acc.softmax.max, acc.gap);
    }
    LabelSoftmax::rebase(acc.softmax, max);
  }
  template <class A>
  LK_DEVICE A merge(const A& p, const A& q) const {
    return {LabelSoftmax::merge(p.softmax, q.softmax), p.gap + q.gap, p.weight + q.weight};
  }

  template <class A>
  LK_DEVICE Row finish(const A& acc) const {
    Row row;
    row.softmax = LabelSoftmax::finish(acc.softmax, z_label, z_rest);
    row.gap = w_label > 0.0f ? fmaf(w_label, (row.softmax.max - z_label) - z_rest, acc.gap) : acc.gap;
    return row;
  }

  LK_DEVICE void save(const Row& row, float* saved) const { LabelSoftmax::save(row.softmax, saved); }
  LK_DEVICE Row restore(const float* saved) const {
    Row row;
    row.softmax = LabelSoftmax::restore(saved, z_label, z_rest);
    row.gap = 0.0f;
    return row;
  }

  // From the maximum and the sum of the others alone.
  LK_DEVICE Row restored(float max, float rest) const {
    const float at_label = exp_difference(z_label, LabelSoftmax::reference(max), z_rest);
    return {LabelSoftmax::complete(max, rest, at_label, z_label, z_rest), 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
  }

  LK_DEVICE float loss(const Row& row) const {
    const float own = keep * w_label, lse = row.softmax.max + row.softmax.log_sum;
    float l = row.softmax.poison;
    if (own > 0.0f) l = fmaf(own, row.softmax.nll, l);
    if (smooth > 0.0f) l = fmaf(smooth, fmaf(weight_sum, row.softmax.log_sum, row.gap), l);
    if (penalty > 0.0f) l = fmaf(penalty * lse, lse, l);
    return l;
  }

  LK_DEVICE void scale(Row& row, float s) const {
    const LabelSoftmax::Row& m = row.softmax;
    const float own = keep * w_label, lse_slope = 2.0f * penalty * (m.max + m.log_sum);
    const float p_label = m.at_label / m.sum;
    row.from = m.from();
    const float slope = s * (fmaf(smooth, weight_sum, own) + (penalty > 0.0f ? lse_slope : 0.0f));
    row.slope = static_cast<float>(m.shift() * slope / m.sum) + m.poison;
    row.smoothing = s * smooth;
    float g = -own * (m.rest / m.sum) + m.poison;
    if (smooth > 0.0f) g += smooth * fmaf(weight_sum, p_label, -w_label);
    if (penalty > 0.0f) g = fmaf(lse_slope, p_label, g);
    row.gradient_at = s * g * label_slope;
  }

  // What no element of the gradient of a row is beyond.
  LK_DEVICE float bound(const Row& row, float s) const {
    const float lse = row.softmax.max + row.softmax.log_sum;
    return fabsf(s) * (fmaf(smooth, weight_sum, keep * w_label) + 2.0f * penalty * fabsf(lse));
  }

  LK_DEVICE float gradient(const Row& row, float z, u64 k, bool is_label) const {
    if (is_label) return row.gradient_at;
    return cap > 0.0f ? With<true>{*this}.gradient(row, z, k) : With<false>{*this}.gradient(row, z, k);
  }
};

}  // namespace lk
