// States of an associative memory and its patterns: overlaps O = S X' and fields H = O X, in tiles of 64 x 64 by 256
// threads. The n x n couplings X'X between the two never exist.
#pragma once
#include "product_tile.cuh"

namespace lk {

// Rows of n elements.
struct PatternRows {
  const void* data;
  int dtype;
  u64 count, n;
  LK_DEVICE Operands operands(Operands of_halves) const { return dtype == LK_DTYPE_F32 ? Operands::kFloats : of_halves; }
  LK_DEVICE Matrix from(u64 i, u64 k) const { return {data, dtype, n, count, n, i, k}; }
};

// out[b][k] = states_b . points_k
LK_DEVICE void overlap_tiles(const PatternRows& states, const PatternRows& points, float* out) {
  __shared__ ProductShared shared;
  const u64 across = (points.count + kTile - 1) / kTile, down = (states.count + kTile - 1) / kTile;
  for (u64 tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
    const u64 b0 = tile / across * kTile, k0 = tile % across * kTile;
    float sum[kMicro][kMicro] = {};
    product_tile<true, true>(
        shared, states.from(b0, 0), points.from(k0, 0), points.n, sum, points.operands(Operands::kHalves));
    each_of_tile(b0, k0, states.count, points.count,
                 [&](u64 b, u64 k, int i, int j) { out[b * points.count + k] = sum[i][j]; });
  }
}

// each(b, i, sum over k of overlaps[b][k] points[k][i])
template <class Each>
LK_DEVICE void field_tiles(const float* overlaps, u64 batch, const PatternRows& points, Each each) {
  __shared__ ProductShared shared;
  const u64 across = (points.n + kTile - 1) / kTile, down = (batch + kTile - 1) / kTile;
  for (u64 tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
    const u64 b0 = tile / across * kTile, i0 = tile % across * kTile;
    float sum[kMicro][kMicro] = {};
    const Matrix left = {overlaps, LK_DTYPE_F32, points.count, batch, points.count, b0, 0};
    product_tile<true, false>(
        shared, left, points.from(0, i0), points.count, sum, points.operands(Operands::kFloatsHalves));
    each_of_tile(b0, i0, batch, points.n, [&](u64 b, u64 at, int i, int j) { each(b, at, sum[i][j]); });
  }
}

}  // namespace lk
