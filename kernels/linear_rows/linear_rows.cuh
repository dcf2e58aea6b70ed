// Softmax cross entropy of logits x weight^T + bias that never exist as a whole: kernels for all entries of this kind.
// Row i is sample i % samples (of dropout; else 1) of row i / samples of the call.
#pragma once
#include "../philox.cuh"
#include "../skeletons/cross_entropy.cuh"
#include "../skeletons/matrix_product.cuh"

// Mirrored by src/cuda/linear_rows.rs.
struct lk_linear_rows_args {
  const void* x;               // [rows, d]
  const void* weight;          // [classes, d]
  const void* bias;            // [classes] or NULL
  const int64_t* labels;       // [rows]
  const void* class_weights;   // [classes] or NULL
  const uint8_t* masks;        // [samples, rows, d] or NULL
  const int64_t* segments;     // [rows] or NULL: the place of a row's upstream gradient
  const float* counts;         // [sequences] or NULL: what that gradient is divided by
  const float* grad_loss;      // NULL = 1
  const double* header;        // constants over all rows
  float* losses;               // [rows] or NULL
  float* stats;                // [rows x samples][3]: maximum, sum of the others, the label's logit before the cap
  float* partials;             // [rows x samples][partials_of_row][4]
  void* tile;                  // [parts][tile_rows][tile_stride]: gradient of the logits, for f16 scaled
  float* undo;                 // for f16 [tile_rows]: times the row of the tile
  void* inputs;                // [tile_rows][stride]: x as products want it
  float* maxima;               // for f16 [tile_rows]: of x times `undo`, and then one number that undoes the scale of `inputs`
  float* x_parts;              // [parts_of_x x samples][tile_rows / samples][d]: of the gradient of x
  void* out;                   // the gradient that a kernel writes
  float* sums;                 // what it is before it is rounded; NULL where `out` is f32
  double* bias_sums;           // [tile_classes]
  uint32_t* device_flags;
  uint64_t rows, d, classes, sequences;
  uint64_t first_row, tile_rows, first_class, tile_classes;  // the tile, in rows x samples
  uint64_t tile_stride, stride;
  uint64_t seed, offset, kept_from;
  int64_t ignore_index;
  double label_smoothing, z_weight, softcap;
  float factor;                // of dropout
  float sign;                  // of the gradients
  int32_t dtype, reduction, samples, splits;
  int32_t parts_of_x, partials_of_row;
  int32_t counted;             // `inputs` are 0 in rows that do not count (those may hold anything), and for f16 scaled
  int32_t parts;               // of the tile
  uint8_t ignores, drops, first, last;  // first and last tile that adds to `out`
};

namespace lk {

constexpr int kStats = 3, kPartial = 4;
struct LinearRows {
  const lk_linear_rows_args& a;

  LK_DEVICE u64 count() const { return a.rows * static_cast<u64>(a.samples); }
  LK_DEVICE u64 row(u64 i) const { return a.samples == 1 ? i : i / static_cast<u64>(a.samples); }

  LK_DEVICE bool ignored(u64 r) const { return a.ignores && a.labels[r] == a.ignore_index; }
  LK_DEVICE bool in_range(u64 r) const {
    return static_cast<u64>(a.labels[r]) < a.classes && (!a.segments || static_cast<u64>(a.segments[r]) < a.sequences);
  }
  LK_DEVICE bool valid(u64 r) const { return !ignored(r) && in_range(r); }

  LK_DEVICE bool dropped(u64 i, u64 p) const {
    if (!a.drops) return false;
    const u64 r = row(i), e = ((i - r * static_cast<u64>(a.samples)) * a.rows + r) * a.d + p;
    return a.masks ? a.masks[e] == 0 : Philox{a.seed, a.offset}.word(e) < a.kept_from;
  }

  // Without dropout's factor, which products get as a whole: what is left is as exact as it was.
  LK_DEVICE float x(u64 i, u64 p) const { return dropped(i, p) ? 0.0f : load1(a.x, a.dtype, row(i) * a.d + p); }
  LK_DEVICE float factor() const { return a.drops ? a.factor : 1.0f; }
  LK_DEVICE CrossEntropy loss() const {
    return CrossEntropy(a.class_weights, a.dtype, a.classes, a.label_smoothing, a.z_weight, a.softcap, a.header);
  }

  // Logits of rows i0 .. of the tile and classes k0 .. below `end`, without factor and bias.
  template <class P>
  LK_DEVICE void logits(unsigned char* shared, u64 i0, u64 k0, u64 end, typename P::Sum& z) const {
    const u64 first = a.first_row + i0;
    const Panel x = a.drops ? panel(a.inputs, P::kDtype, a.stride, a.tile_rows, a.d, i0, 0)
                            : panel(a.x, P::kDtype, a.d, a.rows, a.d, first, 0);
    matrix_product<P, true, true>(shared, x, panel(a.weight, P::kDtype, a.d, end, a.d, k0, 0), a.d, z);
  }
  // And with them: element e of a chunk from class k on.
  LK_DEVICE void complete(float (&z)[8], u64 k, int left) const {
    if (!a.bias && !a.drops) return;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (e < left) z[e] = fmaf(z[e], factor(), a.bias ? load1(a.bias, a.dtype, k + e) : 0.0f);
    }
  }

  // What the gradient of row r is multiplied by.
  LK_DEVICE float upstream(u64 r) const {
    if (a.segments) {
      const float g = a.grad_loss ? a.grad_loss[a.segments[r]] : 1.0f;
      return a.sign * (a.counts ? g / a.counts[a.segments[r]] : g);
    }
    double g = a.grad_loss ? a.grad_loss[a.reduction == LK_REDUCTION_NONE ? r : 0] : 1.0;
    if (a.reduction == LK_REDUCTION_MEAN) g = a.header[kHeaderNormaliser] != 0.0 ? g / a.header[kHeaderNormaliser] : 0.0;
    return static_cast<float>(a.sign * g / a.samples);
  }
};

// Of classes [split * width, ...) of a block's 128 rows: the running statistics, for linear_losses to merge.
template <int kDtype>
LK_DEVICE void linear_statistics(const lk_linear_rows_args& a) {
  using P = Product<kDtype>;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  __shared__ u64 label[kSide];
  __shared__ CrossEntropy::Acc running[kSide][P::kLanes];
  const LinearRows rows{a};
  const u64 i0 = u64(blockIdx.x) * kSide;
  const PartOf part(a.classes, static_cast<u64>(a.splits), blockIdx.y);
  CrossEntropy loss = rows.loss();
  for (int n = static_cast<int>(threadIdx.x); n < kSide; n += P::kThreads) {
    const u64 i = a.first_row + i0 + n;
    label[n] = i0 + n < a.tile_rows && rows.valid(rows.row(i)) ? static_cast<u64>(a.labels[rows.row(i)]) : a.classes;
    for (CrossEntropy::Acc& acc : running[n]) acc = loss.init();
  }
  __syncthreads();
  for (u64 k0 = part.start; k0 < part.end; k0 += kSide) {
    typename P::Sum z;
    rows.logits<P>(shared, i0, k0, part.end, z);
    each_row<P>(shared, z, a.tile_rows - i0, part.end - k0, [&](int row, auto chunks) {
      if (label[row] == a.classes) return;
      loss.label = label[row];
      CrossEntropy::Acc acc = running[row][P::lane_of_row()];
      chunks([&](int column, int left, float (&x)[8]) {
        const u64 k = k0 + column;
        rows.complete(x, k, left);
        if (loss.label - k < static_cast<u64>(left)) {
#pragma unroll
          for (int e = 0; e < 8; ++e) {
            if (k + e == loss.label) a.stats[(a.first_row + i0 + row) * kStats + 2] = x[e];
          }
        }
        if (left == 8) {
          loss.add(acc, x, k);
        } else {
#pragma unroll 1
          for (int e = 0; e < left; ++e) {
            float one[1] = {x[0]};
#pragma unroll
            for (int n = 0; n < 7; ++n) x[n] = x[n + 1];
            loss.add(acc, one, k + e);
          }
        }
      });
      running[row][P::lane_of_row()] = acc;
    });
  }
  for (int n = static_cast<int>(threadIdx.x); n < kSide * P::kLanes; n += P::kThreads) {
    const u64 row = i0 + n / P::kLanes;
    if (row >= a.tile_rows) continue;
    const CrossEntropy::Acc& all = running[n / P::kLanes][n % P::kLanes];
    float* to = a.partials + ((a.first_row + row) * a.partials_of_row + blockIdx.y * P::kLanes + n % P::kLanes) * kPartial;
    to[0] = all.softmax.max;
    to[1] = all.softmax.sum;
    to[2] = all.gap;
    to[3] = all.weight;
  }
}

// One thread per row of the call: statistics of its samples, and the mean of their losses.
LK_DEVICE void linear_losses(const lk_linear_rows_args& a) {
  const LinearRows rows{a};
  const u64 r = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (r >= a.rows) return;
  const bool ignored = rows.ignored(r), valid = !ignored && rows.in_range(r);
  if (!ignored && !valid) atomicOr(a.device_flags, kFlagLabel);
  float total = 0.0f;
  for (u64 i = r * a.samples; i < (r + 1) * a.samples; ++i) {
    float* stats = a.stats + i * kStats;
    if (!valid) {
      stats[0] = stats[1] = stats[2] = 0.0f;
      continue;
    }
    CrossEntropy loss = rows.loss();
    float max = -infinity();
    const float* from = a.partials + i * a.partials_of_row * kPartial;
    for (int s = 0; s < a.partials_of_row; ++s) max = fmaxf(max, from[s * kPartial]);
    CrossEntropy::Acc acc = loss.init();
    loss.rebase(acc, max);
    for (int s = 0; s < a.partials_of_row; ++s) {
      const float* p = from + s * kPartial;
      CrossEntropy::Acc part = {{p[0], p[1]}, p[2], p[3]};
      loss.rebase(part, max);
      acc = loss.merge(acc, part);
    }
    loss.begin(stats[2], static_cast<u64>(a.labels[r]));
    loss.rebase(acc, max);
    const CrossEntropy::Row row = loss.finish(acc);
    stats[0] = row.softmax.max;
    stats[1] = row.softmax.rest;
    total += loss.loss(row);
  }
  if (a.losses) a.losses[r] = valid ? total / a.samples : ignored ? 0.0f : quiet_nan();
}

// The tile: gradient of the logits, 0 in rows that do not count.
template <int kDtype>
LK_DEVICE void linear_gradient(const lk_linear_rows_args& a) {
  using P = Product<kDtype>;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  __shared__ CrossEntropy::Row row[kSide];
  __shared__ u64 label[kSide];
  __shared__ float times[kSide];
  const LinearRows rows{a};
  const u64 i0 = u64(blockIdx.y) * kSide, k0 = a.first_class + u64(blockIdx.x) * kSide;
  const u64 end = a.first_class + a.tile_classes;
  CrossEntropy loss = rows.loss();
  for (int n = static_cast<int>(threadIdx.x); n < kSide; n += P::kThreads) {
    const u64 i = a.first_row + i0 + n, r = rows.row(i);
    label[n] = a.classes;
    if (i0 + n >= a.tile_rows) continue;
    float bound = 0.0f;
    if (rows.valid(r)) {
      const float* stats = a.stats + i * kStats;
      label[n] = static_cast<u64>(a.labels[r]);
      loss.begin(stats[2], label[n]);
      row[n] = loss.restored(stats[0], stats[1]);
      const float upstream = rows.upstream(r);
      loss.scale(row[n], upstream);
      bound = loss.bound(row[n], upstream);
    } else if (!rows.ignored(r) && blockIdx.x == 0) {
      atomicOr(a.device_flags, kFlagLabel);
    }
    const HalfScale scale(bound);
    times[n] = scale.times;
    if (kDtype == LK_DTYPE_F16 && blockIdx.x == 0) a.undo[i0 + n] = scale.undo;
  }
  typename P::Sum z;
  rows.logits<P>(shared, i0, k0, end, z);  // its barriers publish what is shared
  each_row<P>(shared, z, a.tile_rows - i0, end - k0, [&](int r, auto chunks) {
    const u64 own = label[r];
    chunks([&](int column, int left, float (&x)[8]) {
      const u64 k = k0 + column, place = (i0 + r) * a.tile_stride + (k - a.first_class);
      rows.complete(x, k, left);
      float g[8];
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        g[e] = own != a.classes && e < left ? loss.gradient(row[r], x[e], k + e, k + e == own) : 0.0f;
        if (kDtype == LK_DTYPE_F16) g[e] *= times[r];
      }
      put_parts<kDtype>(a.tile, place, a.tile_rows * a.tile_stride, left, g);
    });
  });
}

// ---- Inputs of the gradients ----------------------------------------------------------------------------

LK_DEVICE float linear_input(const LinearRows& rows, u64 i, u64 p) {
  const u64 r = rows.a.first_row + i;
  return rows.a.counted && !rows.valid(rows.row(r)) ? 0.0f : rows.x(r, p);
}

// The largest of each row with what undoes the scale of its gradient, a warp per row.
LK_DEVICE void linear_maxima(const lk_linear_rows_args& a) {
  const LinearRows rows{a};
  const u64 warps = u64(gridDim.x) * (blockDim.x / 32), lane = threadIdx.x % 32;
  for (u64 i = u64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32; i < a.tile_rows; i += warps) {
    float most = 0.0f;
    for (u64 p = lane; p < a.d; p += 32) most = fmaxf(most, fabsf(linear_input(rows, i, p)));
    most = reduce_lanes(most, 32, [](float x, float y) { return fmaxf(x, y); });
    if (lane == 0) a.maxima[i] = most * a.undo[i];
  }
}

LK_DEVICE void linear_inputs(const lk_linear_rows_args& a) {
  __shared__ float of_warps[32];
  const LinearRows rows{a};
  const bool scaled = a.counted && a.dtype == LK_DTYPE_F16;
  float times = 1.0f;
  if (scaled) {
    float most = 0.0f;
    for (u64 i = threadIdx.x; i < a.tile_rows; i += blockDim.x) most = fmaxf(most, a.maxima[i]);
    const HalfScale scale(reduce_group(most, 0.0f, of_warps, [](float x, float y) { return fmaxf(x, y); }));
    times = scale.times;
    if (blockIdx.x == 0 && threadIdx.x == 0) a.maxima[a.tile_rows] = scale.undo;
  }
  const u64 runs = (a.d + 7) / 8, n = a.tile_rows * runs;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < n; e += u64(gridDim.x) * blockDim.x) {
    const u64 i = e / runs, p = e % runs * 8;
    const int left = left_of(a.d, p);
    const float undo = scaled ? a.undo[i] : 1.0f;
    float x[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] = j < left ? linear_input(rows, i, p + j) * undo * times : 0.0f;
    put_chunk(a.inputs, a.dtype, i * a.stride + p, left, x);
  }
}

// ---- Gradients ------------------------------------------------------------------------------------------

// Adds to a chunk of a gradient from element e on: f32 in place, others in sums that the last tile rounds.
LK_DEVICE void accumulate(const lk_linear_rows_args& a, u64 e, u64 sum, int left, float (&x)[8]) {
  if (!a.first) {
    float before[8];
    if (a.sums) get_chunk(a.sums, LK_DTYPE_F32, sum, left, before);
    else get_chunk(a.out, LK_DTYPE_F32, e, left, before);
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] += before[j];
  }
  if (a.sums && !a.last) {
    put_chunk(a.sums, LK_DTYPE_F32, sum, left, x);
  } else {
    put_chunk(a.out, a.dtype, e, left, x);
  }
}

// Part of the gradient of x: rows of the call in blocks of 128 by 128 features, of one of their samples and a share of the
// tile's classes.
template <int kDtype>
LK_DEVICE void linear_to_x(const lk_linear_rows_args& a) {
  using P = Product<kDtype, kFactorParts<kDtype>>;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  const LinearRows rows{a};
  const u64 samples = static_cast<u64>(a.samples), count = a.tile_rows / samples, m = blockIdx.z % samples;
  const u64 r0 = u64(blockIdx.y) * kSide, j0 = u64(blockIdx.x) * kSide;
  const PartOf part(a.tile_classes, static_cast<u64>(a.parts_of_x), blockIdx.z / samples);
  const u64 depth = part.start < part.end ? part.end - part.start : 0;
  const Panel tile = panel(at(a.tile, kDtype, m * a.tile_stride), kDtype, samples * a.tile_stride, count, part.end, r0, part.start);
  const Panel weight = panel(at(a.weight, kDtype, a.first_class * a.d), kDtype, a.d, part.end, a.d, part.start, j0);
  typename P::Sum sum;
  matrix_product<P, true, false>(shared, tile, weight, depth, sum, a.tile_rows * a.tile_stride * P::kSize);
  float* out = a.x_parts + blockIdx.z * count * a.d;
  each_row<P>(shared, sum, count - r0, a.d - j0, [&](int row, auto chunks) {
    const u64 r = r0 + row, i = r * samples + m;
    const float undo = kDtype == LK_DTYPE_F16 ? a.undo[i] : 1.0f;
    chunks([&](int column, int left, float (&x)[8]) {
      const u64 p = j0 + column;
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        x[e] = x[e] * undo * rows.factor();
        if (a.drops && e < left && rows.dropped(a.first_row + i, p + e)) x[e] = 0.0f;
      }
      put_chunk(out, LK_DTYPE_F32, r * a.d + p, left, x);
    });
  });
}

// The sum of the parts, in order.
LK_DEVICE void linear_add_parts(const lk_linear_rows_args& a) {
  const LinearRows rows{a};
  const u64 samples = static_cast<u64>(a.samples), first = a.first_row / samples, count = a.tile_rows / samples;
  const u64 runs = (a.d + 7) / 8, step = u64(gridDim.x) * blockDim.x;
  for (u64 run = u64(blockIdx.x) * blockDim.x + threadIdx.x; run < count * runs; run += step) {
    const u64 r = run / runs, p = run % runs * 8, e = (first + r) * a.d + p;
    const int left = left_of(a.d, p);
    const bool valid = rows.valid(first + r);
    float sum[8] = {};
    // Not what 0 times a NaN of the weight gives.
    for (int z = 0; valid && z < a.parts_of_x * a.samples; ++z) {
      float x[8];
      get_chunk(a.x_parts, LK_DTYPE_F32, (z * count + r) * a.d + p, left, x);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum[j] += x[j];
    }
    accumulate(a, e, e, left, sum);
  }
}

// Gradient of the weight: 128 classes by 128 features.
template <int kDtype>
LK_DEVICE void linear_to_weight(const lk_linear_rows_args& a) {
  using P = Product<kDtype, kFactorParts<kDtype>>;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  const LinearRows rows{a};
  const u64 k0 = u64(blockIdx.y) * kSide, j0 = u64(blockIdx.x) * kSide;
  const Panel tile = panel(a.tile, kDtype, a.tile_stride, a.tile_rows, a.tile_classes, 0, k0);
  const Panel inputs = panel(a.inputs, kDtype, a.stride, a.tile_rows, a.d, 0, j0);
  typename P::Sum sum;
  matrix_product<P, false, false>(shared, tile, inputs, a.tile_rows, sum, a.tile_rows * a.tile_stride * P::kSize);
  const float factor = rows.factor() * (kDtype == LK_DTYPE_F16 && a.tile_rows > 0 ? a.maxima[a.tile_rows] : 1.0f);
  each_row<P>(shared, sum, a.tile_classes - k0, a.d - j0, [&](int row, auto chunks) {
    chunks([&](int column, int left, float (&x)[8]) {
      const u64 k = k0 + row, p = j0 + column;
#pragma unroll
      for (int e = 0; e < 8; ++e) x[e] *= factor;
      accumulate(a, (a.first_class + k) * a.d + p, k * a.d + p, left, x);
    });
  });
}

// Gradient of the bias: 32 classes by 8 shares of the rows.
LK_DEVICE void linear_to_bias(const lk_linear_rows_args& a) {
  __shared__ double sums[8][32];
  const u64 k = u64(blockIdx.x) * 32 + threadIdx.x % 32;
  const int share = static_cast<int>(threadIdx.x) / 32;
  double sum = 0.0;
  for (u64 i = static_cast<u64>(share); k < a.tile_classes && i < a.tile_rows; i += 8) {
    u64 e = i * a.tile_stride + k;
    double g = load1(a.tile, a.dtype, e);
    for (int part = 1; part < a.parts; ++part) g += load1(a.tile, a.dtype, e += a.tile_rows * a.tile_stride);
    sum += a.dtype == LK_DTYPE_F16 ? g * a.undo[i] : g;
  }
  sums[share][threadIdx.x % 32] = sum;
  __syncthreads();
  if (share != 0 || k >= a.tile_classes) return;
  for (int n = 1; n < 8; ++n) sum += sums[n][threadIdx.x];
  if (!a.first) sum += a.bias_sums[k];
  if (a.last) {
    store1(a.out, a.dtype, a.first_class + k, static_cast<float>(sum));
  } else {
    a.bias_sums[k] = sum;
  }
}

}  // namespace lk
