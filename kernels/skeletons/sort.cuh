// Stable sort of f32 numbers together with their places: pairs (key, place) of 64 bits, all different, by bitonic
// merging in place. The number of pairs is a power of two from kSortTile on, filled up with kSortPadding.
#pragma once
#include "../common.cuh"

// Mirrored by src/cuda/sort.rs.
struct lk_sort_args {
  uint64_t* pairs;
  uint64_t size;    // of the sorted runs that this stage makes; 0 = of a tile, from scratch
  uint64_t stride;  // of this step; 0 = all those within a tile
};

namespace lk {

constexpr u64 kSortTile = 1024;  // twice the threads of a block
constexpr u64 kSortPadding = ~u64(0);

// Integers in the order of the values; the two zeros are one, NaN comes last.
LK_DEVICE uint32_t order_key(float z) {
  if (z != z) return 0xfffffffeu;
  const uint32_t bits = __float_as_uint(z + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
LK_DEVICE float order_value(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

LK_DEVICE u64 sort_pair(uint32_t key, u64 place) { return u64(key) << 32 | place; }
LK_DEVICE uint32_t sort_key(u64 pair) { return static_cast<uint32_t>(pair >> 32); }
LK_DEVICE u64 sort_place(u64 pair) { return pair & 0xffffffffu; }

// Two pairs of a run of `size`, which is ascending or descending by its place.
LK_DEVICE void sort_exchange(u64& low, u64& high, bool ascending) {
  if ((low > high) == ascending) {
    const u64 pair = low;
    low = high;
    high = pair;
  }
}

LK_DEVICE void sort_tile(const lk_sort_args& a) {
  __shared__ u64 tile[kSortTile];
  const u64 start = u64(blockIdx.x) * kSortTile, t = threadIdx.x;
  tile[t] = a.pairs[start + t];
  tile[t + kSortTile / 2] = a.pairs[start + t + kSortTile / 2];
  for (u64 size = a.size ? a.size : 2; size <= (a.size ? a.size : kSortTile); size *= 2) {
    for (u64 stride = size / 2 < kSortTile / 2 ? size / 2 : kSortTile / 2; stride > 0; stride /= 2) {
      __syncthreads();
      const u64 i = 2 * stride * (t / stride) + t % stride;
      sort_exchange(tile[i], tile[i + stride], ((start + i) & size) == 0);
    }
  }
  __syncthreads();
  a.pairs[start + t] = tile[t];
  a.pairs[start + t + kSortTile / 2] = tile[t + kSortTile / 2];
}

LK_DEVICE void sort_step(const lk_sort_args& a) {
  const u64 t = u64(blockIdx.x) * blockDim.x + threadIdx.x, i = 2 * a.stride * (t / a.stride) + t % a.stride;
  sort_exchange(a.pairs[i], a.pairs[i + a.stride], (i & a.size) == 0);
}

}  // namespace lk
