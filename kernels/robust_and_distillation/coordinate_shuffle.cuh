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
  each_chunk(a.n * a.d, [&](auto width, u64 i) { coordinate_shuffle<decltype(width)::N>(a, i); });
}

}  // namespace lk
