// Losses on the matrix S = alpha X Y' of the similarities of rows, of which only a tile at a time exists.
//
// Statistics: a block owns 128 rows of X and meets its share of the rows of Y, 64 at a time; the shares of an owner are
// merged in order by a second kernel. What belongs to columns of the matrix comes from another launch with X and Y
// exchanged (`side`). Gradients: dloss/dS of a tile is written to the workspace, and gather.cu multiplies it by the
// rows of either side. Nothing is ever added up by two blocks: no atomics, the same bits in every run.
//
// A loss is a functor:
//   using Args;                              has lk_tiles tiles
//   Loss(args)
//   struct Stat; Stat init(); Stat merge(Stat, Stat)      merge must not depend on which thread does it
//   void add(Stat&, owner, other, s[4], count)            similarities of a row with other .., `count` <= 4 of them
//   void finish(owner, Stat)                 by one thread per row
//   float weight(row, column, s)             dloss/dS
#pragma once
#include "product_tile.cuh"

// Mirrored by src/cuda/tiles.rs.
struct lk_tiles {
  const float* x;         // [owners, d]
  const float* y;         // [others, d]
  const float* x_unit;    // [owners]: times x; NULL = 1
  const float* y_unit;    // [others]
  const float* scale;     // times alpha; NULL = 1
  void* partials;         // [owners][splits] statistics
  float* tile;            // [tile_rows][tile_columns]: dloss/dS
  uint64_t owners, others, d;
  uint64_t first_row, tile_rows, first_column, tile_columns;
  float alpha;
  int32_t side;           // 0: rows of the matrix are owners, 1: its columns
  int32_t splits;
  int32_t halves;         // x and y hold values of f16 or bf16
};

namespace lk {

// Owners from `first` on, others from `second` on.
LK_DEVICE void similarities(const lk_tiles& t, u64 first, u64 second, ProductMemory<kTallTile>& shared, TallTile::Sum& s) {
#pragma unroll
  for (auto& row : s) {
#pragma unroll
    for (float& e : row) e = 0.0f;
  }
  product_tile<true, true>(
      shared, Matrix{t.x, LK_DTYPE_F32, t.d, t.owners, t.d, first, 0}, Matrix{t.y, LK_DTYPE_F32, t.d, t.others, t.d, second, 0},
      t.d, s, t.halves ? Operands::kHalves : Operands::kFloats);
  const float alpha = t.scale ? t.alpha * *t.scale : t.alpha;
#pragma unroll
  for (int j = 0; j < TallTile::kColumns; ++j) {
    const u64 other = second + TallTile::column(j);
    const float unit = t.y_unit && other < t.others ? t.y_unit[other] : 1.0f;
#pragma unroll
    for (int i = 0; i < kMicro; ++i) s[i][j] *= unit;
  }
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const u64 owner = first + TallTile::row(i);
    const float unit = t.x_unit && owner < t.owners ? t.x_unit[owner] : 1.0f;
#pragma unroll
    for (int j = 0; j < TallTile::kColumns; ++j) s[i][j] = s[i][j] * unit * alpha;
  }
}

template <class Loss>
LK_DEVICE void tile_statistics(const typename Loss::Args& a) {
  __shared__ ProductMemory<kTallTile> shared;
  const lk_tiles& t = a.tiles;
  using Stat = typename Loss::Stat;
  Loss loss(a);
  const u64 first = u64(blockIdx.x) * kTallTile;
  const PartOf part(t.others, static_cast<u64>(t.splits), blockIdx.y);
  Stat stats[kMicro];
#pragma unroll
  for (Stat& stat : stats) stat = loss.init();
  for (u64 second = part.start; second < part.end; second += kTile) {
    TallTile::Sum s;
    similarities(t, first, second, shared, s);
    each_run_of_tile<kTallTile>(first, second, t.owners, part.end, s, [&](u64 owner, u64 other, u64 left, int i, const Floats4& x) {
      loss.add(stats[i], owner, other, x.v, left < kMicro ? static_cast<int>(left) : kMicro);
    });
  }
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const Stat merged = reduce_lanes(stats[i], TallTile::kAcross, [&](const Stat& p, const Stat& q) { return loss.merge(p, q); });
    const u64 owner = first + TallTile::row(i);
    if (threadIdx.x % TallTile::kAcross == 0 && owner < t.owners) static_cast<Stat*>(t.partials)[owner * t.splits + blockIdx.y] = merged;
  }
}

template <class Loss>
LK_DEVICE void tile_finish(const typename Loss::Args& a) {
  const lk_tiles& t = a.tiles;
  using Stat = typename Loss::Stat;
  Loss loss(a);
  for (u64 owner = u64(blockIdx.x) * blockDim.x + threadIdx.x; owner < t.owners; owner += u64(gridDim.x) * blockDim.x) {
    const Stat* parts = static_cast<const Stat*>(t.partials) + owner * t.splits;
    Stat stat = parts[0];
    for (int i = 1; i < t.splits; ++i) stat = loss.merge(stat, parts[i]);
    loss.finish(owner, stat);
  }
}

// Side 0.
template <class Loss>
LK_DEVICE void tile_weights(const typename Loss::Args& a) {
  __shared__ ProductMemory<kTallTile> shared;
  const lk_tiles& t = a.tiles;
  Loss loss(a);
  const u64 first = t.first_row + u64(blockIdx.y) * kTallTile, last = t.first_row + t.tile_rows;
  const u64 second = t.first_column + u64(blockIdx.x) * kTile, end = t.first_column + t.tile_columns;
  TallTile::Sum s;
  similarities(t, first, second, shared, s);
  each_run_of_tile<kTallTile>(first, second, last, end, s, [&](u64 row, u64 column, u64 left, int, const Floats4& x) {
    Floats4 w;
#pragma unroll
    for (int j = 0; j < kMicro; ++j) w.v[j] = static_cast<u64>(j) < left ? loss.weight(row, column + j, x.v[j]) : 0.0f;
    put_run(t.tile + (row - t.first_row) * t.tile_columns + (column - t.first_column), w, left);
  });
}

}  // namespace lk
