// l = -log p_y, p = softmax of the mean logits, dz^m = s (p - e_y) / models; or l = -log mean_m p^m_y,
// dz^m = s h_m (p^m - e_y), h_m = p^m_y / sum p_y.
#pragma once
#include "losskit_args/ensemble_cross_entropy.h"
#include "../skeletons/label_softmax.cuh"

namespace lk {

struct EnsembleRow {
  const lk_ensemble_cross_entropy_args& a;
  u64 r, y;
  bool valid;
  float s;  // upstream gradient

  LK_DEVICE const void* logits(u64 m) const { return at(a.logits, a.dtype, (m * a.rows + r) * a.classes); }
  LK_DEVICE void* gradient(u64 m) const { return at(a.grad_logits, a.dtype, (m * a.rows + r) * a.classes); }
  LK_DEVICE void barrier() const {
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
  }
};

// A class with its mean logit.
struct EnsembleBest {
  float value, pad;
  u64 index;
};

struct EnsembleOfLogits : EnsembleRow {
  // f(x, k): means over models of z_k - z_about for chunks of classes. What models add to all logits does not blur
  // the differences.
  template <class F>
  LK_DEVICE void means(u64 about, F f) const {
    const bool vector = a.rows * a.classes * element_size(a.dtype) % 16 == 0;  // all models' rows lie alike
    const auto of_about = [&](const void* z) { return about < a.classes ? load1(z, a.dtype, about) : 0.0f; };
    sweep(logits(0), a.dtype, a.classes, [&](auto& x, u64 k) {
      constexpr int N = sizeof(x) / sizeof(float);
      const float first = of_about(logits(0));
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] -= first;
      for (u64 m = 1; m < a.models; ++m) {
        const void* z = logits(m);
        const float other = of_about(z);
        float more[N];
        if constexpr (N == kChunk) {
          if (vector) load8(z, a.dtype, k, more);
        }
        if (N != kChunk || !vector) {
#pragma unroll
          for (int j = 0; j < N; ++j) more[j] = load1(z, a.dtype, k + j);
        }
#pragma unroll
        for (int j = 0; j < N; ++j) x[j] += more[j] - other;
      }
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] /= static_cast<float>(a.models);
      f(x, k);
    });
  }

  LK_DEVICE float run(bool backward, EnsembleBest* best_scratch, float* sum_scratch) const {
    // The largest other class, as far as rounding can tell: sums are relative to it.
    EnsembleBest best = {-infinity(), 0.0f, a.classes};
    if (valid) {
      means(a.classes, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          if (k + j != y && x[j] > best.value) best = {x[j], 0.0f, k + j};
        }
      });
    }
    best = reduce_group(best, EnsembleBest{-infinity(), 0.0f, a.classes}, best_scratch, [](const EnsembleBest& p, const EnsembleBest& q) {
      return q.value > p.value || (q.value == p.value && q.index < p.index) ? q : p;
    });
    barrier();
    float rest = 0.0f;
    if (valid) {
      means(best.index, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
        const int own = position<N>(k, y);
#pragma unroll
        for (int j = 0; j < N; ++j) rest += j == own ? 0.0f : exp_difference(x[j], 0.0f);
      });
    }
    rest = reduce_group(rest, 0.0f, sum_scratch, [](float p, float q) { return p + q; });
    barrier();
    if (!valid) return quiet_nan();
    double lead = 0.0;
    for (u64 m = 0; m < a.models; ++m) {
      lead += static_cast<double>(load1(logits(m), a.dtype, y)) - (best.index < a.classes ? load1(logits(m), a.dtype, best.index) : 0.0f);
    }
    lead /= static_cast<double>(a.models);
    if (lead == infinity()) rest = quiet_nan();
    if (best.index == a.classes) {
      // No other class has a finite mean.
      if (lead - lead != 0.0 || !(rest < infinity())) rest = quiet_nan();
      else rest = 0.0f;
      lead = 0.0;
    }
    const double decay = exp(-fabs(lead)), own = lead > 0.0 ? 1.0 : decay, unit = lead > 0.0 ? decay : 1.0;
    const double total = own + rest * unit;
    const double nll = lead > 0.0 ? log1p(rest * decay) : -lead + log(rest + decay);
    if (backward) {
      const double scale = s / static_cast<double>(a.models);
      const float weight = static_cast<float>(scale * unit / total), at_label = static_cast<float>(-scale * rest * unit / total);
      means(best.index, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
        const int own = position<N>(k, y);
#pragma unroll
        for (int j = 0; j < N; ++j) x[j] = j == own ? at_label : weight * exp_difference(x[j], 0.0f);
        for (u64 m = 0; m < a.models; ++m) store(gradient(m), a.dtype, k, aligned16(at(gradient(m), a.dtype, k)), x);
      });
    }
    return static_cast<float>(nll);
  }
};

struct EnsembleOfProbabilities : EnsembleRow {
  LK_DEVICE LabelSoftmax::Row model(u64 m, LabelSoftmax::Acc* scratch, float* maxima) const {
    const void* z = logits(m);
    const float z_label = label_logit(m);
    LabelSoftmax::Acc acc = LabelSoftmax::empty();
    if (valid) sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) { LabelSoftmax::add(acc, x, k, y); });
    const float max = reduce_group(acc.max, -infinity(), maxima, [](float p, float q) { return fmaxf(p, q); });
    LabelSoftmax::rebase(acc, fmaxf(max, z_label));
    acc = reduce_group(acc, LabelSoftmax::empty(), scratch,
                       [](const LabelSoftmax::Acc& p, const LabelSoftmax::Acc& q) { return LabelSoftmax::merge(p, q); });
    barrier();
    return LabelSoftmax::finish(acc, z_label);
  }

  // -log p_y in f64: its rounding would be raised to a power.
  static LK_DEVICE double neg_log_prob(const LabelSoftmax::Row& row, float z_label) {
    if (z_label == row.max) return log1p(static_cast<double>(row.rest) / row.at_label) + row.poison;
    return (static_cast<double>(row.max) - z_label) + log(static_cast<double>(row.sum)) + row.poison;
  }
  LK_DEVICE float label_logit(u64 m) const { return valid ? load1(logits(m), a.dtype, y) : 0.0f; }

  LK_DEVICE float run(bool backward, LabelSoftmax::Acc* scratch, float* maxima) const {
    // Sum of exp(least - nll) about the smallest so far, and of 1 - p_y.
    double least = infinity(), sum = 0.0, others = 0.0;
    for (u64 m = 0; m < a.models; ++m) {
      const LabelSoftmax::Row row = model(m, scratch, maxima);
      others += static_cast<double>(row.rest) / row.sum + row.poison;
      const double nll = neg_log_prob(row, label_logit(m));
      if (nll < least) {
        sum = sum * exp(nll - least) + 1.0;
        least = nll;
      } else if (nll != nll) {
        sum = nll;
      } else if (nll < infinity()) {
        sum += exp(least - nll);
      }
    }
    if (backward) {
      const double neg_log_sum = sum != sum ? sum : least - log(sum);
      for (u64 m = 0; m < a.models; ++m) {
        const LabelSoftmax::Row row = model(m, scratch, maxima);
        const double part = s * exp(neg_log_sum - neg_log_prob(row, label_logit(m)));
        const float weight = static_cast<float>(part / row.sum) + row.poison;
        const float at_label = static_cast<float>(-part * row.rest / row.sum) + row.poison;
        if (!valid) continue;
        const void* z = logits(m);
        void* g = gradient(m);
        const bool vector = ((reinterpret_cast<uintptr_t>(g) ^ reinterpret_cast<uintptr_t>(z)) & 15) == 0;
        sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
          constexpr int N = sizeof(x) / sizeof(float);
          const int own = position<N>(k, y);
#pragma unroll
          for (int j = 0; j < N; ++j) x[j] = j == own ? at_label : weight * exp_difference(x[j], row.max);
          store(g, a.dtype, k, vector, x);
        });
      }
    }
    // Models that are sure of the label differ from 1 by little.
    const double models = static_cast<double>(a.models), mean = others / models;
    return static_cast<float>(mean < 0.5 ? -log1p(-mean) : sum != sum ? sum : least - log(sum) + log(models));
  }
};

LK_DEVICE void ensemble_cross_entropy(const lk_ensemble_cross_entropy_args& a) {
  __shared__ LabelSoftmax::Acc scratch[32];
  __shared__ EnsembleBest best[32];
  __shared__ float maxima[32];
  const bool reduced = a.opts.reduction != LK_REDUCTION_NONE, forward = a.pass != kPassBackward && a.loss;
  const bool backward = a.pass != kPassForward && a.grad_logits;
  float* losses = a.loss && reduced ? reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + kHeaderBytes) : a.loss;
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.rows;
    const int64_t label = present ? a.labels[r] : 0;
    const bool valid = present && label >= 0 && static_cast<u64>(label) < a.classes;
    float s = present && a.grad_loss ? a.grad_loss[reduced ? 0 : r] : 1.0f;
    if (a.opts.reduction == LK_REDUCTION_MEAN) s = static_cast<float>(s / static_cast<double>(a.rows));
    const EnsembleRow row = {a, present ? r : 0, valid ? static_cast<u64>(label) : 0, valid, s};
    float loss;
    if (a.opts.average == LK_ENSEMBLE_CROSS_ENTROPY_AVERAGE_LOGITS) {
      loss = EnsembleOfLogits{row}.run(backward, best, maxima);
    } else {
      loss = EnsembleOfProbabilities{row}.run(backward, scratch, maxima);
    }
    if (!present) continue;
    if (threadIdx.x == 0) {
      if (forward) losses[r] = valid ? loss : quiet_nan();
      if (!valid) atomicOr(a.device_flags, kFlagLabel);
    }
    if (valid || !backward) continue;
    for (u64 m = 0; m < a.models; ++m) {
      for (u64 k = threadIdx.x; k < a.classes; k += blockDim.x) store1(row.gradient(m), a.dtype, k, 0.0f);
    }
  }
}

}  // namespace lk
