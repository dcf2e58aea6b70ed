// Operations: n (d + k)^2 / 2 multiply-adds of f32, or n^2 (d + k) / 2 where there are more columns than samples; gradients
// twice as many more. Split: tiles of 64 x 64, and parts of the samples, which are added up in order. Sums of more than 1024
// products are f64. Bound: f32 arithmetic.
#include "kernel_alignment.cuh"

LK_KERNEL(alignment_columns, lk_alignment_args) {
  using namespace lk;
  __shared__ double sums[8][32], sizes[8][32];
  const lk_kernel_alignment_args& c = a.call;
  const u64 w = c.d + c.k, j = u64(blockIdx.x) * 32 + threadIdx.x, step = u64(gridDim.y) * blockDim.y;
  const bool second = j >= c.d;
  const void* from = second ? c.b : c.a;
  const u64 columns = second ? c.k : c.d, column = second ? j - c.d : j;
  double sum = 0.0;
  float most = 0.0f;
  for (u64 r = u64(blockIdx.y) * blockDim.y + threadIdx.y; j < w && r < c.n; r += step) {
    const float x = load1(from, c.dtype, r * columns + column), size = fabsf(x);
    sum += x;
    most = size <= most ? most : size;  // a NaN stays until the next
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  sizes[threadIdx.y][threadIdx.x] = most;
  __syncthreads();
  if (threadIdx.y != 0 || j >= w) return;
  double largest = most;
  for (int y = 1; y < 8; ++y) {
    sum += sums[y][threadIdx.x];
    largest = fmax(largest, sizes[y][threadIdx.x]);
  }
  a.column_parts[2 * blockIdx.y * w + j] = sum;
  a.column_parts[(2 * blockIdx.y + 1) * w + j] = largest;
}

// One block: scales of both inputs, means of all columns.
LK_KERNEL(alignment_shift, lk_alignment_args) {
  using namespace lk;
  __shared__ double scratch[32];
  const lk_kernel_alignment_args& c = a.call;
  const u64 w = c.d + c.k;
  double scales[2];
  for (int side = 0; side < 2; ++side) {
    double most = 0.0;
    for (u64 j = (side ? c.d : 0) + threadIdx.x; j < (side ? w : c.d); j += blockDim.x) {
      for (u64 part = 0; part < a.column_splits; ++part) most = fmax(most, a.column_parts[(2 * part + 1) * w + j]);
    }
    __syncthreads();
    most = reduce_group(most, 0.0, scratch, [](double p, double q) { return fmax(p, q); });
    // The power of two that brings the largest to [1/2, 1).
    int exponent = static_cast<int>(__double_as_longlong(most) >> 52) - 1022;
    exponent = exponent < -126 ? -126 : exponent > 126 ? 126 : exponent;
    const bool usable = most > 0.0 && most < static_cast<double>(infinity());
    scales[side] = usable ? __longlong_as_double(static_cast<long long>(1023 - exponent) << 52) : 1.0;
  }
  if (threadIdx.x == 0) {
    a.header[0] = scales[0];
    a.header[1] = scales[1];
  }
  for (u64 j = threadIdx.x; j < w; j += blockDim.x) {
    double sum = 0.0;
    for (u64 part = 0; part < a.column_splits; ++part) sum += a.column_parts[2 * part * w + j];
    const double mean = c.opts.centered ? sum / static_cast<double>(c.n) * (j < c.d ? scales[0] : scales[1]) : 0.0;
    const float high = static_cast<float>(mean);
    a.high[j] = high;
    a.low[j] = static_cast<float>(mean - high);
  }
}

LK_KERNEL(alignment_products, lk_alignment_args, 256) {
  using namespace lk;
  __shared__ ProductShared shared;
  const lk_kernel_alignment_args& c = a.call;
  const u64 of_a = tiles_of(c.d), across = of_a + tiles_of(c.k), tiles = across * (across + 1) / 2;
  const u64 each = (c.n + gridDim.y - 1) / gridDim.y, start = each * blockIdx.y, stop = start + each < c.n ? start + each : c.n;
  const int mine = static_cast<int>(threadIdx.x) / 16 * kMicro, there = static_cast<int>(threadIdx.x) % 16 * kMicro;
  for (u64 t = blockIdx.x; t < tiles; t += gridDim.x) {
    u64 row, column;
    alignment_tile(t, row, column);
    const AlignmentInput p(a, row >= of_a), q(a, column >= of_a);
    const u64 p_first = (row >= of_a ? row - of_a : row) * kTile, q_first = (column >= of_a ? column - of_a : column) * kTile;
    double sum[kMicro][kMicro] = {};
    for (u64 first = start; first < stop; first += kAlignmentDepth) {
      const u64 depth = stop - first < kAlignmentDepth ? stop - first : kAlignmentDepth;
      float part[kMicro][kMicro] = {};
      const AlignmentColumns rows = {p, p_first, first, stop}, columns = {q, q_first, first, stop};
      product_tile<false, false>(shared, rows, columns, depth, part);
      for (int i = 0; i < kMicro; ++i) {
        for (int j = 0; j < kMicro; ++j) sum[i][j] += part[i][j];
      }
    }
    double* to = a.products + (blockIdx.y * tiles + t) * kTile * kTile;
    for (int i = 0; i < kMicro; ++i) {
      for (int j = 0; j < kMicro; ++j) to[(mine + i) * kTile + there + j] = sum[i][j];
    }
  }
}

// Adds up the parts, in place of the first.
LK_KERNEL(alignment_norms, lk_alignment_args, 256) {
  using namespace lk;
  __shared__ AlignmentNorms scratch[32];
  const lk_kernel_alignment_args& c = a.call;
  const u64 of_a = tiles_of(c.d), across = of_a + tiles_of(c.k), tiles = across * (across + 1) / 2, size = u64(kTile) * kTile;
  AlignmentNorms total = {0.0, 0.0, 0.0};
  for (u64 t = blockIdx.x; t < tiles; t += gridDim.x) {
    u64 row, column;
    alignment_tile(t, row, column);
    double squares = 0.0;
    for (u64 e = threadIdx.x; e < size; e += blockDim.x) {
      double sum = 0.0;
      for (u64 part = 0; part < a.sample_splits; ++part) sum += a.products[(part * tiles + t) * size + e];
      a.products[t * size + e] = sum;
      squares += sum * sum;
    }
    if (row >= of_a && column < of_a) total.x += squares;
    else (row < of_a ? total.a : total.b) += row == column ? squares : 2.0 * squares;
  }
  total = reduce_group(total, AlignmentNorms{0.0, 0.0, 0.0}, scratch, add_norms);
  if (threadIdx.x != 0) return;
  a.norm_parts[3 * blockIdx.x] = total.x;
  a.norm_parts[3 * blockIdx.x + 1] = total.a;
  a.norm_parts[3 * blockIdx.x + 2] = total.b;
}

LK_KERNEL(alignment_kernels, lk_alignment_args, 256) {
  using namespace lk;
  __shared__ ProductShared shared;
  __shared__ AlignmentNorms scratch[32];
  const AlignmentInput first(a, false), second(a, true);
  for (u64 t = blockIdx.x; t < a.parts; t += gridDim.x) {
    u64 row, column;
    alignment_tile(t, row, column);
    double k[kMicro][kMicro] = {}, l[kMicro][kMicro] = {};
    alignment_kernel(shared, first, row * kTile, column * kTile, k);
    alignment_kernel(shared, second, row * kTile, column * kTile, l);
    AlignmentNorms sum = {0.0, 0.0, 0.0};
    for (int i = 0; i < kMicro; ++i) {
      for (int j = 0; j < kMicro; ++j) {
        sum = add_norms(sum, {k[i][j] * l[i][j], k[i][j] * k[i][j], l[i][j] * l[i][j]});
      }
    }
    sum = reduce_group(sum, AlignmentNorms{0.0, 0.0, 0.0}, scratch, add_norms);
    if (threadIdx.x == 0) {
      const double both = row == column ? 1.0 : 2.0;  // the other half
      a.norm_parts[3 * t] = both * sum.x;
      a.norm_parts[3 * t + 1] = both * sum.a;
      a.norm_parts[3 * t + 2] = both * sum.b;
    }
    __syncthreads();
  }
}

LK_KERNEL(kernel_alignment, lk_alignment_args, 256) {
  using namespace lk;
  __shared__ AlignmentNorms scratch[32];
  AlignmentNorms sum = {0.0, 0.0, 0.0};
  for (u64 i = threadIdx.x; i < a.parts; i += blockDim.x) {
    sum = add_norms(sum, {a.norm_parts[3 * i], a.norm_parts[3 * i + 1], a.norm_parts[3 * i + 2]});
  }
  sum = reduce_group(sum, AlignmentNorms{0.0, 0.0, 0.0}, scratch, add_norms);
  if (threadIdx.x != 0) return;
  const bool none = sum.a == 0.0 || sum.b == 0.0;
  const double between = sqrt(sum.a) * sqrt(sum.b), value = none ? 0.0 : sum.x / between;
  if (a.call.pass != kPassBackward && a.call.value) *a.call.value = static_cast<float>(value);
  a.header[2] = value;
  a.header[3] = none ? 0.0 : 2.0 / between;
  a.header[4] = none ? 0.0 : -2.0 * value / sum.a;
  a.header[5] = none ? 0.0 : -2.0 * value / sum.b;
}

LK_KERNEL(alignment_weights, lk_alignment_args, 256) {
  using namespace lk;
  __shared__ ProductShared shared;
  const u64 n = a.call.n, row = u64(blockIdx.x) * kTile;
  const AlignmentInput first(a, false), second(a, true);
  for (u64 column = u64(blockIdx.y) * kTile; column < n; column += u64(gridDim.y) * kTile) {
    double k[kMicro][kMicro] = {}, l[kMicro][kMicro] = {};
    alignment_kernel(shared, first, a.first + row, column, k);
    alignment_kernel(shared, second, a.first + row, column, l);
    each_of_tile(row, column, a.count, n, [&](u64 r, u64 q, int i, int j) {
      a.weights[r * n + q] = static_cast<float>(a.header[3] * l[i][j] + a.header[4] * k[i][j]);
      a.weights[(a.count + r) * n + q] = static_cast<float>(a.header[3] * k[i][j] + a.header[5] * l[i][j]);
    });
  }
}

// Samples from `first` on, of either input the tile's columns.
LK_KERNEL(alignment_gradient, lk_alignment_args, 256) {
  using namespace lk;
  __shared__ ProductShared shared;
  const lk_kernel_alignment_args& c = a.call;
  const u64 row = u64(blockIdx.x) * kTile, of_a = tiles_of(c.d), across = of_a + tiles_of(c.k);
  const AlignmentInput inputs[2] = {AlignmentInput(a, false), AlignmentInput(a, true)};
  for (u64 tile = blockIdx.y; tile < across; tile += gridDim.y) {
    const int side = tile >= of_a;
    const u64 column = (side ? tile - of_a : tile) * kTile, columns = side ? c.k : c.d;
    void* to = side ? c.grad_b : c.grad_a;
    if (!to) continue;
    float sum[kMicro][kMicro] = {};
    if (a.by_samples) {
      product_tile<true, false>(shared, AlignmentWeights{a.weights + side * a.count * c.n, row, a.count, c.n},
                                AlignmentRight{inputs[side], column}, c.n, sum);
    } else {
      for (int other = 0; other < 2; ++other) {
        const double factor = other != side ? a.header[3] : side ? a.header[5] : a.header[4];
        product_tile<true, false>(shared, AlignmentSamples{inputs[other], a.first + row, 0},
                                  AlignmentProducts{a.products, tile, other ? of_a : 0, factor, inputs[other].columns},
                                  inputs[other].columns, sum);
      }
    }
    const float g = static_cast<float>((c.grad_loss ? *c.grad_loss : 1.0f) * a.header[side]);
    each_of_tile(row, column, a.count, columns, [&](u64 r, u64 q, int i, int j) {
      store1(to, c.dtype, (a.first + r) * columns + q, g * sum[i][j]);
    });
  }
}
