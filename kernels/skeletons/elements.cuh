// Losses on single elements of inputs of one shape.
//
// A loss is a functor:
//   using Args; static constexpr int kInputs, kGradients;
//   static u64 count(args); optionally static u64 rows(args), for reduction batchmean; static Operand input(args, i); static void* gradient_of(args, i)
//   Loss(args); float value(x[kInputs]); void gradient(x[kInputs], g[kGradients])
#pragma once
#include "../reductions/reduce.cuh"

namespace lk {

struct Operand {
  const void* data;  // NULL: `absent` everywhere
  u64 period;        // 0 = one value per element; else element i reads i mod period
  float absent;
};

// Eight at a time for every pointer, so that sums group alike; i is a multiple of 8 then, and a pointer
// that is not 16-byte aligned costs scalar accesses. kAligned: none is.
template <bool kAligned = false, int N>
LK_DEVICE void load(const Operand& in, int dtype, u64 i, float (&x)[N]) {
  if (!in.data) {
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] = in.absent;
    return;
  }
  const u64 period = in.period;
  u64 k = period ? i % period : i;
  if constexpr (N == kChunk) {
    if ((kAligned || aligned16(in.data)) && period % kChunk == 0) {
      load8(in.data, dtype, k, x);
      return;
    }
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
    x[j] = load1(in.data, dtype, k);
    if (++k == period) k = 0;
  }
}

template <bool kAligned = false, int N>
LK_DEVICE void put(void* out, int dtype, u64 i, const float (&x)[N]) {
  if constexpr (kAligned && N == kChunk) {
    store8(out, dtype, i, x);
  } else {
    if constexpr (N == kChunk) {
      if (aligned16(out)) {
        store8(out, dtype, i, x);
        return;
      }
    }
#pragma unroll
    for (int j = 0; j < N; ++j) store1(out, dtype, i + j, x[j]);
  }
}

template <int kCount>
struct Width {
  static constexpr int N = kCount;
};

// each(i) for this thread's share of n elements: eight from i on, or one after the last eight.
template <class Each>
LK_DEVICE void each_whole_chunk(u64 n, Each each) {
  const u64 me = u64(blockIdx.x) * blockDim.x + threadIdx.x, step = u64(gridDim.x) * blockDim.x;
  for (u64 i = me * kChunk; i < n / kChunk * kChunk; i += step * kChunk) each(i);
}
template <class Each>
LK_DEVICE void each_last(u64 n, Each each) {
  const u64 me = u64(blockIdx.x) * blockDim.x + threadIdx.x, step = u64(gridDim.x) * blockDim.x;
  for (u64 i = n / kChunk * kChunk + me; i < n; i += step) each(i);
}
// Both: each(Width<N>, i) for elements i .. i + N - 1.
template <class Each>
LK_DEVICE void each_chunk(u64 n, Each each) {
  each_whole_chunk(n, [&](u64 i) { each(Width<kChunk>(), i); });
  each_last(n, [&](u64 i) { each(Width<1>(), i); });
}

template <class Loss, class Args>
LK_DEVICE auto rows_of(const Args& a, int) -> decltype(Loss::rows(a)) {
  return Loss::rows(a);
}
template <class Loss, class Args>
LK_DEVICE u64 rows_of(const Args&, long) {
  return 1;
}

// What the reduction divides by.
template <class Loss, class Args>
LK_DEVICE double divisor(const Args& a) {
  if (a.opts.reduction == LK_REDUCTION_MEAN) return static_cast<double>(Loss::count(a));
  return a.opts.reduction == LK_REDUCTION_BATCHMEAN ? static_cast<double>(rows_of<Loss>(a, 0)) : 1.0;
}

template <class Loss>
struct Elements {
  const typename Loss::Args& a;
  Loss loss;
  Operand in[Loss::kInputs];
  void* out[Loss::kGradients];
  float* losses;       // reduction none
  const float* grads;  // reduction none
  float scale;
  bool sums, backward, aligned;

  LK_DEVICE explicit Elements(const typename Loss::Args& args) : a(args), loss(args) {
    const bool none = a.opts.reduction == LK_REDUCTION_NONE, forward = a.pass != kPassBackward && a.loss;
    losses = none && forward ? a.loss : nullptr;
    sums = !none && forward;
    grads = none ? a.grad_loss : nullptr;
    scale = 1.0f;
    backward = false;
    aligned = aligned16(losses) && aligned16(grads);
#pragma unroll
    for (int i = 0; i < Loss::kInputs; ++i) {
      in[i] = Loss::input(a, i);
      aligned &= aligned16(in[i].data);
    }
#pragma unroll
    for (int i = 0; i < Loss::kGradients; ++i) {
      out[i] = a.pass != kPassForward ? Loss::gradient_of(a, i) : nullptr;
      backward |= out[i] != nullptr;
      aligned &= aligned16(out[i]);
    }
    if (backward && !none) {
      const double g = a.grad_loss ? *a.grad_loss : 1.0;
      scale = static_cast<float>(g / divisor<Loss>(a));
    }
  }

  // Elements i .. i+N-1, more than one if all is aligned: everything is read before anything is written, so a gradient
  // may lie over an input. Value and gradient in one place, for what they have in common.
  template <int N>
  LK_DEVICE float run(int dtype, u64 i) const {
    constexpr bool kAligned = N > 1;
    float x[Loss::kInputs][N], l[N], sum = 0.0f;
#pragma unroll
    for (int n = 0; n < Loss::kInputs; ++n) load<kAligned>(in[n], dtype, i, x[n]);
    if (!backward) {
#pragma unroll
      for (int j = 0; j < N; ++j) sum += l[j] = value(x, j);
      if (losses) put<kAligned>(losses, LK_DTYPE_F32, i, l);
      return sum;
    }
    float s[N], g[Loss::kGradients][N];
    load<kAligned>(Operand{grads, 0, scale}, LK_DTYPE_F32, i, s);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      sum += l[j] = value(x, j);
      float e[Loss::kInputs], d[Loss::kGradients];
#pragma unroll
      for (int n = 0; n < Loss::kInputs; ++n) e[n] = x[n][j];
      loss.gradient(e, d);
#pragma unroll
      for (int n = 0; n < Loss::kGradients; ++n) g[n][j] = s[j] * d[n];
    }
    if (losses) put<kAligned>(losses, LK_DTYPE_F32, i, l);
#pragma unroll
    for (int n = 0; n < Loss::kGradients; ++n) {
      if (out[n]) put<kAligned>(out[n], dtype, i, g[n]);
    }
    return sum;
  }
  template <int N>
  LK_DEVICE float value(const float (&x)[Loss::kInputs][N], int j) const {
    float e[Loss::kInputs];
#pragma unroll
    for (int n = 0; n < Loss::kInputs; ++n) e[n] = x[n][j];
    return loss.value(e);
  }
};

template <class Loss>
LK_DEVICE void elements_kernel(const typename Loss::Args& a) {
  __shared__ double scratch[32];
  const Elements<Loss> elements(a);
  double sum = 0.0;
  const u64 n = Loss::count(a);
  if (elements.aligned) {
    with_storage(a.dtype, [&](auto storage) {
      each_whole_chunk(n, [&](u64 i) { sum += elements.template run<kChunk>(storage.dtype, i); });
    });
  } else {
    each_whole_chunk(n, [&](u64 i) {
      float part = 0.0f;
#pragma unroll 1
      for (int j = 0; j < kChunk; ++j) part += elements.template run<1>(a.dtype, i + j);
      sum += part;
    });
  }
  each_last(n, [&](u64 i) { sum += elements.template run<1>(a.dtype, i); });
  if (!elements.sums) return;
  sum = reduce_group(sum, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) {
    *a.loss = static_cast<float>(sum / divisor<Loss>(a));
  } else {
    double* partials = static_cast<double*>(a.workspace) + 2 * u64(blockIdx.x);
    partials[0] = sum;
    partials[1] = 0.0;
  }
}

// ---- What losses share. A NaN stays a NaN.

LK_DEVICE float relu(float x) { return x < 0.0f ? 0.0f : x; }
LK_DEVICE float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
// `slope` where h is positive, 0 elsewhere.
LK_DEVICE float hinged(float h, float slope) { return h > 0.0f ? slope : h <= 0.0f ? 0.0f : h; }

// Inputs and gradients of a loss of `pred` and `target`.
template <class A>
struct Pair {
  using Args = A;
  static constexpr int kInputs = 2, kGradients = 2;

  static LK_DEVICE u64 count(const Args& a) { return a.n; }
  static LK_DEVICE Operand input(const Args& a, int i) { return {i == 0 ? a.pred : a.target, 0, 0.0f}; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? a.grad_pred : a.grad_target; }
};

}  // namespace lk
