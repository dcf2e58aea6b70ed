// One 64 x 64 tile of a matrix product by 256 threads: f32 fused multiply-adds, sums over 64 of the depth at a time, added up in
// order: rounding grows with the root of the depth / 64.
//
// A and B are functors: a(i, p) and b(j, p) give elements of the tile's rows i and columns j (0 .. 63) at depth p, and
// 0 beyond the edges. kAlongDepth says that elements of one row lie side by side along the depth rather than along the
// row index: threads then load so that neighbours read neighbours. Thread (ty, tx) of 16 x 16 gets rows 4 ty .. and
// columns 4 tx .. + 3.
#pragma once
#include "../common.cuh"

namespace lk {

constexpr int kTile = 64, kDepth = 16, kMicro = 4, kTileThreads = 256;

struct ProductShared {
  float a[kDepth][kTile + 4];
  float b[kDepth][kTile + 4];
};

template <bool kAlongDepth, class M>
LK_DEVICE void load_strip(float (&to)[kDepth][kTile + 4], const M& m, u64 p) {
#pragma unroll
  for (int n = 0; n < kTile * kDepth / kTileThreads; ++n) {
    const int e = static_cast<int>(threadIdx.x) + n * kTileThreads;
    const int depth = kAlongDepth ? e % kDepth : e / kTile, i = kAlongDepth ? e / kDepth : e % kTile;
    to[depth][i] = m(i, p + depth);
  }
}

// Adds the products to `sum`. All threads of the block.
template <bool kAAlongDepth, bool kBAlongDepth, class A, class B>
LK_DEVICE void product_tile(ProductShared& shared, const A& a, const B& b, u64 depth, float (&sum)[kMicro][kMicro]) {
  const int row = static_cast<int>(threadIdx.x) / 16 * kMicro, column = static_cast<int>(threadIdx.x) % 16 * kMicro;
  float part[kMicro][kMicro] = {};
  for (u64 p = 0; p < depth; p += kDepth) {
    load_strip<kAAlongDepth>(shared.a, a, p);
    load_strip<kBAlongDepth>(shared.b, b, p);
    __syncthreads();
#pragma unroll
    for (int q = 0; q < kDepth; ++q) {
#pragma unroll
      for (int i = 0; i < kMicro; ++i) {
#pragma unroll
        for (int j = 0; j < kMicro; ++j) part[i][j] = fmaf(shared.a[q][row + i], shared.b[q][column + j], part[i][j]);
      }
    }
    __syncthreads();
    if ((p / kDepth + 1) % 4 != 0 && p + kDepth < depth) continue;
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        sum[i][j] += part[i][j];
        part[i][j] = 0.0f;
      }
    }
  }
}

// each(row, column, i, j) for the elements of this thread's part sum[i][j] of a tile that lie within a matrix of
// `rows` x `columns`; the tile's first is at `row`, `column`.
template <class Each>
LK_DEVICE void each_of_tile(u64 row, u64 column, u64 rows, u64 columns, Each each) {
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const u64 r = row + threadIdx.x / 16 * kMicro + i, c = column + threadIdx.x % 16 * kMicro + j;
      if (r < rows && c < columns) each(r, c, i, j);
    }
  }
}

}  // namespace lk
