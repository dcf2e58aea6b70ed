// Objectives of all pairs (x_i, y_j) that depend on squared distances: sums over the rows of a kernel matrix,
// and gradients sum_j w_ij (x_i - y_j). Nothing of size rows x columns is stored.
//
// A block of 16 x 16 threads works on tiles of 64 x 64 pairs, 4 x 4 for each thread. Points come through
// shared memory, kDepth dimensions at a time. Distances are of differences: exact for points that nearly agree.
#pragma once
#include "../common.cuh"

// Mirrored by src/cuda/gram.rs.
struct lk_gram_space {
  const void* x;
  const void* y;
  uint64_t x_stride, y_stride, dims;
  double scale;
};

struct lk_gram_pairs {
  uint64_t rows, columns;
  lk_gram_space spaces[2];  // exponent: sum of scale |x_i - y_j|^2
  uint32_t n_spaces, skip_self;
};

struct lk_gram_sums_args {
  lk_gram_pairs pairs;
  float* sums;  // [2][splits][rows]: smallest exponent, then sum of exp(smallest - E)
  int32_t dtype;
};

struct lk_gram_combine_args {
  const float* sums;
  uint64_t splits, rows;
  float* out;  // [2][rows], or [2] where all rows are one
};

constexpr int kGramConstants = 4;

struct lk_gram_term {
  lk_gram_pairs pairs;
  const float* constants[kGramConstants];  // what weights are computed from, as the functor says
  double factor;
};

struct lk_gram_gradient_args {
  lk_gram_term terms[2];
  uint32_t n_terms, space;
  void* gradient;
  float* partial;  // [splits][rows][dims]
  uint64_t gradient_stride, dims_each, splits;  // dimensions of a block; parts into which columns are dealt out
  const float* grad_loss;
  double factor;
  int32_t dtype;
};

namespace lk {

constexpr int kTile = 64, kDepth = 16, kSide = 16, kEach = kTile / kSide, kPitch = kTile + 4;

struct alignas(16) GramPoints {
  float x[kDepth][kPitch], y[kDepth][kPitch];
};

struct alignas(16) GramWeights {
  float w[kTile][kPitch];
};

// Four floats of shared memory at a 16-byte boundary.
LK_DEVICE void gram_four(const float* from, float (&x)[kEach]) {
  const Vec16 v = *reinterpret_cast<const Vec16*>(from);
#pragma unroll
  for (int i = 0; i < kEach; ++i) x[i] = __uint_as_float(v.w[i]);
}

// Where a thread's 4 x 4 pairs begin within the tile.
LK_DEVICE int gram_row() { return static_cast<int>(threadIdx.x) / kSide * kEach; }
LK_DEVICE int gram_column() { return static_cast<int>(threadIdx.x) % kSide * kEach; }

// Points first .. first + 64 of a set, dimensions k .. k + kDepth: 0 beyond the end of either.
LK_DEVICE void gram_load(
    float (&to)[kDepth][kPitch], const void* p, int dtype, u64 stride, u64 first, u64 count, u64 k, u64 dims) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += kSide * kSide) {
    const u64 row = first + i / kDepth, dim = k + i % kDepth;
    to[i % kDepth][i / kDepth] = row < count && dim < dims ? load1(p, dtype, row * stride + dim) : 0.0f;
  }
}

// One dimension of this thread's squared distances.
LK_DEVICE void gram_add(const GramPoints& shared, int d, float (&sum)[kEach][kEach]) {
  float x[kEach], y[kEach];
  gram_four(&shared.x[d][gram_row()], x);
  gram_four(&shared.y[d][gram_column()], y);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const float difference = x[i] - y[j];
      sum[i][j] = fmaf(difference, difference, sum[i][j]);
    }
  }
}

// The exponents of this thread's 4 x 4 pairs; infinite for those that do not count.
LK_DEVICE void gram_exponents(
    GramPoints& shared, const lk_gram_pairs& p, int dtype, u64 row, u64 column, float (&e)[kEach][kEach]) {
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) e[i][j] = 0.0f;
  }
  for (unsigned n = 0; n < p.n_spaces; ++n) {
    const lk_gram_space& space = p.spaces[n];
    const float scale = static_cast<float>(space.scale);
    float total[kEach][kEach] = {};
    for (u64 k = 0; k < space.dims; k += kDepth) {
      gram_load(shared.x, space.x, dtype, space.x_stride, row, p.rows, k, space.dims);
      gram_load(shared.y, space.y, dtype, space.y_stride, column, p.columns, k, space.dims);
      __syncthreads();
      float part[kEach][kEach] = {};
      if (space.dims - k >= kDepth) {
#pragma unroll
        for (int d = 0; d < kDepth; ++d) gram_add(shared, d, part);
      } else {
        for (int d = 0; d < static_cast<int>(space.dims - k); ++d) gram_add(shared, d, part);
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) total[i][j] += part[i][j];
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) e[i][j] = fmaf(scale, total[i][j], e[i][j]);
    }
  }
  const int mine = gram_row(), there = gram_column();
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const u64 r = row + mine + i, c = column + there + j;
      if (c >= p.columns || (p.skip_self && r == c)) e[i][j] = infinity();
    }
  }
}

// ---- Sums over rows -----------------------------------------------------------------------------------

constexpr float kLargest = 3.40282347e38f;

struct LogSum {
  float least;
  double sum;
};

// Infinite exponents count nothing.
LK_DEVICE LogSum log_sum_none() { return {kLargest, 0.0}; }

LK_DEVICE LogSum log_sum_merge(const LogSum& p, const LogSum& q) {
  // A NaN in either makes its sum one.
  const float least = q.least < p.least ? q.least : p.least;
  const double left = least == p.least ? p.sum : p.sum * exp(static_cast<double>(least) - p.least);
  const double right = least == q.least ? q.sum : q.sum * exp(static_cast<double>(least) - q.least);
  return {least, left + right};
}

// Seldom a new smallest: only then the sum is rescaled.
template <int N>
LK_DEVICE void log_sum_add(LogSum& sum, const float (&e)[N]) {
  float least = sum.least, part = 0.0f;
#pragma unroll
  for (int j = 0; j < N; ++j) least = e[j] < least ? e[j] : least;
  if (least != sum.least) {
    sum.sum *= exp(static_cast<double>(least) - sum.least);
    sum.least = least;
  }
#pragma unroll
  for (int j = 0; j < N; ++j) part += expf(least - e[j]);
  sum.sum += part;
}

// Block (b, s): rows from 64 b on, every gridDim.y-th tile of columns from the s-th on.
LK_DEVICE void gram_row_sums(const lk_gram_sums_args& a) {
  __shared__ GramPoints shared;
  __shared__ LogSum all[kTile][kSide];
  const u64 row = u64(blockIdx.x) * kTile, step = u64(gridDim.y) * kTile;
  LogSum sums[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) sums[i] = log_sum_none();
  for (u64 column = u64(blockIdx.y) * kTile; column < a.pairs.columns; column += step) {
    float e[kEach][kEach];
    gram_exponents(shared, a.pairs, a.dtype, row, column, e);
#pragma unroll
    for (int i = 0; i < kEach; ++i) log_sum_add(sums[i], e[i]);
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) all[gram_row() + i][threadIdx.x % kSide] = sums[i];
  __syncthreads();
  const u64 r = row + threadIdx.x;
  if (threadIdx.x >= kTile || r >= a.pairs.rows) return;
  LogSum total = all[threadIdx.x][0];
  for (int j = 1; j < kSide; ++j) total = log_sum_merge(total, all[threadIdx.x][j]);
  const u64 at = blockIdx.y * a.pairs.rows + r, half = gridDim.y * a.pairs.rows;
  a.sums[at] = total.least;
  a.sums[half + at] = static_cast<float>(total.sum);
}

// ---- Gradients ----------------------------------------------------------------------------------------

// A functor has  Weights(term); float weight(e, i, j)  for pairs within bounds.
//
// Block (b, g, s): rows from 64 b on, dimensions from g dims_each on, every gridDim.z-th tile of columns from the
// s-th on. The sums stand in `partial`, every element touched by one thread only.
template <class Weights>
LK_DEVICE void gram_gradient(const lk_gram_gradient_args& a) {
  __shared__ GramPoints shared;
  __shared__ GramWeights tile;
  const u64 row = u64(blockIdx.x) * kTile, rows = a.terms[0].pairs.rows, dims = a.terms[0].pairs.spaces[a.space].dims;
  const u64 first = blockIdx.y * a.dims_each, end = first + a.dims_each < dims ? first + a.dims_each : dims;
  const int mine = gram_row(), there = gram_column();
  bool started = false;
  for (unsigned n = 0; n < a.n_terms; ++n) {
    const lk_gram_term& term = a.terms[n];
    const lk_gram_pairs& p = term.pairs;
    const lk_gram_space& space = p.spaces[a.space];
    const Weights weights(term);
    for (u64 column = u64(blockIdx.z) * kTile; column < p.columns; column += u64(gridDim.z) * kTile) {
      float e[kEach][kEach];
      gram_exponents(shared, p, a.dtype, row, column, e);
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
          const u64 r = row + mine + i, c = column + there + j;
          tile.w[mine + i][there + j] = r < p.rows && c < p.columns ? weights.weight(e[i][j], r, c) : 0.0f;
        }
      }
      for (u64 k = first; k < end; k += kDepth) {
        gram_load(shared.x, space.x, a.dtype, space.x_stride, row, p.rows, k, end);
        gram_load(shared.y, space.y, a.dtype, space.y_stride, column, p.columns, k, end);
        __syncthreads();
        // One dimension and every 16th row for each thread: neighbours write neighbouring elements.
        const int d = static_cast<int>(threadIdx.x) % kDepth, i = static_cast<int>(threadIdx.x) / kDepth;
        float sum[kEach] = {}, x[kEach];
#pragma unroll
        for (int v = 0; v < kEach; ++v) x[v] = shared.x[d][i + v * kSide];
        for (int j = 0; j < kTile; j += kEach) {
          float y[kEach];
          gram_four(&shared.y[d][j], y);
#pragma unroll
          for (int v = 0; v < kEach; ++v) {
            float w[kEach];
            gram_four(&tile.w[i + v * kSide][j], w);
#pragma unroll
            for (int c = 0; c < kEach; ++c) sum[v] = fmaf(w[c], x[v] - y[c], sum[v]);
          }
        }
#pragma unroll
        for (int v = 0; v < kEach; ++v) {
          const u64 r = row + i + v * kSide;
          if (r >= rows || k + d >= end) continue;
          float* partial = a.partial + (blockIdx.z * rows + r) * dims + k + d;
          *partial = started ? *partial + sum[v] : sum[v];
        }
        __syncthreads();
      }
      started = true;
    }
  }
}

// A thread for each element: the parts in their order.
LK_DEVICE void gram_gradient_combine(const lk_gram_gradient_args& a) {
  const u64 rows = a.terms[0].pairs.rows, dims = a.terms[0].pairs.spaces[a.space].dims;
  const float factor = static_cast<float>(a.factor * (a.grad_loss ? *a.grad_loss : 1.0f));
  for (u64 r = blockIdx.x; r < rows; r += gridDim.x) {
    for (u64 k = threadIdx.x; k < dims; k += blockDim.x) {
      float total = 0.0f;
      for (u64 s = 0; s < a.splits; ++s) total += a.partial[(s * rows + r) * dims + k];
      store1(a.gradient, a.dtype, r * a.gradient_stride + k, a.splits ? factor * total : 0.0f);
    }
  }
}

// exp(-e) / sum with one smallest exponent and sum for all pairs: constants[0], two floats.
struct Softmax {
  float least, share;
  LK_DEVICE explicit Softmax(const lk_gram_term& term)
      : least(term.constants[0][0]), share(static_cast<float>(term.factor) / term.constants[0][1]) {}
  LK_DEVICE float weight(float e, u64, u64) const { return expf(least - e) * share; }
};

}  // namespace lk
