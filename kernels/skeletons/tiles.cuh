// Losses on the matrix S = alpha X Y' of the similarities of rows, of which only a tile at a time exists.
//
// A block owns 64 rows of X and meets all rows of Y, 64 at a time: 16 x 16 threads with 4 x 4 similarities each.
// What belongs to columns of the matrix comes from a second launch with X and Y exchanged (`side`), so nothing is
// ever added up by two blocks: no atomics, the same bits in every run. Plain f32 multiply-adds.
//
// A loss is a functor:
//   using Args;                              has lk_tiles tiles
//   Loss(args)
//   struct Stat; Stat init(); Stat merge(Stat, Stat)      merge must not depend on which thread does it
//   void add(Stat&, owner, other[4], s[4], count)         similarities of a row, `count` <= 4 of them
//   void finish(owner, Stat)                 by one thread per row
//   float weight(owner, other, s)            dloss/dS
#pragma once
#include "../common.cuh"

// Mirrored by src/cuda/tiles.rs.
struct lk_tiles {
  const float* x;         // [owners, d]
  const float* y;         // [others, d]
  uint64_t owners, others, d;
  const float* scale;     // times alpha; NULL = 1
  float* gradient;        // [owners, d]: sum_j W_ij y_j is written
  float alpha;
  int32_t side;           // 0: rows of the matrix are owners, 1: its columns
};

namespace lk {

constexpr int kTile = 64, kDepth = 16, kMicro = 4, kSide = kTile / kMicro;
constexpr int kPad = kTile + 4;

struct TileMemory {
  float x[kDepth][kPad];
  float y[kDepth][kPad];
};

struct Micro {
  float v[kMicro][kMicro];
};

LK_DEVICE float tiles_alpha(const lk_tiles& t) { return t.scale ? t.alpha * *t.scale : t.alpha; }

// Row `first + i`, i < 64, of a matrix, elements k .. k + 15, into panel[k][i]; 0 beyond the end.
LK_DEVICE void load_panel(const float* from, u64 rows, u64 d, u64 first, u64 k, float (&panel)[kDepth][kPad]) {
  const unsigned t = threadIdx.y * kSide + threadIdx.x, i = t / 4, q = t % 4 * 4;
  const u64 row = first + i;
#pragma unroll
  for (unsigned j = 0; j < 4; ++j) {
    const u64 at = k + q + j;
    panel[q + j][i] = row < rows && at < d ? from[row * d + at] : 0.0f;
  }
}

LK_DEVICE void multiply_panels(const float (&x)[kDepth][kPad], const float (&y)[kDepth][kPad], Micro& sum) {
#pragma unroll
  for (int k = 0; k < kDepth; ++k) {
    float left[kMicro], right[kMicro];
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
      left[i] = x[k][threadIdx.y * kMicro + i];
      right[i] = y[k][threadIdx.x * kMicro + i];
    }
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) sum.v[i][j] = fmaf(left[i], right[j], sum.v[i][j]);
    }
  }
}

// This thread's similarities: owners first + 4 y + i, others second + 4 x + j.
LK_DEVICE Micro similarities(const lk_tiles& t, u64 first, u64 second, TileMemory& memory) {
  Micro sum = {};
  for (u64 k = 0; k < t.d; k += kDepth) {
    __syncthreads();
    load_panel(t.x, t.owners, t.d, first, k, memory.x);
    load_panel(t.y, t.others, t.d, second, k, memory.y);
    __syncthreads();
    multiply_panels(memory.x, memory.y, sum);
  }
  const float alpha = tiles_alpha(t);
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) sum.v[i][j] *= alpha;
  }
  return sum;
}

template <class Loss>
LK_DEVICE void tile_statistics(const typename Loss::Args& a) {
  __shared__ TileMemory memory;
  const lk_tiles& t = a.tiles;
  Loss loss(a);
  for (u64 first = u64(blockIdx.x) * kTile; first < t.owners; first += u64(gridDim.x) * kTile) {
    const u64 mine = first + threadIdx.y * kMicro;
    typename Loss::Stat stats[kMicro];
#pragma unroll
    for (int i = 0; i < kMicro; ++i) stats[i] = loss.init();
    for (u64 second = 0; second < t.others; second += kTile) {
      const Micro s = similarities(t, first, second, memory);
      const u64 other = second + threadIdx.x * kMicro;
      const int count = other >= t.others ? 0 : t.others - other < kMicro ? static_cast<int>(t.others - other) : kMicro;
#pragma unroll
      for (int i = 0; i < kMicro; ++i) {
        if (mine + i < t.owners) loss.add(stats[i], mine + i, other, s.v[i], count);
      }
    }
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
      const auto merged = reduce_lanes(stats[i], kSide, [&](const auto& p, const auto& q) { return loss.merge(p, q); });
      if (threadIdx.x == 0 && mine + i < t.owners) loss.finish(mine + i, merged);
    }
  }
}

template <class Loss>
LK_DEVICE void tile_gradients(const typename Loss::Args& a) {
  __shared__ TileMemory memory;
  __shared__ float weights[kTile][kPad];  // [other][owner]
  const lk_tiles& t = a.tiles;
  Loss loss(a);
  for (u64 first = u64(blockIdx.x) * kTile; first < t.owners; first += u64(gridDim.x) * kTile) {
    const u64 mine = first + threadIdx.y * kMicro;
    for (u64 second = 0; second == 0 || second < t.others; second += kTile) {
      const Micro s = similarities(t, first, second, memory);
      const u64 other = second + threadIdx.x * kMicro;
#pragma unroll
      for (int i = 0; i < kMicro; ++i) {
#pragma unroll
        for (int j = 0; j < kMicro; ++j) {
          const bool inside = mine + i < t.owners && other + j < t.others;
          const float w = inside ? loss.weight(mine + i, other + j, s.v[i][j]) : 0.0f;
          weights[threadIdx.x * kMicro + j][threadIdx.y * kMicro + i] = w;
        }
      }
      for (u64 k = 0; k < t.d; k += kTile) {
        Micro sum = {};
        for (int j = 0; j < kTile; j += kDepth) {
          __syncthreads();
          // 16 others by 64 elements.
          const unsigned flat = threadIdx.y * kSide + threadIdx.x, row = flat / kSide, q = flat % kSide * kMicro;
#pragma unroll
          for (unsigned e = 0; e < kMicro; ++e) {
            const u64 from = second + j + row, at = k + q + e;
            memory.y[row][q + e] = from < t.others && at < t.d ? t.y[from * t.d + at] : 0.0f;
          }
          __syncthreads();
          const auto& slice = *reinterpret_cast<const float(*)[kDepth][kPad]>(&weights[j]);
          multiply_panels(slice, memory.y, sum);
        }
#pragma unroll
        for (int i = 0; i < kMicro; ++i) {
#pragma unroll
          for (int e = 0; e < kMicro; ++e) {
            const u64 at = k + threadIdx.x * kMicro + e;
            if (mine + i >= t.owners || at >= t.d) continue;
            float* g = t.gradient + (mine + i) * t.d + at;
            *g = second == 0 ? sum.v[i][e] : *g + sum.v[i][e];
          }
        }
      }
    }
  }
}

}  // namespace lk
