// mask_i = 1 for the k largest magnitudes, found before.
#pragma once
#include "losskit_args/saliency_mask.h"
#include "../skeletons/select.cuh"

namespace lk {

LK_DEVICE void saliency_mask(const lk_saliency_mask_args& a) {
  const SelectState& s = *static_cast<const SelectState*>(a.workspace);
  if (a.threshold && blockIdx.x == 0 && threadIdx.x == 0) {
    *a.threshold = s.digit == 0 ? infinity() : s.has_nan ? quiet_nan() : select_magnitude(s.key);
  }
  if (!a.mask) return;
  const u64 step = u64(gridDim.x) * blockDim.x, chunks = a.n / kChunk;
  const bool wide = (reinterpret_cast<uintptr_t>(a.mask) & 7) == 0;
  const u64 me = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  for (u64 c = me; c < chunks; c += step) {
    float x[kChunk];
    load(Operand{a.gradient, 0, 0.0f}, a.dtype, c * kChunk, x);
    u64 bytes = 0;
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      bytes |= u64(selected(s, select_key(a.dtype, true, x[j]), c * kChunk + j)) << 8 * j;
    }
    if (wide) {
      reinterpret_cast<u64*>(a.mask)[c] = bytes;
    } else {
#pragma unroll
      for (int j = 0; j < kChunk; ++j) a.mask[c * kChunk + j] = static_cast<uint8_t>(bytes >> 8 * j);
    }
  }
  for (u64 i = chunks * kChunk + me; i < a.n; i += step) {
    a.mask[i] = selected(s, select_key(a.dtype, true, load1(a.gradient, a.dtype, i)), i);
  }
}

}  // namespace lk
