// Losses on the matrix S = alpha X Y' of the similarities of rows, of which only a tile at a time exists.
//
// Statistics: a block owns 128 rows of X and meets its share of the rows of Y, 128 at a time; the shares of an owner are
// merged in order by a second kernel. What belongs to columns of the matrix comes from another launch with X and Y
// exchanged (`side`). Gradients: dloss/dS of a tile is written to the workspace, and gather.cu multiplies it by the
// rows of either side. Nothing is ever added up by two blocks: no atomics, the same bits in every run.
//
// A loss is a functor:
//   using Args;                              has lk_tiles tiles
//   Loss(args)
//   struct Stat; Stat init(); Stat merge(Stat, Stat)      merge must not depend on which thread does it
//   void add(Stat&, owner, other, s[8], count)            similarities of a row with other .., `count` <= 8 of them
//   void finish(owner, Stat)                 by one thread per row
//   float weight(row, column, s)             dloss/dS
#pragma once
#include "matrix_product.cuh"

// Mirrored by src/cuda/tiles.rs.
struct lk_tiles {
  const void* x;          // [owners, stride], as embeddings.cu leaves them
  const void* y;          // [others, stride]
  const float* x_unit;    // [owners]: times x; NULL = 1
  const float* y_unit;    // [others]
  const float* scale;     // times alpha; NULL = 1
  void* partials;         // [owners][partials_of_owner] statistics
  void* tile;             // [parts][tile_rows][tile_stride]: dloss/dS times both units
  uint64_t owners, others, d, stride;
  uint64_t first_row, tile_rows, first_column, tile_columns, tile_stride;
  float alpha;
  int32_t side;           // 0: rows of the matrix are owners, 1: its columns
  int32_t splits;
  int32_t partials_of_owner;
};

namespace lk {

// By what embeddings.cu leaves: f32; f32 that holds f16, whose range dloss/dS would not fit; bf16.
using OfFloats = Product<LK_DTYPE_F32>;
using OfHalves = Product<LK_DTYPE_F32, 1, Words::kHalves>;
using OfBfloats = Product<LK_DTYPE_BF16>;

// Owners from `first` on by others from `second` on, below `end`; in units of both.
template <class P>
LK_DEVICE void similarities(const lk_tiles& t, u64 first, u64 second, u64 end, unsigned char* shared, typename P::Sum& s) {
  matrix_product<P, true, true>(
      shared, panel(t.x, P::kDtype, t.stride, t.owners, t.d, first, 0), panel(t.y, P::kDtype, t.stride, end, t.d, second, 0), t.d, s);
}

// What units and scale make of them.
struct SimilarityScale {
  const lk_tiles& t;
  float alpha;
  LK_DEVICE explicit SimilarityScale(const lk_tiles& tiles) : t(tiles), alpha(t.scale ? t.alpha * *t.scale : t.alpha) {}
  LK_DEVICE float of_owner(u64 owner) const { return t.x_unit ? t.x_unit[owner] : 1.0f; }
  LK_DEVICE float of_other(u64 other) const { return t.y_unit ? t.y_unit[other] : 1.0f; }
  LK_DEVICE void operator()(float (&s)[8], float of_row, u64 other, int left) const {
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (e < left) s[e] = s[e] * of_other(other + e) * of_row * alpha;
    }
  }
};

template <class Loss, class P>
LK_DEVICE void tile_statistics(const typename Loss::Args& a) {
  using Stat = typename Loss::Stat;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  __shared__ Stat running[kSide][P::kLanes];
  const lk_tiles& t = a.tiles;
  const SimilarityScale scale(t);
  const u64 first = u64(blockIdx.x) * kSide;
  const PartOf part(t.others, static_cast<u64>(t.splits), blockIdx.y);
  Loss loss(a);
  for (int n = static_cast<int>(threadIdx.x); n < kSide * P::kLanes; n += P::kThreads) running[n / P::kLanes][n % P::kLanes] = loss.init();
  __syncthreads();
  for (u64 second = part.start; second < part.end; second += kSide) {
    typename P::Sum s;
    similarities<P>(t, first, second, part.end, shared, s);
    each_row<P>(shared, s, t.owners - first, part.end - second, [&](int row, auto chunks) {
      const float of_row = scale.of_owner(first + row);
      Stat stat = running[row][P::lane_of_row()];
      chunks([&](int column, int left, float (&x)[8]) {
        scale(x, of_row, second + column, left);
        loss.add(stat, first + row, second + column, x, left);
      });
      running[row][P::lane_of_row()] = stat;
    });
  }
  for (int n = static_cast<int>(threadIdx.x); n < kSide * P::kLanes; n += P::kThreads) {
    const u64 owner = first + n / P::kLanes;
    if (owner >= t.owners) continue;
    static_cast<Stat*>(t.partials)[owner * t.partials_of_owner + blockIdx.y * P::kLanes + n % P::kLanes] = running[n / P::kLanes][n % P::kLanes];
  }
}

template <class Loss>
LK_DEVICE void tile_finish(const typename Loss::Args& a) {
  const lk_tiles& t = a.tiles;
  using Stat = typename Loss::Stat;
  Loss loss(a);
  for (u64 owner = u64(blockIdx.x) * blockDim.x + threadIdx.x; owner < t.owners; owner += u64(gridDim.x) * blockDim.x) {
    const Stat* parts = static_cast<const Stat*>(t.partials) + owner * t.partials_of_owner;
    Stat stat = parts[0];
    for (int i = 1; i < t.partials_of_owner; ++i) stat = loss.merge(stat, parts[i]);
    loss.finish(owner, stat);
  }
}

// Side 0.
template <class Loss, class P>
LK_DEVICE void tile_weights(const typename Loss::Args& a) {
  LK_DYNAMIC_SHARED(unsigned char, shared);
  const lk_tiles& t = a.tiles;
  const SimilarityScale scale(t);
  Loss loss(a);
  const u64 i0 = u64(blockIdx.y) * kSide, j0 = u64(blockIdx.x) * kSide;
  const u64 first = t.first_row + i0, second = t.first_column + j0, end = t.first_column + t.tile_columns;
  typename P::Sum s;
  similarities<P>(t, first, second, end, shared, s);
  each_row<P>(shared, s, t.tile_rows - i0, end - second, [&](int row, auto chunks) {
    const float of_row = scale.of_owner(first + row);
    chunks([&](int column, int left, float (&x)[8]) {
      const u64 other = second + column;
      scale(x, of_row, other, left);
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        x[e] = e < left ? loss.weight(first + row, other + e, x[e]) * of_row * scale.of_other(other + e) : 0.0f;
      }
      put_parts<P::kDtype>(t.tile, (i0 + row) * t.tile_stride + j0 + column, t.tile_rows * t.tile_stride, left, x);
    });
  });
}

}  // namespace lk
