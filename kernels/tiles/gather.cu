// Gradients of rows from a tile of dloss/dS: G = W Y^ or W' X^, in parts of the depth so that few rows still fill the GPU.
// Operations: 2 per element of the tile and column of Y. Bound: multiply-adds; on tensor cores where rows come from f16
// or bf16, W in two parts. The tile lies in L2.
#include "../skeletons/product_tile.cuh"

// Mirrored by src/cuda/tiles.rs.
struct lk_gather_args {
  const float* tile;      // [tile_rows][tile_columns]
  const float* values;    // [depth][d]: the side that is summed over
  const float* unit;      // [depth]: times values; NULL = 1
  float* parts;           // [count][owners][d]
  float* gradient;        // [owners][d]
  uint64_t tile_rows, tile_columns, d;
  int32_t columns_own;    // the gradient is that of the columns' side
  int32_t count;
  int32_t first;          // the gradient has nothing yet
  int32_t halves;
};

namespace lk {

LK_DEVICE u64 gather_owners(const lk_gather_args& a) { return a.columns_own ? a.tile_columns : a.tile_rows; }
LK_DEVICE u64 gather_depth(const lk_gather_args& a) { return a.columns_own ? a.tile_rows : a.tile_columns; }

// Owners from `owner` on by the others from `start` to `end`, with the others' units.
struct GatherWeights {
  const lk_gather_args& a;
  u64 owner, start, end;

  template <bool kAlongDepth>
  LK_DEVICE void load(int i, u64 p, float (&x)[4]) const {
    const u64 other = start + p, mine = owner + i, owners = gather_owners(a);
    const u64 across = kAlongDepth ? (other < end ? end - other : 0) : (mine < owners ? owners - mine : 0);
    const u64 left = mine < owners && other < end ? across : 0;
    const u64 place = kAlongDepth ? mine * a.tile_columns + other : other * a.tile_columns + mine;
    load_run(a.tile + (left ? place : 0), LK_DTYPE_F32, left, x);
    if (!a.unit) return;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const u64 at = kAlongDepth ? other + j : other;
      if (at < end) x[j] *= a.unit[at];
    }
  }
};

template <bool kColumnsOwn>
LK_DEVICE void gather(const lk_gather_args& a, ProductMemory<kTallTile>& shared) {
  const PartOf part(gather_depth(a), static_cast<u64>(a.count), blockIdx.z);
  const u64 i0 = u64(blockIdx.y) * kTallTile, j0 = u64(blockIdx.x) * kTile, owners = gather_owners(a);
  TallTile::Sum sum = {};
  if (part.start < part.end) {
    product_tile<!kColumnsOwn, false>(
        shared, GatherWeights{a, i0, part.start, part.end},
        Matrix{a.values, LK_DTYPE_F32, a.d, part.end, a.d, part.start, j0}, part.end - part.start, sum,
        a.halves ? Operands::kFloatsHalves : Operands::kFloats);
  }
  float* out = a.parts + blockIdx.z * owners * a.d;
  each_run_of_tile<kTallTile>(i0, j0, owners, a.d, sum, [&](u64 r, u64 p, u64 left, int, const Floats4& x) {
    put_run(out + r * a.d + p, x, left);
  });
}

}  // namespace lk

LK_KERNEL(tiles_gather, lk_gather_args, lk::kTileThreads, 2) {
  __shared__ lk::ProductMemory<lk::kTallTile> shared;
  if (a.columns_own) {
    lk::gather<true>(a, shared);
  } else {
    lk::gather<false>(a, shared);
  }
}

LK_KERNEL(tiles_add, lk_gather_args, lk::kTileThreads) {
  using lk::u64;
  const u64 n = lk::gather_owners(a) * a.d, step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < n; e += step) {
    float sum = a.first ? 0.0f : a.gradient[e];
    for (int z = 0; z < a.count; ++z) sum += a.parts[z * n + e];
    a.gradient[e] = sum;
  }
}
