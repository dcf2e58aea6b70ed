// Stable sort of f32 numbers together with their places: pairs (key, place) of 64 bits, all different, by bitonic
// merging in place. The number of pairs is a power of two from kSortLeast on, filled up with kSortPadding. Several arrays
// of as many pairs, one after the other, are sorted at once (blockIdx.y).
#pragma once
#include "../common.cuh"

// Mirrored by src/cuda/sort.rs.
struct lk_sort_args {
  uint64_t* pairs;
  uint64_t count;   // of an array
  uint64_t size;    // of the sorted runs that this stage makes; 0 = of a tile, from scratch
  uint64_t stride;  // the least of this step; 0 = all those within a tile
  int32_t levels;   // so many strides, each twice the next
};

namespace lk {

constexpr u64 kSortLeast = 128, kSortTile = 4096;  // a tile is four times the threads of its block
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

// Of 2^L pairs: exchanges at strides 2^(L-1) to 1.
template <int L>
LK_DEVICE void sort_merge(u64 (&x)[1 << L], bool ascending) {
#pragma unroll
  for (int level = L - 1; level >= 0; --level) {
#pragma unroll
    for (int m = 0; m < 1 << L; ++m) {
      if (!(m >> level & 1)) sort_exchange(x[m], x[m | 1 << level], ascending);
    }
  }
}

// The first of the 2^L pairs of thread t of all, which are `stride` apart, a power of two.
template <int L, class T>
LK_DEVICE T sort_first(T t, T stride) {
  return ((t & ~(stride - 1)) << L) + (t & (stride - 1));
}

// Without it threads whose pairs lie side by side would meet in a bank.
LK_DEVICE unsigned sort_padded(unsigned i) { return i + i / 16 * 5; }

template <int L>
LK_DEVICE void sort_round(u64* tile, u64 start, u64 size, unsigned stride) {
  __syncthreads();
  for (unsigned t = threadIdx.x; t < 4 * blockDim.x >> L; t += blockDim.x) {
    const unsigned first = sort_first<L>(t, stride);
    u64 x[1 << L];
#pragma unroll
    for (int m = 0; m < 1 << L; ++m) x[m] = tile[sort_padded(first + m * stride)];
    sort_merge<L>(x, ((start + first) & size) == 0);
#pragma unroll
    for (int m = 0; m < 1 << L; ++m) tile[sort_padded(first + m * stride)] = x[m];
  }
}

LK_DEVICE void sort_tile(const lk_sort_args& a) {
  __shared__ u64 tile[kSortTile / 16 * 21];
  u64* pairs = a.pairs + blockIdx.y * a.count;
  const unsigned count = 4 * blockDim.x;
  const u64 start = u64(blockIdx.x) * count;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) tile[sort_padded(i)] = pairs[start + i];
  for (u64 size = a.size ? a.size : 2; size <= (a.size ? a.size : count); size *= 2) {
    // Two strides at a time, the first one alone where they are odd in number.
    unsigned stride = static_cast<unsigned>(size < count ? size : count) / 2;
    if (stride & 0x55555555u) {
      sort_round<1>(tile, start, size, stride);
      stride /= 2;
    }
    for (; stride > 0; stride /= 4) sort_round<2>(tile, start, size, stride / 2);
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) pairs[start + i] = tile[sort_padded(i)];
}

template <int L>
LK_DEVICE void sort_strides(const lk_sort_args& a) {
  const u64 t = u64(blockIdx.x) * blockDim.x + threadIdx.x, first = sort_first<L>(t, a.stride);
  u64* pairs = a.pairs + blockIdx.y * a.count + first;
  u64 x[1 << L];
#pragma unroll
  for (int m = 0; m < 1 << L; ++m) x[m] = pairs[m * a.stride];
  sort_merge<L>(x, (first & a.size) == 0);
#pragma unroll
  for (int m = 0; m < 1 << L; ++m) pairs[m * a.stride] = x[m];
}

LK_DEVICE void sort_step(const lk_sort_args& a) {
  switch (a.levels) {
    case 1: return sort_strides<1>(a);
    case 2: return sort_strides<2>(a);
    case 3: return sort_strides<3>(a);
    default: return sort_strides<4>(a);
  }
}

}  // namespace lk
