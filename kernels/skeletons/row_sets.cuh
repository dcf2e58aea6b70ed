// Losses on sets of rows: for each sample one row of each of several matrices of the same shape.
//
// Threads and rows of a block as in rows.cuh. A loss is a functor:
//   using Args; static constexpr int kRows; struct Acc; struct Row;
//   static constexpr bool kIgnores;          rows whose label is opts.ignore_index do not count
//   static const void* input(args, i); static void* gradient_of(args, i)      NULL = none
//   static float* losses(args)               its first output
//   Loss(args); int64 label(args, r)         0 where there are no labels
//   void begin(r, y, rows[kRows])            the sample, its label and its rows
//   Acc init(); Acc merge(acc, acc)
//   void add(acc, x[kRows], k) or add_chunk(acc, x[kRows][N], k)      an element, or k .. k+N-1, N = 1 or 8
//   float max(acc, i); void rebase(acc, float max[kRows])        where sums are relative to maxima
//   Row finish(acc); float loss(row); void scale(row, s); void gradient(row, x[kRows], g[kRows], k)
//   void outputs(row)                        the sample's own outputs, by one thread
//   void gradients(row)                      gradients that are one value per sample, by one thread, after scale
//   void clear(r)                            both, for a sample that does not count
// RowSetBase has those that a loss may leave out.
#pragma once
#include "rows.cuh"

namespace lk {

template <class A, int N>
struct RowSetBase {
  using Args = A;
  static constexpr int kRows = N;
  static constexpr bool kIgnores = false;
  static LK_DEVICE u64 rows(const Args& a) { return a.rows; }
  static LK_DEVICE u64 classes(const Args& a) { return a.classes; }
  static LK_DEVICE int64_t label(const Args&, u64) { return 0; }
  static LK_DEVICE float* losses(const Args& a) { return a.loss; }
  template <class Row>
  LK_DEVICE void outputs(const Row&) const {}
  template <class Row>
  LK_DEVICE void gradients(const Row&) const {}
  LK_DEVICE void clear(u64) const {}
};

template <int N>
struct Maxima {
  float m[N];
};

// f(x, k, dtype) for the elements of N rows at a time: chunks of 8 where every row is aligned, and what f writes to
// (NULL = nothing) as well, else single ones.
template <int N, class F>
LK_DEVICE void sweep_set(const void* const (&rows)[N], void* const (&out)[N], int dtype, u64 n, F f) {
  bool aligned = true;
#pragma unroll
  for (int i = 0; i < N; ++i) aligned &= aligned16(rows[i]) && aligned16(out[i]);
  const u64 chunks = aligned ? n / kChunk : 0;
  with_storage(dtype, [&](auto storage) {
    for (u64 k = threadIdx.x * kChunk; k < chunks * kChunk; k += blockDim.x * kChunk) {
      float x[N][kChunk];
#pragma unroll
      for (int i = 0; i < N; ++i) load8(rows[i], storage.dtype, k, x[i]);
      f.template operator()<kChunk>(x, k, storage.dtype);
    }
  });
  for (u64 k = chunks * kChunk + threadIdx.x; k < n; k += blockDim.x) {
    float x[N][1];
#pragma unroll
    for (int i = 0; i < N; ++i) x[i][0] = load1(rows[i], dtype, k);
    f.template operator()<1>(x, k, dtype);
  }
}

template <class Loss, int W>
LK_DEVICE auto add_to_set(const Loss& loss, typename Loss::Acc& acc, const float (&x)[Loss::kRows][W], u64 k, int)
    -> decltype(loss.add_chunk(acc, x, k)) {
  loss.add_chunk(acc, x, k);
}
template <class Loss, int W>
LK_DEVICE void add_to_set(const Loss& loss, typename Loss::Acc& acc, const float (&x)[Loss::kRows][W], u64 k, long) {
#pragma unroll
  for (int j = 0; j < W; ++j) {
    float e[Loss::kRows];
#pragma unroll
    for (int i = 0; i < Loss::kRows; ++i) e[i] = x[i][j];
    loss.add(acc, e, k + j);
  }
}

template <class Loss>
struct RowSetAdd {
  const Loss& loss;
  typename Loss::Acc& acc;
  template <int W>
  LK_DEVICE void operator()(const float (&x)[Loss::kRows][W], u64 k, int) const {
    add_to_set(loss, acc, x, k, 0);
  }
};

template <int N, int W>
LK_DEVICE void store_set(void* const (&out)[N], int dtype, u64 k, const float (&g)[N][W]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (out[i]) store(out[i], dtype, k, true, g[i]);
  }
}

template <class Loss>
struct RowSetGradient {
  const Loss& loss;
  const typename Loss::Row& row;
  void* const (&out)[Loss::kRows];
  template <int W>
  LK_DEVICE void operator()(const float (&x)[Loss::kRows][W], u64 k, int dtype) const {
    float g[Loss::kRows][W];
#pragma unroll
    for (int j = 0; j < W; ++j) {
      float e[Loss::kRows], d[Loss::kRows];
#pragma unroll
      for (int i = 0; i < Loss::kRows; ++i) e[i] = x[i][j], d[i] = 0.0f;
      loss.gradient(row, e, d, k + j);
#pragma unroll
      for (int i = 0; i < Loss::kRows; ++i) g[i][j] = d[i];
    }
    store_set(out, dtype, k, g);
  }
};

template <int N>
struct RowSetClear {
  void* const (&out)[N];
  template <int W>
  LK_DEVICE void operator()(const float (&)[N][W], u64 k, int dtype) const {
    const float zeros[N][W] = {};
    store_set(out, dtype, k, zeros);
  }
};

template <class Loss>
LK_DEVICE void row_sets_kernel(const typename Loss::Args& a) {
  constexpr int N = Loss::kRows;
  __shared__ typename Loss::Acc scratch[32];
  __shared__ Maxima<N> maxima[32];
  const double* header = static_cast<const double*>(a.workspace);
  float* losses = Loss::losses(a);
  if (a.opts.reduction != LK_REDUCTION_NONE && losses) {
    losses = reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + kHeaderBytes);
  }
  const bool forward = a.pass != kPassBackward, backward = a.pass != kPassForward;
  Loss loss(a);

  // The same number of turns for all threads of a block: they meet at barriers and shuffles.
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < Loss::rows(a); first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < Loss::rows(a);
    const int64_t label = present ? loss.label(a, r) : 0;
    bool counted = present && Loss::classes(a) > 0;
    if constexpr (Loss::kIgnores) counted = counted && label != a.opts.ignore_index;
    const bool valid = counted && label >= 0 && static_cast<u64>(label) < Loss::classes(a);
    const void* rows[N];
#pragma unroll
    for (int i = 0; i < N; ++i) rows[i] = at(Loss::input(a, i), a.dtype, present ? r * Loss::classes(a) : 0);
    if (valid) loss.begin(r, static_cast<u64>(label), rows);

    typename Loss::Acc acc = loss.init();
    void* out[N] = {};
    if (valid) sweep_set(rows, out, a.dtype, Loss::classes(a), RowSetAdd<Loss>{loss, acc});
    Maxima<N> most;
#pragma unroll
    for (int i = 0; i < N; ++i) most.m[i] = loss.max(acc, i);
    Maxima<N> none;
#pragma unroll
    for (int i = 0; i < N; ++i) none.m[i] = -infinity();
    // First the group's maxima: one rescaling per thread rather than one per merge, in time and error.
    most = reduce_group(most, none, maxima, [](const Maxima<N>& p, const Maxima<N>& q) {
      Maxima<N> both;
#pragma unroll
      for (int i = 0; i < N; ++i) both.m[i] = fmaxf(p.m[i], q.m[i]);
      return both;
    });
    loss.rebase(acc, most.m);
    acc = reduce_group(acc, loss.init(), scratch, [&](const auto& x, const auto& y) { return loss.merge(x, y); });
    typename Loss::Row row;
    if (valid) row = loss.finish(acc);
    // All have read the row's own elements and the scratch before somebody writes again.
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (!present) continue;

    if (threadIdx.x == 0) {
      if (forward && losses) losses[r] = valid ? loss.loss(row) : counted ? quiet_nan() : 0.0f;
      if (valid && forward) loss.outputs(row);
      if (!valid) loss.clear(r);
      if (counted && !valid) atomicOr(a.device_flags, kFlagLabel);
    }
    if (!backward) continue;

#pragma unroll
    for (int i = 0; i < N; ++i) {
      void* g = Loss::gradient_of(a, i);
      out[i] = g ? at(g, a.dtype, r * Loss::classes(a)) : nullptr;
    }
    if (valid) {
      float s = a.grad_loss ? a.grad_loss[a.opts.reduction == LK_REDUCTION_NONE ? r : 0] : 1.0f;
      if (a.opts.reduction == LK_REDUCTION_MEAN || a.opts.reduction == LK_REDUCTION_BATCHMEAN) {
        const double count = Loss::kIgnores ? header[kHeaderNormaliser] : static_cast<double>(Loss::rows(a));
        s = static_cast<float>(count != 0.0 ? s / count : 0.0);
      }
      loss.scale(row, s);
      if (threadIdx.x == 0) loss.gradients(row);
      sweep_set(rows, out, a.dtype, Loss::classes(a), RowSetGradient<Loss>{loss, row, out});
    } else {
      sweep_set(rows, out, a.dtype, Loss::classes(a), RowSetClear<N>{out});
    }
  }
}

// ---- Two rows of logits as distributions p and q ------------------------------------------------------

// p = softmax(f z), q = softmax(f w). Differences are taken before they are scaled.
struct PairSoftmax {
  // Sums of exp(f (z - m)) for each row, and of exp(f (z - m))(z - w).
  struct Acc {
    float m[2], sum[2], lead;
  };
  struct Row {
    float m[2], inverse[2];
    double lse[2];  // less f m
    float lead;     // mean of z - w under p
  };

  static LK_DEVICE Acc empty() { return {{-infinity(), -infinity()}, {0.0f, 0.0f}, 0.0f}; }
  static LK_DEVICE float reference(float m) { return m == -infinity() ? 0.0f : m; }

  static LK_DEVICE void raise(Acc& acc, int i, float top, float f) {
    if (top == acc.m[i]) return;
    const float shrink = acc.m[i] == -infinity() ? 0.0f : exp_scaled_difference(acc.m[i], reference(top), f);
    acc.sum[i] *= shrink;
    if (i == 0) acc.lead *= shrink;
    acc.m[i] = top;
  }

  static LK_DEVICE void add(Acc& acc, float z, float w, float f = 1.0f) {
    const float one[1] = {z}, other[1] = {w};
    add(acc, one, other, f);
  }
  template <int N>
  static LK_DEVICE void add(Acc& acc, const float (&z)[N], const float (&w)[N], float f = 1.0f) {
    float top[2] = {acc.m[0], acc.m[1]};
#pragma unroll
    for (int j = 0; j < N; ++j) {
      top[0] = fmaxf(top[0], z[j]);
      top[1] = fmaxf(top[1], w[j]);
    }
    if (top[0] != acc.m[0] || top[1] != acc.m[1]) {
      LK_UNLIKELY_HERE;
      raise(acc, 0, top[0], f);
      raise(acc, 1, top[1], f);
    }
    const float first = reference(top[0]), second = reference(top[1]);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float p = exp_scaled_difference(z[j], first, f);
      acc.sum[0] += p;
      acc.sum[1] += exp_scaled_difference(w[j], second, f);
      if (p != 0.0f) acc.lead = fmaf(p, z[j] - w[j], acc.lead);
    }
  }
  static LK_DEVICE void rebase(Acc& acc, const float (&top)[2], float f = 1.0f) {
    raise(acc, 0, top[0], f);
    raise(acc, 1, top[1], f);
  }
  static LK_DEVICE Acc merge(const Acc& x, const Acc& y) {
    return {{x.m[0], x.m[1]}, {x.sum[0] + y.sum[0], x.sum[1] + y.sum[1]}, x.lead + y.lead};
  }
  static LK_DEVICE Row finish(const Acc& acc) {
    Row row;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      row.m[i] = acc.m[i];
      row.inverse[i] = 1.0f / acc.sum[i];
      row.lse[i] = log(static_cast<double>(acc.sum[i]));
    }
    row.lead = acc.lead / acc.sum[0];
    return row;
  }
  // KL(p || q).
  static LK_DEVICE double divergence(const Row& row, double f = 1.0) {
    return f * (row.lead + (static_cast<double>(row.m[1]) - row.m[0])) + (row.lse[1] - row.lse[0]);
  }
};

}  // namespace lk
