// Small dense algebra in f64: products of matrices of any type with any strides, LU, Cholesky, copies. Mirrored by
// src/cuda/dense.rs. Fixed order of every sum.
#pragma once
#include "../common.cuh"

struct lk_dense_matrix {
  const void* values;
  uint64_t row_stride, column_stride;  // elements
  int32_t type;  // LK_DTYPE_... or kDenseF64
  int32_t padding;
};

// c = a diag(factor scale) b + keep. keep may be c.
struct lk_dense_product_args {
  uint64_t m, n, k;
  lk_dense_matrix a, b;
  const double* scale;  // [k], scale_stride apart; NULL = ones, factor all the same
  uint64_t scale_stride;
  double factor;
  lk_dense_matrix keep;  // of the shape of c; NULL = nothing
  void* c;
  uint64_t c_stride;
  int32_t c_type;
  int32_t lower;  // tiles above the diagonal are left out
  // k in parts of k_each: their sums go to `parts` [splits, m, n], and to c by a kernel of their own.
  uint64_t splits, k_each;
  double* parts;
};

// to[i] = from[i]; without `from` the identity of n columns.
struct lk_dense_copy_args {
  uint64_t count, n;
  const void* from;
  void* to;
  int32_t from_type, to_type;
};

// In place; pivots[k] is the row that row k changes places with. `x` [n, columns] is solved for.
struct lk_dense_lu_args {
  uint64_t n, columns;
  double* a;
  double* x;
  uint32_t* pivots;
};

// Lower half of a [n, n] to L with a = L L': columns first .. first + 32. Then `x` [n, columns] is solved for.
struct lk_dense_cholesky_args {
  uint64_t n, first, columns;
  double* a;
  double* x;
};

namespace lk {

constexpr int kDenseF64 = 3;

LK_DEVICE double dense_load(const void* p, int type, u64 i) {
  return type == kDenseF64 ? static_cast<const double*>(p)[i] : static_cast<double>(load1(p, type, i));
}
LK_DEVICE void dense_store(void* p, int type, u64 i, double x) {
  if (type == kDenseF64) static_cast<double*>(p)[i] = x; else store1(p, type, i, static_cast<float>(x));
}

constexpr int kDenseTile = 32, kDenseDepth = 16, kDenseThreads = 16;

LK_DEVICE void dense_put(const lk_dense_product_args& p, u64 r, u64 c, double sum) {
  const double kept = p.keep.values ? dense_load(p.keep.values, p.keep.type, r * p.keep.row_stride + c) : 0.0;
  dense_store(p.c, p.c_type, r * p.c_stride + c, kept + sum);
}

// A tile of 32 x 32 by 16 x 16 threads, 2 x 2 sums each; blockIdx.y: the part of k.
LK_DEVICE void dense_product(const lk_dense_product_args& p) {
  __shared__ double a[kDenseDepth][kDenseTile + 1], b[kDenseDepth][kDenseTile + 1];
  const u64 across = (p.n + kDenseTile - 1) / kDenseTile, down = (p.m + kDenseTile - 1) / kDenseTile;
  const unsigned tx = threadIdx.x, ty = threadIdx.y, t = ty * kDenseThreads + tx;
  const u64 k_first = blockIdx.y * p.k_each, k_end = k_first + p.k_each < p.k ? k_first + p.k_each : p.k;
  for (u64 tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
    const u64 row = tile / across * kDenseTile, column = tile % across * kDenseTile;
    if (p.lower && column > row) continue;
    double sums[2][2] = {};
    for (u64 k0 = k_first; k0 < k_end; k0 += kDenseDepth) {
      for (unsigned e = t; e < kDenseDepth * kDenseTile; e += kDenseThreads * kDenseThreads) {
        // Neighbouring threads read neighbouring memory, whichever way the matrix lies.
        const bool a_lies = p.a.column_stride == 1, b_lies = p.b.column_stride != 1;
        const unsigned ka = a_lies ? e % kDenseDepth : e / kDenseTile, ia = a_lies ? e / kDenseDepth : e % kDenseTile;
        const unsigned kb = b_lies ? e % kDenseDepth : e / kDenseTile, jb = b_lies ? e / kDenseDepth : e % kDenseTile;
        const bool in_a = row + ia < p.m && k0 + ka < p.k, in_b = column + jb < p.n && k0 + kb < p.k;
        double x = in_a ? dense_load(p.a.values, p.a.type, (row + ia) * p.a.row_stride + (k0 + ka) * p.a.column_stride) : 0.0;
        if (in_a) x *= p.scale ? p.factor * p.scale[(k0 + ka) * p.scale_stride] : p.factor;
        a[ka][ia] = x;
        b[kb][jb] = in_b ? dense_load(p.b.values, p.b.type, (k0 + kb) * p.b.row_stride + (column + jb) * p.b.column_stride) : 0.0;
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
        if (p.splits > 1) p.parts[(blockIdx.y * p.m + r) * p.n + c] = sums[i][j]; else dense_put(p, r, c, sums[i][j]);
      }
    }
  }
}

// A thread for each element.
LK_DEVICE void dense_parts(const lk_dense_product_args& p) {
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < p.m * p.n; e += step) {
    const u64 r = e / p.n, c = e % p.n;
    if (p.lower && c / kDenseTile > r / kDenseTile) continue;
    double sum = 0.0;
    for (u64 s = 0; s < p.splits; ++s) sum += p.parts[s * p.m * p.n + e];
    dense_put(p, r, c, sum);
  }
}

LK_DEVICE void dense_copy(const lk_dense_copy_args& p) {
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < p.count; i += step) {
    const double x = p.from ? dense_load(p.from, p.from_type, i) : i / p.n == i % p.n ? 1.0 : 0.0;
    dense_store(p.to, p.to_type, i, x);
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
    // A row for each warp.
    for (u64 i = k + 1 + threadIdx.x / 32; i < n; i += blockDim.x / 32) {
      const double factor = a[i * n + k];
      for (u64 j = k + 1 + threadIdx.x % 32; j < n; j += 32) a[i * n + j] -= factor * a[k * n + j];
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

constexpr int kDensePanel = 32;

// One block of 32 x 8 threads: the panel's square. Columns keep their factor sqrt(pivot) until the end. What is not
// positive definite gives NaNs.
LK_DEVICE void dense_cholesky_square(const lk_dense_cholesky_args& p) {
  __shared__ double l[kDensePanel][kDensePanel + 1];
  const int n = static_cast<int>(p.n - p.first < kDensePanel ? p.n - p.first : kDensePanel);
  const int k = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.y);
  double* a = p.a + p.first * p.n + p.first;
  for (int i = static_cast<int>(threadIdx.y); i < n; i += step) l[i][k] = k <= i ? a[i * p.n + k] : 0.0;
  for (int j = 0; j < n; ++j) {
    __syncthreads();
    const double factor = l[k][j] / l[j][j];
    for (int i = j + 1 + static_cast<int>(threadIdx.y); i < n; i += step) {
      if (j < k && k <= i) l[i][k] -= l[i][j] * factor;
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < n; i += step) {
    if (k <= i) a[i * p.n + k] = i == k ? sqrt(l[k][k]) : l[i][k] / sqrt(l[k][k]);
  }
}

// A thread for each row below: x L' = a.
LK_DEVICE void dense_cholesky_panel(const lk_dense_cholesky_args& p) {
  __shared__ double l[kDensePanel][kDensePanel], inverse[kDensePanel];
  for (unsigned e = threadIdx.x; e < kDensePanel * kDensePanel; e += blockDim.x) {
    const unsigned i = e / kDensePanel, j = e % kDensePanel;
    const double value = p.a[(p.first + i) * p.n + p.first + j];
    l[j][i] = value;
    if (i == j) inverse[i] = 1.0 / value;
  }
  __syncthreads();
  const u64 i = p.first + kDensePanel + u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= p.n) return;
  double* row = p.a + i * p.n + p.first;
  double x[kDensePanel];
#pragma unroll
  for (int j = 0; j < kDensePanel; ++j) x[j] = row[j];
#pragma unroll
  for (int j = 0; j < kDensePanel; ++j) {
    x[j] *= inverse[j];
#pragma unroll
    for (int k = j + 1; k < kDensePanel; ++k) x[k] -= x[j] * l[j][k];
  }
#pragma unroll
  for (int j = 0; j < kDensePanel; ++j) row[j] = x[j];
}

// A block for each column of x; panels of L forwards, then backwards. In a panel a lane has a row.
LK_DEVICE void dense_cholesky_solve(const lk_dense_cholesky_args& p) {
  __shared__ double l[kDensePanel][kDensePanel + 1], part[kDensePanel];
  const u64 n = p.n, panels = (n + kDensePanel - 1) / kDensePanel;
  const unsigned t = threadIdx.x;
  for (u64 column = blockIdx.x; column < p.columns; column += gridDim.x) {
    double* x = p.x + column;
    for (u64 turn = 0; turn < 2 * panels; ++turn) {
      const bool back = turn >= panels;
      const u64 first = (back ? 2 * panels - 1 - turn : turn) * kDensePanel;
      const unsigned width = static_cast<unsigned>(n - first < kDensePanel ? n - first : kDensePanel);
      __syncthreads();
      // Backwards its transpose.
      for (unsigned e = t; e < kDensePanel * kDensePanel; e += blockDim.x) {
        const unsigned i = e / kDensePanel, j = e % kDensePanel;
        const bool inside = j <= i && i < width;
        l[back ? j : i][back ? i : j] = inside ? p.a[(first + i) * n + first + j] : 0.0;
      }
      __syncthreads();
      if (t < kDensePanel) {
        double mine = t < width ? x[(first + t) * p.columns] : 0.0;
        const double inverse = t < width ? 1.0 / l[t][t] : 0.0;
        for (unsigned c = 0; c < width; ++c) {
          const unsigned j = back ? width - 1 - c : c;
          const double solved = __shfl_sync(kFullMask, mine * inverse, static_cast<int>(j));
          if (t == j) mine = solved;
          if (back ? t < j : t > j) mine -= l[t][j] * solved;
        }
        part[t] = mine;
        if (t < width) x[(first + t) * p.columns] = mine;
      }
      __syncthreads();
      // What the panel takes from the rows that are left.
      for (u64 i = back ? t : first + width + t; i < (back ? first : n); i += blockDim.x) {
        double sum = x[i * p.columns];
        for (unsigned j = 0; j < width; ++j) sum -= (back ? p.a[(first + j) * n + i] : p.a[i * n + first + j]) * part[j];
        x[i * p.columns] = sum;
      }
    }
    __syncthreads();
  }
}

}  // namespace lk
