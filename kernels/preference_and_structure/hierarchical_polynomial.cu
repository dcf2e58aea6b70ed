// p = x' a x - tr a, y = sum_j c_j p^j; dx = g (sum_j j c_j p^(j-1)) (a + a') x. As the CPU's side: with s = a + a',
// x' a x = sum_j x_j (sum_(k < j) s_kj x_k + s_jj x_j / 2), which halves the products.
// Operations: n d^2 / 2 multiply-adds forward, n d^2 backward, f32 in tiles of 64 x 64, sums over a tile's columns in f64.
// Split: tiles of rows, and parts of the columns, which are added up in order. Bound: f32 arithmetic.
#include "losskit_args/hierarchical_polynomial.h"
#include "../skeletons/product_tile.cuh"

// Mirrored by src/losses/preference_and_structure/hierarchical_polynomial.rs.
struct lk_polynomial_args {
  lk_hierarchical_polynomial_args call;
  float* form;      // [d][d]: a + a'
  double* parts;    // [splits][n]
  float* features;  // [n]
  uint64_t splits;
};

namespace lk {

constexpr u64 kPolynomialDepth = 1024;

// Rows of x from `row` on, at depths from `first` on.
struct PolynomialRows {
  const lk_hierarchical_polynomial_args& c;
  u64 row, first, end;
  LK_DEVICE float operator()(int i, u64 p) const {
    const u64 r = row + i, k = first + p;
    return r < c.n && k < end ? load1(c.x, c.dtype, r * c.d + k) : 0.0f;
  }
};

// Columns of s from `column` on; half of it from `half` on.
struct PolynomialForm {
  const float* form;
  u64 d, column, first, end, half;
  LK_DEVICE float operator()(int j, u64 p) const {
    const u64 c = column + j, k = first + p;
    if (c >= d || k >= end) return 0.0f;
    return k >= half ? 0.5f * form[k * d + c] : form[k * d + c];
  }
};

LK_DEVICE double polynomial(const lk_hierarchical_polynomial_args& c, double p, double* slope) {
  double sum = 0.0, derivative = 0.0;
  for (u64 j = c.terms; j-- > 0;) {
    derivative = derivative * p + sum;
    sum = sum * p + load1(c.coefficients, c.dtype, j);
  }
  *slope = derivative;
  return sum;
}

}  // namespace lk

LK_KERNEL(hierarchical_form, lk_polynomial_args, 256) {
  using namespace lk;
  __shared__ float turned[32][33];
  const lk_hierarchical_polynomial_args& c = a.call;
  const u64 column = u64(blockIdx.x) * 32;
  for (u64 row = u64(blockIdx.y) * 32; row < c.d; row += u64(gridDim.y) * 32) {
    __syncthreads();
    for (unsigned i = threadIdx.y; i < 32; i += blockDim.y) {
      const u64 r = column + i, k = row + threadIdx.x;
      turned[i][threadIdx.x] = r < c.d && k < c.d ? load1(c.a, c.dtype, r * c.d + k) : 0.0f;
    }
    __syncthreads();
    for (unsigned i = threadIdx.y; i < 32; i += blockDim.y) {
      const u64 r = row + i, k = column + threadIdx.x;
      if (r < c.d && k < c.d) a.form[r * c.d + k] = load1(c.a, c.dtype, r * c.d + k) + turned[threadIdx.x][i];
    }
  }
}

LK_KERNEL(hierarchical_values, lk_polynomial_args, 256) {
  using namespace lk;
  __shared__ ProductShared shared;
  const lk_hierarchical_polynomial_args& c = a.call;
  const u64 row = u64(blockIdx.x) * kTile;
  const int mine = static_cast<int>(threadIdx.x) / 16 * kMicro, there = static_cast<int>(threadIdx.x) % 16 * kMicro;
  double total[kMicro] = {};
  for (u64 column = u64(blockIdx.y) * kTile; column < c.d; column += u64(gridDim.y) * kTile) {
    const u64 end = column + kTile < c.d ? column + kTile : c.d;
    for (u64 first = 0; first < end; first += kPolynomialDepth) {
      const u64 depth = end - first < kPolynomialDepth ? end - first : kPolynomialDepth;
      float sum[kMicro][kMicro] = {};
      const PolynomialForm form = {a.form, c.d, column, first, end, column};
      product_tile<true, false>(shared, PolynomialRows{c, row, first, end}, form, depth, sum);
      each_of_tile(row, column, c.n, c.d, [&](u64 r, u64 k, int i, int j) {
        total[i] += static_cast<double>(sum[i][j]) * load1(c.x, c.dtype, r * c.d + k);
      });
    }
  }
  for (int i = 0; i < kMicro; ++i) {
    total[i] = reduce_lanes(total[i], 16, [](double p, double q) { return p + q; });
    if (there == 0 && row + mine + i < c.n) a.parts[blockIdx.y * c.n + row + mine + i] = total[i];
  }
}

LK_KERNEL(hierarchical_polynomial, lk_polynomial_args, 256) {
  using namespace lk;
  __shared__ double scratch[32];
  const lk_hierarchical_polynomial_args& c = a.call;
  double trace = 0.0;
  for (u64 k = threadIdx.x; k < c.d; k += blockDim.x) trace += load1(c.a, c.dtype, k * c.d + k);
  trace = reduce_group(trace, 0.0, scratch, [](double p, double q) { return p + q; });
  const u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= c.n) return;
  double p = 0.0, slope;
  for (u64 part = 0; part < a.splits; ++part) p += a.parts[part * c.n + i];
  p -= trace;
  a.features[i] = static_cast<float>(p);
  if (c.pass == kPassBackward) return;
  const double y = polynomial(c, p, &slope);
  if (c.y) c.y[i] = static_cast<float>(y);
  if (c.feature) c.feature[i] = static_cast<float>(p);
  if (c.saved) c.saved[i] = static_cast<float>(p);
}

LK_KERNEL(hierarchical_gradient, lk_polynomial_args, 256) {
  using namespace lk;
  __shared__ ProductShared shared;
  __shared__ float factors[kTile];
  const lk_hierarchical_polynomial_args& c = a.call;
  const u64 row = u64(blockIdx.x) * kTile;
  if (threadIdx.x < kTile && row + threadIdx.x < c.n) {
    double slope;
    polynomial(c, a.features[row + threadIdx.x], &slope);
    factors[threadIdx.x] = static_cast<float>(slope * (c.grad_loss ? c.grad_loss[row + threadIdx.x] : 1.0f));
  }
  __syncthreads();
  for (u64 column = u64(blockIdx.y) * kTile; column < c.d; column += u64(gridDim.y) * kTile) {
    float sum[kMicro][kMicro] = {};
    product_tile<true, false>(shared, PolynomialRows{c, row, 0, c.d}, PolynomialForm{a.form, c.d, column, 0, c.d, c.d}, c.d, sum);
    each_of_tile(row, column, c.n, c.d, [&](u64 r, u64 k, int i, int j) {
      store1(c.grad_x, c.dtype, r * c.d + k, factors[r - row] * sum[i][j]);
    });
  }
}
