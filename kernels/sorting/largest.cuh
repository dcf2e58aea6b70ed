// The k largest elements of each row, in descending order, the lower index first among equals; NaN counts as larger
// than any number.
#pragma once
#include "../skeletons/rows.cuh"
#include "../skeletons/sort.cuh"

// Mirrored by src/cuda/largest.rs.
struct lk_largest_args {
  const void* values;  // [rows][columns]
  uint32_t* found;     // [rows][k]
  uint64_t rows, columns, k;
  int32_t dtype;
};

namespace lk {

constexpr unsigned kLargestTile = 1024, kLargestThreads = 512;  // of largest_many

// Value and index of an element; larger ones come first, and all are above 0.
LK_DEVICE u64 largest_pair(float value, u64 index) { return sort_pair(order_key(value), ~static_cast<uint32_t>(index)); }
LK_DEVICE uint32_t largest_index(u64 pair) { return ~static_cast<uint32_t>(pair); }

// f(pair) for the elements of a row that this thread sweeps.
template <class F>
LK_DEVICE void largest_sweep(const void* z, const lk_largest_args& a, F f) {
  sweep(z, a.dtype, a.columns, [&](auto& x, u64 k) {
    constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
    for (int j = 0; j < N; ++j) f(largest_pair(x[j], k + j));
  });
}

// A sweep for each: the largest below the last.
LK_DEVICE void largest_few(const lk_largest_args& a) {
  struct Pair {
    uint32_t low, high;
  };
  __shared__ Pair scratch[32];
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.rows;
    const void* z = at(a.values, a.dtype, present ? r * a.columns : 0);
    u64 below = ~u64(0);
    for (u64 j = 0; j < a.k; ++j) {
      u64 best = 0;
      if (present) {
        largest_sweep(z, a, [&](u64 pair) {
          if (pair < below && pair > best) best = pair;
        });
      }
      const Pair mine = {static_cast<uint32_t>(best), static_cast<uint32_t>(best >> 32)};
      const Pair most = reduce_group(mine, Pair{0, 0}, scratch, [](const Pair& p, const Pair& q) {
        return p.high > q.high || (p.high == q.high && p.low > q.low) ? p : q;
      });
      below = u64(most.high) << 32 | most.low;
      if (present && threadIdx.x == 0) a.found[r * a.k + j] = largest_index(below);
      if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    }
  }
}

struct LargestShared {
  u64 tile[kLargestTile];
  uint32_t counts[2][256];
  uint32_t digit, need, exact, count;
};

// The n-th largest pair below `below`, or a lower one that no pair lies between: its digits one by one, from counts of
// the pairs that share those found so far. All threads of the block.
LK_DEVICE u64 largest_threshold(const void* z, const lk_largest_args& a, u64 below, uint32_t n, LargestShared& s) {
  u64 prefix = 0;
  uint32_t need = n;
  for (int shift = 56; shift >= 0; shift -= 8) {
    for (unsigned d = threadIdx.x; d < 256; d += blockDim.x) s.counts[0][d] = 0;
    __syncthreads();
    largest_sweep(z, a, [&](u64 pair) {
      if (pair < below && (shift == 56 || (pair ^ prefix) >> (shift + 8) == 0)) atomicAdd(&s.counts[0][pair >> shift & 255], 1u);
    });
    __syncthreads();
    // How many have this digit or a larger one.
    int from = 0;
    for (unsigned step = 1; step < 256; step *= 2) {
      for (unsigned d = threadIdx.x; d < 256; d += blockDim.x) {
        s.counts[1 - from][d] = s.counts[from][d] + (d + step < 256 ? s.counts[from][d + step] : 0u);
      }
      from = 1 - from;
      __syncthreads();
    }
    for (unsigned d = threadIdx.x; d < 256; d += blockDim.x) {
      const uint32_t upto = s.counts[from][d], larger = d < 255 ? s.counts[from][d + 1] : 0u;
      if (upto >= need && larger < need) {
        s.digit = d;
        s.need = need - larger;
        s.exact = upto == need;
      }
    }
    __syncthreads();
    prefix |= u64(s.digit) << shift;
    need = s.need;
    if (s.exact) break;
    __syncthreads();
  }
  return prefix;
}

// Sorts the first `size` pairs of the tile, a power of two, in descending order.
LK_DEVICE void largest_sort(u64* tile, unsigned size) {
  for (unsigned run = 2; run <= size; run *= 2) {
    for (unsigned stride = run / 2; stride > 0; stride /= 2) {
      for (unsigned t = threadIdx.x; t < size / 2; t += blockDim.x) {
        const unsigned i = 2 * stride * (t / stride) + t % stride;
        sort_exchange(tile[i], tile[i + stride], (i & run) != 0);
      }
      __syncthreads();
    }
  }
}

// A block for each row: those above a threshold, sorted in shared memory, as many at a time as it holds.
LK_DEVICE void largest_many(const lk_largest_args& a) {
  __shared__ LargestShared s;
  for (u64 r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const void* z = at(a.values, a.dtype, r * a.columns);
    u64 below = ~u64(0);
    for (u64 first = 0; first < a.k; first += kLargestTile) {
      const unsigned n = a.k - first < kLargestTile ? static_cast<unsigned>(a.k - first) : kLargestTile;
      const u64 threshold = a.columns - first <= kLargestTile ? 0 : largest_threshold(z, a, below, n, s);
      __syncthreads();
      if (threadIdx.x == 0) s.count = 0;
      __syncthreads();
      largest_sweep(z, a, [&](u64 pair) {
        if (pair >= threshold && pair < below) s.tile[atomicAdd(&s.count, 1u)] = pair;
      });
      __syncthreads();
      unsigned size = 2;
      while (size < s.count) size *= 2;
      for (unsigned i = s.count + threadIdx.x; i < size; i += blockDim.x) s.tile[i] = 0;
      __syncthreads();
      largest_sort(s.tile, size);
      for (unsigned i = threadIdx.x; i < n; i += blockDim.x) a.found[r * a.k + first + i] = largest_index(s.tile[i]);
      below = s.tile[n - 1];
      __syncthreads();
    }
  }
}

}  // namespace lk
