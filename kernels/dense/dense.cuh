// Small dense algebra in f64: products of f32 and f64 matrices with any strides, LU, copies. Mirrored by
// src/cuda/dense.rs. Fixed order of every sum.
#pragma once
#include "../common.cuh"

struct lk_dense_matrix {
  const void* values;
  uint64_t row_stride, column_stride;  // elements
  int32_t is_f64;
  int32_t padding;
};

// c = a diag(factor scale) b + keep; c dense rows. keep may be c.
struct lk_dense_product_args {
  uint64_t m, n, k;
  lk_dense_matrix a, b;
  const double* scale;  // [k], scale_stride apart; NULL = ones
  uint64_t scale_stride;
  double factor;
  lk_dense_matrix keep;  // of the shape of c; NULL = nothing
  void* c;
  int32_t c_is_f64;
  int32_t padding;
};

// to[i] = from[i]; without `from` the identity of n columns.
struct lk_dense_copy_args {
  uint64_t count, n;
  const void* from;
  void* to;
  int32_t from_is_f64, to_is_f64;
};

// In place; pivots[k] is the row that row k changes places with. `x` [n, columns] is solved for.
struct lk_dense_lu_args {
  uint64_t n, columns;
  double* a;
  double* x;
  uint32_t* pivots;
};

namespace lk {

LK_DEVICE double dense_load(const void* p, bool is_f64, u64 i) {
  return is_f64 ? static_cast<const double*>(p)[i] : static_cast<double>(static_cast<const float*>(p)[i]);
}
LK_DEVICE void dense_store(void* p, bool is_f64, u64 i, double x) {
  if (is_f64) static_cast<double*>(p)[i] = x; else static_cast<float*>(p)[i] = static_cast<float>(x);
}

constexpr int kDenseTile = 32, kDenseDepth = 16, kDenseThreads = 16;

// A tile of 32 x 32 by 16 x 16 threads, 2 x 2 sums each.
LK_DEVICE void dense_product(const lk_dense_product_args& p) {
  __shared__ double a[kDenseDepth][kDenseTile + 1], b[kDenseDepth][kDenseTile + 1];
  const u64 across = (p.n + kDenseTile - 1) / kDenseTile, down = (p.m + kDenseTile - 1) / kDenseTile;
  const unsigned tx = threadIdx.x, ty = threadIdx.y, t = ty * kDenseThreads + tx;
  for (u64 tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
    const u64 row = tile / across * kDenseTile, column = tile % across * kDenseTile;
    double sums[2][2] = {};
    for (u64 k0 = 0; k0 < p.k; k0 += kDenseDepth) {
      for (unsigned e = t; e < kDenseDepth * kDenseTile; e += kDenseThreads * kDenseThreads) {
        // Neighbouring threads read neighbouring memory, whichever way the matrix lies.
        const bool a_lies = p.a.column_stride == 1, b_lies = p.b.column_stride != 1;
        const unsigned ka = a_lies ? e % kDenseDepth : e / kDenseTile, ia = a_lies ? e / kDenseDepth : e % kDenseTile;
        const unsigned kb = b_lies ? e % kDenseDepth : e / kDenseTile, jb = b_lies ? e / kDenseDepth : e % kDenseTile;
        const bool in_a = row + ia < p.m && k0 + ka < p.k, in_b = column + jb < p.n && k0 + kb < p.k;
        double x = in_a ? dense_load(p.a.values, p.a.is_f64, (row + ia) * p.a.row_stride + (k0 + ka) * p.a.column_stride) : 0.0;
        if (in_a && p.scale) x *= p.factor * p.scale[(k0 + ka) * p.scale_stride];
        a[ka][ia] = x;
        b[kb][jb] = in_b ? dense_load(p.b.values, p.b.is_f64, (k0 + kb) * p.b.row_stride + (column + jb) * p.b.column_stride) : 0.0;
      }
      __syncthreads();
#pragma unroll
      for (int k = 0; k < kDenseDepth; ++k) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int j = 0; j < 2; ++j) sums[i][j] = fma(a[k][ty + i * kDenseThreads], b[k][tx + j * kDenseThreads], sums[i][j]);
        }
      }
      __syncthreads();
    }
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) {
        const u64 r = row + ty + i * kDenseThreads, c = column + tx + j * kDenseThreads;
        if (r >= p.m || c >= p.n) continue;
        const double kept = p.keep.values ? dense_load(p.keep.values, p.keep.is_f64, r * p.keep.row_stride + c) : 0.0;
        dense_store(p.c, p.c_is_f64, r * p.n + c, kept + sums[i][j]);
      }
    }
  }
}

LK_DEVICE void dense_copy(const lk_dense_copy_args& p) {
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < p.count; i += step) {
    const double x = p.from ? dense_load(p.from, p.from_is_f64, i) : i / p.n == i % p.n ? 1.0 : 0.0;
    dense_store(p.to, p.to_is_f64, i, x);
  }
}

struct DensePivot {
  double size;
  u64 row;
};

// One block. What is singular gives infinities or NaNs.
LK_DEVICE void dense_lu(const lk_dense_lu_args& p) {
  __shared__ DensePivot scratch[32];
  double* a = p.a;
  const u64 n = p.n;
  for (u64 k = 0; k < n; ++k) {
    DensePivot best = {-1.0, k};
    for (u64 i = k + threadIdx.x; i < n; i += blockDim.x) {
      const double size = fabs(a[i * n + k]);
      if (size > best.size) best = {size, i};
    }
    best = reduce_group(best, DensePivot{-1.0, k}, scratch, [](const DensePivot& x, const DensePivot& y) {
      return y.size > x.size || (y.size == x.size && y.row < x.row) ? y : x;
    });
    if (threadIdx.x == 0) p.pivots[k] = static_cast<uint32_t>(best.row);
    if (best.row != k) {
      for (u64 j = threadIdx.x; j < n; j += blockDim.x) {
        const double x = a[k * n + j];
        a[k * n + j] = a[best.row * n + j];
        a[best.row * n + j] = x;
      }
    }
    __syncthreads();
    const double inverse = 1.0 / a[k * n + k];
    for (u64 i = k + 1 + threadIdx.x; i < n; i += blockDim.x) a[i * n + k] *= inverse;
    __syncthreads();
    const u64 rest = n - k - 1;
    for (u64 e = threadIdx.x; e < rest * rest; e += blockDim.x) {
      const u64 i = k + 1 + e / rest, j = k + 1 + e % rest;
      a[i * n + j] -= a[i * n + k] * a[k * n + j];
    }
    __syncthreads();
  }
}

// One column of x for each thread.
LK_DEVICE void dense_solve(const lk_dense_lu_args& p) {
  const u64 column = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= p.columns) return;
  double* x = p.x + column;
  for (u64 k = 0; k < p.n; ++k) {
    const u64 pivot = p.pivots[k];
    const double y = x[k * p.columns];
    x[k * p.columns] = x[pivot * p.columns];
    x[pivot * p.columns] = y;
  }
  for (u64 i = 0; i < p.n; ++i) {
    double sum = x[i * p.columns];
    for (u64 j = 0; j < i; ++j) sum -= p.a[i * p.n + j] * x[j * p.columns];
    x[i * p.columns] = sum;
  }
  for (u64 i = p.n; i-- > 0;) {
    double sum = x[i * p.columns];
    for (u64 j = i + 1; j < p.n; ++j) sum -= p.a[i * p.n + j] * x[j * p.columns];
    x[i * p.columns] = sum / p.a[i * p.n + i];
  }
}

}  // namespace lk
