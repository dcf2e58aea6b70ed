// Distances of points to their k-th nearest other point: all pairs in the tiles of the Gram skeleton, and for
// every row the k smallest squares so far in the workspace.
#pragma once
#include "gram.cuh"

// Mirrored by src/cuda/neighbors.rs.
struct lk_neighbors_limits_args {
  const float* values;
  uint64_t count;
  float* limits;  // [blocks][2]: smallest size of a number that is not 0; 1 if some are not finite
};

struct lk_neighbors_args {
  lk_gram_pairs pairs;  // the points with themselves, scale 1
  uint64_t k;
  const float* limits;
  uint64_t n_limits;
  float* nearest;    // [rows][k]
  float* distances;  // [rows]
};

namespace lk {

// Of all blocks.
struct NeighborsLimits {
  float smallest;
  bool finite;
};

LK_DEVICE NeighborsLimits neighbors_limits(const float* limits, u64 n) {
  NeighborsLimits all = {infinity(), true};
  for (u64 i = 0; i < n; ++i) {
    all.smallest = limits[2 * i] < all.smallest ? limits[2 * i] : all.smallest;
    all.finite = all.finite && limits[2 * i + 1] == 0.0f;
  }
  return all;
}

LK_DEVICE void neighbors_find_limits(const lk_neighbors_limits_args& a) {
  __shared__ float scratch[32];
  float smallest = infinity(), bad = 0.0f;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.count; i += step) {
    const float size = fabsf(a.values[i]);
    if (size > 0.0f && size < smallest) smallest = size;
    if (!(size <= kLargest)) bad = 1.0f;
  }
  smallest = reduce_group(smallest, infinity(), scratch, [](float x, float y) { return x < y ? x : y; });
  __syncthreads();
  bad = reduce_group(bad, 0.0f, scratch, [](float x, float y) { return x > y ? x : y; });
  if (threadIdx.x != 0) return;
  a.limits[2 * blockIdx.x] = smallest;
  a.limits[2 * blockIdx.x + 1] = bad;
}

// The k smallest of many values: sorted, the largest first, or a heap with the largest first.
struct Nearest {
  float* values;
  u64 k;

  LK_DEVICE void clear() const {
    for (u64 i = 0; i < k; ++i) values[i] = infinity();
  }

  // `value` is smaller than values[0]. Returns the new values[0].
  LK_DEVICE float offer(float value) const {
    u64 at = 0;
    if (k <= 16) {
      while (at + 1 < k && value < values[at + 1]) {
        values[at] = values[at + 1];
        ++at;
      }
    } else {
      for (;;) {
        u64 child = 2 * at + 1;
        if (child + 1 < k && values[child + 1] > values[child]) ++child;
        if (child >= k || values[child] <= value) break;
        values[at] = values[child];
        at = child;
      }
    }
    values[at] = value;
    return values[0];
  }
};

// Square as a distance where it is sure to be one; otherwise everything anew, in f64.
LK_DEVICE float neighbors_distance(const lk_neighbors_args& a, u64 r, float square, const Nearest& nearest, bool normal) {
  if (normal ? square <= kLargest : 1e-30f < square && square < 1e30f) return sqrtf(square);
  const lk_gram_space& space = a.pairs.spaces[0];
  const float* x = static_cast<const float*>(space.x);
  nearest.clear();
  float farthest = infinity();
  for (u64 j = 0; j < a.pairs.rows; ++j) {
    if (j == r) continue;
    double sum = 0.0;
    for (u64 k = 0; k < space.dims; ++k) {
      const double d = static_cast<double>(x[r * space.dims + k]) - static_cast<double>(x[j * space.dims + k]);
      sum += d * d;
    }
    const float distance = static_cast<float>(sqrt(sum));
    if (distance < farthest) farthest = nearest.offer(distance);
  }
  return farthest;
}

// Block b: rows from 64 b on. A thread keeps the candidates of a row.
LK_DEVICE void neighbors_kernel(const lk_neighbors_args& a) {
  __shared__ GramPoints shared;
  __shared__ float tile[kTile][kPitch];
  const u64 row = u64(blockIdx.x) * kTile, r = row + threadIdx.x, rows = a.pairs.rows;
  const bool keeps = threadIdx.x < kTile && r < rows;
  const Nearest nearest = {a.nearest + (keeps ? r : 0) * a.k, a.k};
  float farthest = infinity();
  if (keeps) nearest.clear();
  for (u64 column = 0; column < rows; column += kTile) {
    float e[kEach][kEach];
    gram_exponents(shared, a.pairs, LK_DTYPE_F32, row, column, e);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) tile[gram_row() + i][gram_column() + j] = e[i][j];
    }
    __syncthreads();
    if (keeps) {
      for (int j = 0; j < kTile; ++j) {
        const float square = tile[threadIdx.x][j];
        if (square < farthest) farthest = nearest.offer(square);
      }
    }
    __syncthreads();
  }
  if (!keeps) return;
  const NeighborsLimits limits = neighbors_limits(a.limits, a.n_limits);
  if (!limits.finite) return;
  a.distances[r] = neighbors_distance(a, r, farthest, nearest, limits.smallest >= 0x1p-38f);
}

}  // namespace lk
