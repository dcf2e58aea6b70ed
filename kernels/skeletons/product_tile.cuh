// One tile of a matrix product, 64 x 64, by 256 threads, in f32, of factors that are made on the way; those that lie in
// memory go through matrix_product.cuh. Sums over 64 of the depth at a time, added up in order: rounding grows with the
// root of the depth / 64.
//
// A and B are functors: a(i, p) is row i of the tile (from 0) at depth p, b(j, p) column j, and 0 beyond the edges.
// kAlongDepth says that neighbouring threads should ask for elements along the depth rather than along i. The next strip is
// on its way while this one is multiplied.
#pragma once
#include "../common.cuh"

namespace lk {

constexpr int kTile = 64, kDepth = 16, kMicro = 4, kTileThreads = 256;

// Of a strip, padded so that stores of runs along the depth do not meet in a bank.
struct alignas(16) Strips {
  float a[kDepth][kTile + 8];
  float b[kDepth][kTile + 8];
};
using ProductShared = Strips[2];

// A thread has rows and columns side by side.
LK_DEVICE int tile_row(int i = 0) { return static_cast<int>(threadIdx.x) / 16 * kMicro + i; }
LK_DEVICE int tile_column(int j = 0) { return static_cast<int>(threadIdx.x) % 16 * kMicro + j; }

// Where in a strip row or column i is at some depth.
LK_DEVICE int strip_place(int depth, int i) { return i ^ (depth / 4 % 4 * 8); }

struct alignas(16) Floats4 {
  float v[4];
};
LK_DEVICE const float (&four(const float* p))[4] { return reinterpret_cast<const Floats4*>(p)->v; }

// This thread's share of a strip: four along the depth of one i, or along i at one depth.
template <bool kAlongDepth>
struct Share {
  float x[4];

  static LK_DEVICE int i() { return kAlongDepth ? static_cast<int>(threadIdx.x) / 4 : static_cast<int>(threadIdx.x) % 16 * 4; }
  static LK_DEVICE int depth() { return kAlongDepth ? static_cast<int>(threadIdx.x) % 4 * 4 : static_cast<int>(threadIdx.x) / 16; }

  template <class M>
  LK_DEVICE void get(const M& m, u64 p) {
#pragma unroll
    for (int j = 0; j < 4; ++j) x[j] = kAlongDepth ? m(i(), p + depth() + j) : m(i() + j, p + depth());
  }
  LK_DEVICE void put(float (&strip)[kDepth][kTile + 8]) const {
    const int place = strip_place(depth(), i());
    if constexpr (kAlongDepth) {
#pragma unroll
      for (int j = 0; j < 4; ++j) strip[depth() + j][place] = x[j];
    } else {
      *reinterpret_cast<Floats4*>(&strip[depth()][place]) = {{x[0], x[1], x[2], x[3]}};
    }
  }
};

// Adds the products to `sum`. All threads of the block; none is at `shared` any more when it returns.
template <bool kAAlongDepth, bool kBAlongDepth, class A, class B>
LK_DEVICE void product_tile(ProductShared& shared, const A& a, const B& b, u64 depth, float (&sum)[kMicro][kMicro]) {
  if (depth == 0) return;
  Share<kAAlongDepth> of_a;
  Share<kBAlongDepth> of_b;
  of_a.get(a, 0);
  of_b.get(b, 0);
  of_a.put(shared[0].a);
  of_b.put(shared[0].b);
  __syncthreads();
  float part[kMicro][kMicro] = {};
  int now = 0;
  for (u64 p = 0;;) {
    const u64 next = p + kDepth;
    const bool more = next < depth;
    if (more) {
      of_a.get(a, next);
      of_b.get(b, next);
    }
#pragma unroll
    for (int q = 0; q < kDepth; ++q) {
      const auto& left = four(&shared[now].a[q][strip_place(q, tile_row())]);
      const auto& right = four(&shared[now].b[q][strip_place(q, tile_column())]);
#pragma unroll
      for (int e = 0; e < kMicro * kMicro; ++e) {
        float& to = part[e / kMicro][e % kMicro];
        to = fmaf(left[e / kMicro], right[e % kMicro], to);
      }
    }
    if (next % 64 == 0 || !more) {
#pragma unroll
      for (int e = 0; e < kMicro * kMicro; ++e) {
        sum[e / kMicro][e % kMicro] += part[e / kMicro][e % kMicro];
        part[e / kMicro][e % kMicro] = 0.0f;
      }
    }
    if (!more) break;
    now ^= 1;
    of_a.put(shared[now].a);
    of_b.put(shared[now].b);
    __syncthreads();
    p = next;
  }
  __syncthreads();
}

// each(row, column, i, j) for the elements of this thread's part sum[i][j] of a tile that lie within a matrix of `rows` x
// `columns`; the tile's first is at `row`, `column`.
template <class Each>
LK_DEVICE void each_of_tile(u64 row, u64 column, u64 rows, u64 columns, Each each) {
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const u64 r = row + tile_row(i), c = column + tile_column(j);
      if (r < rows && c < columns) each(r, c, i, j);
    }
  }
}

}  // namespace lk
