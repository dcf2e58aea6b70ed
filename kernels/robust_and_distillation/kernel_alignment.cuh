// |X|^2 / (|A| |B|) with X = a'b, A = a'a, B = b'b of centred columns, scaled by powers of two to about 1. Columns of a, then
// of b, in tiles of 64 that hold columns of one of them only. As src/losses/robust_and_distillation/kernel_alignment.
#pragma once
#include "losskit_args/kernel_alignment.h"
#include "../skeletons/product_tile.cuh"

// Mirrored by src/losses/robust_and_distillation/kernel_alignment/device.rs.
struct lk_alignment_args {
  lk_kernel_alignment_args call;
  double* header;        // scales of a and b, value, factors of X, A, B
  double* column_parts;  // [column_splits][2][d + k]: sums, largest sizes
  float* high;           // [d + k]: mean times scale ...
  float* low;            // ... and what f32 cannot hold of it
  double* norm_parts;    // [parts][3]: |X|^2, |A|^2, |B|^2
  double* products;      // [sample_splits][tiles][64][64]
  float* weights;        // [2][count][n]
  uint64_t column_splits, sample_splits, parts, first, count;
  int32_t by_samples, padding;
};

namespace lk {

constexpr u64 kAlignmentDepth = 1024;

struct AlignmentNorms {
  double x, a, b;
};

LK_DEVICE AlignmentNorms add_norms(const AlignmentNorms& p, const AlignmentNorms& q) {
  return {p.x + q.x, p.a + q.a, p.b + q.b};
}

// One of the inputs: (r, j) is a centred, scaled value, 0 beyond the edges.
struct AlignmentInput {
  const void* values;
  const float *high, *low;
  u64 rows, columns;
  float scale;
  int dtype;
  LK_DEVICE AlignmentInput(const lk_alignment_args& a, bool second)
      : values(second ? a.call.b : a.call.a), high(a.high + (second ? a.call.d : 0)), low(a.low + (second ? a.call.d : 0)),
        rows(a.call.n), columns(second ? a.call.k : a.call.d), scale(static_cast<float>(a.header[second ? 1 : 0])),
        dtype(a.call.dtype) {}
  LK_DEVICE float at(u64 r, u64 j) const {
    if (r >= rows || j >= columns) return 0.0f;
    return __fsub_rn(__fsub_rn(__fmul_rn(load1(values, dtype, r * columns + j), scale), high[j]), low[j]);
  }
};

// Columns from `first` on as rows of a product over samples.
struct AlignmentColumns {
  AlignmentInput input;
  u64 first, sample, end;
  LK_DEVICE float operator()(int i, u64 p) const { return sample + p < end ? input.at(sample + p, first + i) : 0.0f; }
};

// Samples from `first` on as rows of a product over columns.
struct AlignmentSamples {
  AlignmentInput input;
  u64 first, column;
  LK_DEVICE float operator()(int i, u64 p) const { return input.at(first + i, column + p); }
};

// A tile number t as row >= column.
LK_DEVICE void alignment_tile(u64 t, u64& row, u64& column) {
  row = static_cast<u64>((sqrt(8.0 * static_cast<double>(t) + 1.0) - 1.0) / 2.0);
  while (row * (row + 1) / 2 > t) --row;
  while ((row + 1) * (row + 2) / 2 <= t) ++row;
  column = t - row * (row + 1) / 2;
}

LK_DEVICE u64 tiles_of(u64 columns) { return (columns + kTile - 1) / kTile; }

// Adds the product over `depth` columns of samples to K or L.
LK_DEVICE void alignment_kernel(
    ProductShared& shared, const AlignmentInput& input, u64 row, u64 column, double (&sum)[kMicro][kMicro]) {
  for (u64 first = 0; first < input.columns; first += kAlignmentDepth) {
    const u64 left = input.columns - first, depth = left < kAlignmentDepth ? left : kAlignmentDepth;
    float part[kMicro][kMicro] = {};
    product_tile<true, true>(shared, AlignmentSamples{input, row, first}, AlignmentSamples{input, column, first}, depth, part);
    for (int i = 0; i < kMicro; ++i) {
      for (int j = 0; j < kMicro; ++j) sum[i][j] += part[i][j];
    }
  }
}

// z'z with the factors of its blocks, from the tiles of its lower half: (j, p) is row p of one input, column first + j.
struct AlignmentProducts {
  const double* products;
  u64 tile_columns;  // that of column `first`
  u64 tile_rows;     // the first of the rows' input
  double factor;
  u64 rows;
  LK_DEVICE float operator()(int j, u64 p) const {
    if (p >= rows) return 0.0f;
    const u64 tile = tile_rows + p / kTile, i = p % kTile;
    const bool lower = tile >= tile_columns;
    const u64 row = lower ? tile : tile_columns, column = lower ? tile_columns : tile;
    const u64 at = (row * (row + 1) / 2 + column) * kTile * kTile;
    return static_cast<float>(factor * products[at + (lower ? i * kTile + j : j * kTile + i)]);
  }
};

// Weights of pairs of samples.
struct AlignmentWeights {
  const float* weights;
  u64 row, rows, n;
  LK_DEVICE float operator()(int i, u64 p) const { return row + i < rows && p < n ? weights[(row + i) * n + p] : 0.0f; }
};

// Columns of one input along the samples.
struct AlignmentRight {
  AlignmentInput input;
  u64 first;
  LK_DEVICE float operator()(int j, u64 p) const { return input.at(p, first + j); }
};

}  // namespace lk
