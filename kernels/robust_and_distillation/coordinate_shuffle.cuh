// Rows mixed of their own coordinates and those of another row.
#pragma once
#include "losskit_args/coordinate_shuffle.h"
#include "../skeletons/elements.cuh"

namespace lk {

template <int N>
LK_DEVICE void coordinate_shuffle(const lk_coordinate_shuffle_args& a, u64 i) {
  u64 row = i / a.d, column = i - row * a.d, other = static_cast<u64>(a.permutation[row]);
  float x[N];
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (column == a.d) {
      column = 0;
      other = static_cast<u64>(a.permutation[++row]);
    }
    if (other >= a.n) {
      atomicOr(a.device_flags, kFlagLabel);
      x[j] = quiet_nan();
    } else {
      x[j] = load1(a.x, a.dtype, (a.mask[column] ? other : row) * a.d + column);
    }
    ++column;
  }
  put(a.output, a.dtype, i, x);
}

LK_DEVICE void coordinate_shuffle(const lk_coordinate_shuffle_args& a) {
  const u64 n = a.n * a.d, chunks = n / kChunk;
  const u64 me = u64(blockIdx.x) * blockDim.x + threadIdx.x, step = u64(gridDim.x) * blockDim.x;
  for (u64 c = me; c < chunks; c += step) coordinate_shuffle<kChunk>(a, c * kChunk);
  for (u64 i = chunks * kChunk + me; i < n; i += step) coordinate_shuffle<1>(a, i);
}

}  // namespace lk
