// Losses on rows of logits with one label each: online statistics in one sweep, the gradient in another.
//
// blockDim.x threads work on a row and blockDim.y rows on a block (src/cuda/rows.rs chooses). A loss is a
// functor:
//   using Args; struct Acc; struct Row;      plain structs; Row = all that loss and gradient need of a row
//   static constexpr int kSaved;             floats per row of `saved`
//   Loss(args, header)                       options into registers; header: constants over all rows
//   void begin(z, y)                         the row's pointer and label
//   Acc init(); void add(acc, x[N], k); Acc merge(acc, acc)      x = elements k .. k+N-1, N = 1 or 8
//   static constexpr bool kRelative;         sums are relative to a maximum: float max(acc); void rebase(acc, max)
//   Row finish(acc); void save(row, f32*); Row restore(f32*)
//   float loss(row); void scale(row, s); float gradient(row, z, k, k is the label)
#pragma once
#include "../common.cuh"

namespace lk {

// The workspace: kHeader bytes of f64 constants, then one f32 per row where a reduction follows.
constexpr int kHeaderBytes = 256;
constexpr int kHeaderNormaliser = 0, kHeaderWeightSum = 1;

// Where among elements k .. k+N-1 the label is; N if elsewhere. In 32 bits from here on.
template <int N>
LK_DEVICE int position(u64 k, u64 label) { return label - k < N ? static_cast<int>(label - k) : N; }

// f(x, k) for the row's elements, in single ones up to the first 16-byte boundary, then in chunks of 8,
// then singly. Which thread gets which element depends on nothing but the pointer and n.
template <class F>
LK_DEVICE void sweep(const void* z, int dtype, u64 n, F f) {
  const u64 per_vector = 16 / element_size(dtype), off = (reinterpret_cast<uintptr_t>(z) & 15) / element_size(dtype);
  u64 head = off ? per_vector - off : 0;
  if (head > n) head = n;
  const u64 chunks = (n - head) / kChunk, singles = n - chunks * kChunk;
  for (u64 c = threadIdx.x; c < chunks; c += blockDim.x) {
    float x[kChunk];
    load8(z, dtype, head + c * kChunk, x);
    f(x, head + c * kChunk);
  }
  for (u64 i = threadIdx.x; i < singles; i += blockDim.x) {
    const u64 k = i < head ? i : i + chunks * kChunk;
    float x[1] = {load1(z, dtype, k)};
    f(x, k);
  }
}

// Writes over the row are by the thread that read the element, so g may be z.
template <int N>
LK_DEVICE void store(void* g, int dtype, u64 k, bool vector, const float (&x)[N]) {
  if constexpr (N == kChunk) {
    if (vector) {
      store8(g, dtype, k, x);
      return;
    }
  }
#pragma unroll
  for (int j = 0; j < N; ++j) store1(g, dtype, k + j, x[j]);
}

template <class Args>
LK_DEVICE float upstream(const Args& a, const double* header, u64 r) {
  const float g = a.grad_loss ? a.grad_loss[a.opts.reduction == LK_REDUCTION_NONE ? r : 0] : 1.0f;
  if (a.opts.reduction != LK_REDUCTION_MEAN) return g;
  return static_cast<float>(header[kHeaderNormaliser] != 0.0 ? g / header[kHeaderNormaliser] : 0.0);
}

template <class Loss>
LK_DEVICE void rows_kernel(const typename Loss::Args& a) {
  __shared__ typename Loss::Acc scratch[32];
  __shared__ float maxima[32];
  const double* header = static_cast<const double*>(a.workspace);
  float* losses = a.loss;
  if (a.opts.reduction != LK_REDUCTION_NONE && a.loss) {
    losses = reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + kHeaderBytes);
  }
  const bool forward = a.pass != kPassBackward, backward = a.pass != kPassForward && a.grad_logits;
  const bool restored = !forward && a.saved;
  Loss loss(a, header);

  // The same number of turns for all threads of a block: they meet at barriers and shuffles.
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.rows;
    const int64_t label = present ? a.labels[r] : 0;
    const bool counted = present && label != a.opts.ignore_index && a.classes > 0;
    const bool valid = counted && label >= 0 && static_cast<u64>(label) < a.classes;
    const void* z = at(a.logits, a.dtype, r * a.logits_stride);
    if (valid) loss.begin(z, static_cast<u64>(label));

    typename Loss::Row row;
    if (!restored) {
      typename Loss::Acc acc = loss.init();
      if (valid) sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) { loss.add(acc, x, k); });
      if constexpr (Loss::kRelative) {
        // First the group's maximum: one rescaling per thread rather than one per merge, in time and error.
        const float max = reduce_group(loss.max(acc), -infinity(), maxima, [](float x, float y) { return fmaxf(x, y); });
        loss.rebase(acc, max);
      }
      acc = reduce_group(acc, loss.init(), scratch, [&](const auto& x, const auto& y) { return loss.merge(x, y); });
      if (valid) row = loss.finish(acc);
    } else if (valid) {
      row = loss.restore(a.saved + r * Loss::kSaved);
    }
    // All have read the row's label element and the scratch before somebody writes again.
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (!present) continue;

    if (forward && threadIdx.x == 0) {
      if (losses) losses[r] = valid ? loss.loss(row) : counted ? quiet_nan() : 0.0f;
      if (a.saved && valid) loss.save(row, a.saved + r * Loss::kSaved);
      if (a.saved && !valid) {
        for (int j = 0; j < Loss::kSaved; ++j) a.saved[r * Loss::kSaved + j] = 0.0f;
      }
    }
    if (counted && !valid && threadIdx.x == 0) atomicOr(a.device_flags, kFlagLabel);
    if (!backward) continue;

    void* g = at(a.grad_logits, a.dtype, r * a.logits_stride);
    const bool vector = ((reinterpret_cast<uintptr_t>(g) ^ reinterpret_cast<uintptr_t>(z)) & 15) == 0;
    if (valid) {
      loss.scale(row, upstream(a, header, r));
      sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
        const int own = position<N>(k, static_cast<u64>(label));
#pragma unroll
        for (int j = 0; j < N; ++j) x[j] = loss.gradient(row, x[j], k + j, j == own);
        store(g, a.dtype, k, vector, x);
      });
    } else {
      // g stands in for z: only its address counts, the loaded values do not.
      sweep(g, a.dtype, a.classes, [&](auto& x, u64 k) {
        for (auto& e : x) e = 0.0f;
        store(g, a.dtype, k, true, x);
      });
    }
  }
}

}  // namespace lk
