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
#include <type_traits>
#include "../common.cuh"

namespace lk {

// The workspace: kHeader bytes of f64 constants, then one f32 per row where a reduction follows.
constexpr int kHeaderBytes = 256;
constexpr int kHeaderNormaliser = 0, kHeaderWeightSum = 1;

// Where among elements k .. k+N-1 the label is; N if elsewhere. In 32 bits from here on.
template <int N>
LK_DEVICE int position(u64 k, u64 label) { return label - k < N ? static_cast<int>(label - k) : N; }

// `value` in place of the label among elements k .. k+N-1. Behind a branch, as one chunk of a row has it.
template <int N>
LK_DEVICE void replace_label(float (&x)[N], u64 k, u64 label, float value) {
  if (label - k >= N) return;
  LK_UNLIKELY_HERE;
  const unsigned place = static_cast<unsigned>(label - k);
#pragma unroll
  for (unsigned j = 0; j < N; ++j) x[j] = j == place ? value : x[j];
}

// f(x, k) for the row's elements, in single ones up to the first 16-byte boundary, then in chunks of 8, then singly; with
// kWrites, what f leaves in x goes to g. Which thread gets which element depends on nothing but the pointers and n, and
// it is read before it is written by the same one, so g may be z. blockDim.x is a power of two. Without kChunks all
// elements are single: for long f.
template <bool kWrites, bool kChunks, class F>
LK_DEVICE void sweep_row(void* g, const void* z, int dtype, u64 n, F f) {
  const unsigned size = element_size(dtype);
  const uintptr_t address = reinterpret_cast<uintptr_t>(z);
  u64 head = (16 - (address & 15)) % 16 / size;
  // No chunk of z is aligned where that of g is.
  if (!kChunks || head > n || (kWrites && (address ^ reinterpret_cast<uintptr_t>(g)) & 15)) head = n;
  const u64 chunks = (n - head) / kChunk, end = head + chunks * kChunk;
  if constexpr (kChunks) {
    with_storage(dtype, [&](auto storage) {
      const u64 first = head + threadIdx.x * kChunk, step = blockDim.x * kChunk;
      if (first >= end) return;
      // Writing sweeps go backwards, as what was read last is the likeliest to be in L2 still.
      u64 k = kWrites ? first + ((end - 1 - first) & ~(step - 1)) : first;
      const ptrdiff_t bytes = static_cast<ptrdiff_t>(step * element_size(storage.dtype)) * (kWrites ? -1 : 1);
      const unsigned char* from = static_cast<const unsigned char*>(at(z, storage.dtype, k));
      unsigned char* to = static_cast<unsigned char*>(at(g, storage.dtype, kWrites ? k : 0));
      for (bool more = true; more; from += bytes) {
        float x[kChunk];
        load8(from, storage.dtype, 0, x);
        f(x, k);
        if constexpr (kWrites) {
          store8<true>(to, storage.dtype, 0, x);
          to += bytes;
          more = k != first;
          k -= step;
        } else {
          k += step;
          more = k < end;
        }
      }
    });
  }
  for (u64 i = threadIdx.x; i < n - chunks * kChunk; i += blockDim.x) {
    const u64 k = i < head ? i : i + chunks * kChunk;
    float x[1] = {load1(z, dtype, k)};
    f(x, k);
    if constexpr (kWrites) store1(g, dtype, k, x[0]);
  }
}

template <bool kChunks = true, class F>
LK_DEVICE void sweep(const void* z, int dtype, u64 n, F f) {
  sweep_row<false, kChunks>(nullptr, z, dtype, n, f);
}
template <bool kChunks = true, class F>
LK_DEVICE void sweep_to(void* g, const void* z, int dtype, u64 n, F f) {
  sweep_row<true, kChunks>(g, z, dtype, n, f);
}

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
struct AsItIs {
  static constexpr bool kChunks = true;
  const Loss& loss;
  template <class Acc, class X>
  LK_DEVICE void add(Acc& acc, X& x, u64 k) const { loss.add(acc, x, k); }
  template <class Row>
  LK_DEVICE float gradient(const Row& row, float z, u64 k) const { return loss.gradient(row, z, k, false); }
};
// f(loss), or f(the loss with its options as constants); kChunks: see with_storage.
template <class Loss, class F>
LK_DEVICE auto with_options(const Loss& loss, F f, int) -> decltype(loss.with_options(f)) {
  loss.with_options(f);
}
template <class Loss, class F>
LK_DEVICE void with_options(const Loss& loss, F f, long) {
  f(AsItIs<Loss>{loss});
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
      if (valid) {
        with_options(loss, [&](const auto& l) {
          sweep<std::remove_reference_t<decltype(l)>::kChunks>(z, a.dtype, a.classes, [&](auto& x, u64 k) { l.add(acc, x, k); });
        }, 0);
      }
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
    if (valid) {
      loss.scale(row, upstream(a, header, r));
      const float own = loss.gradient(row, 0.0f, static_cast<u64>(label), true);
      with_options(loss, [&](const auto& l) {
        sweep_to<std::remove_reference_t<decltype(l)>::kChunks>(g, z, a.dtype, a.classes, [&](auto& x, u64 k) {
          constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
          for (int j = 0; j < N; ++j) x[j] = l.gradient(row, x[j], k + j);
          replace_label(x, k, static_cast<u64>(label), own);
        });
      }, 0);
    } else {
      // g stands in for z: only its address counts, the loaded values do not.
      sweep_to(g, g, a.dtype, a.classes, [&](auto& x, u64) {
        for (auto& e : x) e = 0.0f;
      });
    }
  }
}

}  // namespace lk
