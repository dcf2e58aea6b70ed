// Softmax cross entropy of logits x weight^T + bias that never exist as a whole: kernels for all entries of this kind.
// Row i is sample i % samples (of dropout; else 1) of row i / samples of the call.
#pragma once
#include "../philox.cuh"
#include "../skeletons/cross_entropy.cuh"
#include "../skeletons/product_tile.cuh"

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
  float* partials;             // [rows x samples][splits][4]
  float* tile;                 // [tile_rows][tile_classes]: gradient of the logits
  float* parts;                // [parts_of_x][tile_rows / samples][d]: of the gradient of x
  void* out;                   // the gradient that a kernel writes
  float* sums;                 // what it is before it is rounded; NULL where `out` is f32
  double* bias_sums;           // [tile_classes]
  uint32_t* device_flags;
  uint64_t rows, d, classes, sequences;
  uint64_t first_row, tile_rows, first_class, tile_classes;  // the tile, in rows x samples
  uint64_t seed, offset, kept_from;
  int64_t ignore_index;
  double label_smoothing, z_weight, softcap;
  float factor;                // of dropout
  float sign;                  // of the gradients
  int32_t dtype, reduction, samples, splits;
  int32_t parts_of_x, padding;
  uint8_t ignores, drops, first, last;  // first and last tile that adds to `out`
};

namespace lk {

constexpr int kStats = 3, kPartial = 4;
using TallShared = ProductMemory<kTallTile>;

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
  LK_DEVICE Operands operands(Operands of_halves) const { return a.dtype == LK_DTYPE_F32 ? Operands::kFloats : of_halves; }

  // Classes below `end` as rows of a matrix, from class k0 and feature j0 on.
  LK_DEVICE Matrix weight(u64 k0, u64 end, u64 j0 = 0) const { return {a.weight, a.dtype, a.d, end, a.d, k0, j0}; }

  LK_DEVICE CrossEntropy loss() const {
    return CrossEntropy(a.class_weights, a.dtype, a.classes, a.label_smoothing, a.z_weight, a.softcap, a.header);
  }

  // Logits of rows i0 .. and classes k0 .. below `end`; 0 beyond.
  LK_DEVICE void logits(TallShared& shared, u64 i0, u64 k0, u64 end, TallTile::Sum& z) const;

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

// Rows i0 .. of x, 0 where they are dropped.
struct LinearInput {
  const LinearRows& rows;
  u64 i0;

  template <bool kAlongDepth>
  LK_DEVICE void load(int i, u64 p, float (&x)[4]) const {
    static_assert(kAlongDepth, "features lie side by side");
    load_features(i0 + i, p, x);
  }
  LK_DEVICE void load_features(u64 i, u64 p, float (&x)[4]) const {
    const u64 d = rows.a.d, left = i < rows.count() && p < d ? d - p : 0;
    load_run(at(rows.a.x, rows.a.dtype, left ? rows.row(i) * d + p : 0), rows.a.dtype, left, x);
    if (!rows.a.drops) return;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (static_cast<u64>(j) < left && rows.dropped(i, p + j)) x[j] = 0.0f;
    }
  }
};

// The same, features j0 .. and rows along the depth, 0 in rows that do not count: those may hold anything.
struct LinearInputDown {
  const LinearRows& rows;
  u64 j0;

  template <bool kAlongDepth>
  LK_DEVICE void load(int i, u64 p, float (&x)[4]) const {
    static_assert(!kAlongDepth, "features lie side by side");
    const u64 r = rows.a.first_row + p;
    if (p < rows.a.tile_rows && rows.valid(rows.row(r))) {
      LinearInput{rows, 0}.load_features(r, j0 + i, x);
    } else {
#pragma unroll
      for (float& e : x) e = 0.0f;
    }
  }
};

LK_DEVICE void LinearRows::logits(TallShared& shared, u64 i0, u64 k0, u64 end, TallTile::Sum& z) const {
#pragma unroll
  for (auto& row : z) {
#pragma unroll
    for (float& e : row) e = 0.0f;
  }
  product_tile<true, true>(shared, LinearInput{*this, i0}, weight(k0, end), a.d, z, operands(Operands::kHalves));
  if (!a.bias && !a.drops) return;
#pragma unroll
  for (int j = 0; j < TallTile::kColumns; ++j) {
    const u64 k = k0 + TallTile::column(j);
    const float bias = a.bias && k < end ? load1(a.bias, a.dtype, k) : 0.0f;
#pragma unroll
    for (int i = 0; i < kMicro; ++i) z[i][j] = fmaf(z[i][j], factor(), bias);
  }
}

// Of classes [split * width, ...) of a block's 128 rows: the running statistics, for linear_rows_losses to merge.
LK_DEVICE void linear_statistics(const lk_linear_rows_args& a) {
  __shared__ TallShared shared;
  __shared__ u64 label[kTallTile];
  const LinearRows rows{a};
  const u64 n = rows.count(), i0 = u64(blockIdx.x) * kTallTile;
  const PartOf part(a.classes, static_cast<u64>(a.splits), blockIdx.y);
  if (threadIdx.x < kTallTile) {
    const u64 i = i0 + threadIdx.x;
    label[threadIdx.x] = i < n && rows.valid(rows.row(i)) ? static_cast<u64>(a.labels[rows.row(i)]) : a.classes;
  }
  __syncthreads();
  CrossEntropy loss = rows.loss();
  CrossEntropy::Acc acc[kMicro];
#pragma unroll
  for (auto& e : acc) e = loss.init();
  for (u64 k0 = part.start; k0 < part.end; k0 += kTile) {
    TallTile::Sum z;
    rows.logits(shared, i0, k0, part.end, z);
    each_run_of_tile<kTallTile>(i0, k0, n, part.end, z, [&](u64 row, u64 k, u64 left, int i, const Floats4& run) {
      const u64 own = label[row - i0];
      if (own == a.classes) return;
      loss.label = own;
      Floats4 x = run;
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        if (k + j == own) a.stats[row * kStats + 2] = x.v[j];
      }
      if (left >= kMicro) {
        loss.add(acc[i], x.v, k);
      } else {
#pragma unroll
        for (int j = 0; j < kMicro; ++j) {
          float one[1] = {x.v[j]};
          if (static_cast<u64>(j) < left) loss.add(acc[i], one, k + j);
        }
      }
    });
  }
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const float max = reduce_lanes(loss.max(acc[i]), TallTile::kAcross, [](float x, float y) { return fmaxf(x, y); });
    loss.rebase(acc[i], max);
    const CrossEntropy::Acc all = reduce_lanes(
        acc[i], TallTile::kAcross, [&](const CrossEntropy::Acc& x, const CrossEntropy::Acc& y) { return loss.merge(x, y); });
    const u64 row = i0 + TallTile::row(i);
    if (threadIdx.x % TallTile::kAcross == 0 && row < n) {
      float* to = a.partials + (row * a.splits + blockIdx.y) * kPartial;
      to[0] = all.softmax.max;
      to[1] = all.softmax.sum;
      to[2] = all.gap;
      to[3] = all.weight;
    }
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
    const float* from = a.partials + i * a.splits * kPartial;
    for (int s = 0; s < a.splits; ++s) max = fmaxf(max, from[s * kPartial]);
    CrossEntropy::Acc acc = loss.init();
    loss.rebase(acc, max);
    for (int s = 0; s < a.splits; ++s) {
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
LK_DEVICE void linear_gradient(const lk_linear_rows_args& a) {
  __shared__ TallShared shared;
  __shared__ CrossEntropy::Row row[kTallTile];
  __shared__ u64 label[kTallTile];
  const LinearRows rows{a};
  const u64 i0 = a.first_row + u64(blockIdx.y) * kTallTile, k0 = a.first_class + u64(blockIdx.x) * kTile;
  const u64 last_row = a.first_row + a.tile_rows, end = a.first_class + a.tile_classes;
  CrossEntropy loss = rows.loss();
  if (threadIdx.x < kTallTile) {
    const u64 i = i0 + threadIdx.x, r = rows.row(i);
    label[threadIdx.x] = a.classes;
    if (i < last_row && rows.valid(r)) {
      const float* stats = a.stats + i * kStats;
      label[threadIdx.x] = static_cast<u64>(a.labels[r]);
      loss.begin(stats[2], label[threadIdx.x]);
      row[threadIdx.x] = loss.restored(stats[0], stats[1]);
      loss.scale(row[threadIdx.x], rows.upstream(r));
    } else if (i < last_row && !rows.ignored(r) && k0 == 0) {
      atomicOr(a.device_flags, kFlagLabel);
    }
  }
  TallTile::Sum z;
  rows.logits(shared, i0, k0, end, z);
  if (a.d == 0) __syncthreads();  // else its barriers publish `row` and `label`
  each_run_of_tile<kTallTile>(i0, k0, last_row, end, z, [&](u64 r, u64 k, u64 left, int, const Floats4& x) {
    const u64 own = label[r - i0];
    Floats4 g;
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const bool wanted = static_cast<u64>(j) < left && own != a.classes;
      g.v[j] = wanted ? loss.gradient(row[r - i0], x.v[j], k + j, k + j == own) : 0.0f;
    }
    put_run(a.tile + (r - a.first_row) * a.tile_classes + (k - a.first_class), g, left);
  });
}

// Adds to element e of a gradient: f32 in place, others in sums that the last tile rounds.
LK_DEVICE void accumulate(const lk_linear_rows_args& a, u64 e, u64 sum, float value) {
  if (!a.sums) {
    float* out = static_cast<float*>(a.out) + e;
    *out = a.first ? value : *out + value;
    return;
  }
  if (!a.first) value += a.sums[sum];
  if (a.last) {
    store1(a.out, a.dtype, e, value);
  } else {
    a.sums[sum] = value;
  }
}

// Sample m of the tile's rows, from row r0 on.
struct LinearTile {
  const LinearRows& rows;
  u64 r0, last, m, start, end;

  template <bool kAlongDepth>
  LK_DEVICE void load(int i, u64 p, float (&x)[4]) const {
    static_assert(kAlongDepth, "classes lie side by side");
    const u64 r = r0 + i, k = start + p, left = r < last && k < end ? end - k : 0;
    const u64 row = left ? r * static_cast<u64>(rows.a.samples) + m - rows.a.first_row : 0;
    load_run(rows.a.tile + (left ? row * rows.a.tile_classes + k : 0), LK_DTYPE_F32, left, x);
  }
};

// Part z of the gradient of x: rows of the call in blocks of 128 by 64 features, the samples of a row one after the
// other. A part takes its share of the tile's classes.
LK_DEVICE void linear_to_x(const lk_linear_rows_args& a) {
  __shared__ TallShared shared;
  const LinearRows rows{a};
  const u64 samples = static_cast<u64>(a.samples), first = a.first_row / samples, last = first + a.tile_rows / samples;
  const u64 r0 = first + u64(blockIdx.y) * kTallTile, j0 = u64(blockIdx.x) * kTile;
  const PartOf part(a.tile_classes, static_cast<u64>(a.parts_of_x), blockIdx.z);
  TallTile::Sum total = {};
  for (u64 m = 0; m < samples; ++m) {
    TallTile::Sum sum = {};
    if (part.start < part.end) {
      product_tile<true, false>(
          shared, LinearTile{rows, r0, last, m, part.start, part.end},
          rows.weight(a.first_class + part.start, a.first_class + part.end, j0), part.end - part.start, sum, rows.operands(Operands::kFloatsHalves));
    }
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < TallTile::kColumns; ++j) {
        const u64 r = r0 + TallTile::row(i), p = j0 + TallTile::column(j);
        if (r >= last || p >= a.d || rows.dropped(r * samples + m, p)) continue;
        total[i][j] = fmaf(sum[i][j], rows.factor(), total[i][j]);
      }
    }
  }
  float* out = a.parts + blockIdx.z * (last - first) * a.d;
  each_run_of_tile<kTallTile>(r0 - first, j0, last - first, a.d, total, [&](u64 r, u64 p, u64 left, int, const Floats4& x) {
    put_run(out + r * a.d + p, x, left);
  });
}

// The sum of the parts, in order.
LK_DEVICE void linear_add_parts(const lk_linear_rows_args& a) {
  const LinearRows rows{a};
  const u64 samples = static_cast<u64>(a.samples), first = a.first_row / samples, count = a.tile_rows / samples * a.d;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < count; e += u64(gridDim.x) * blockDim.x) {
    float sum = 0.0f;
    for (int z = 0; z < a.parts_of_x; ++z) sum += a.parts[z * count + e];
    // Not what 0 times a NaN of the weight gives.
    accumulate(a, first * a.d + e, first * a.d + e, rows.valid(first + e / a.d) ? sum : 0.0f);
  }
}

// Gradient of the weight: 128 classes by 64 features.
LK_DEVICE void linear_to_weight(const lk_linear_rows_args& a) {
  __shared__ TallShared shared;
  const LinearRows rows{a};
  const u64 k0 = u64(blockIdx.y) * kTallTile, j0 = u64(blockIdx.x) * kTile;
  TallTile::Sum sum = {};
  product_tile<false, false>(
      shared, Matrix{a.tile, LK_DTYPE_F32, a.tile_classes, a.tile_rows, a.tile_classes, 0, k0}, LinearInputDown{rows, j0},
      a.tile_rows, sum, rows.operands(Operands::kFloatsHalves));
  each_of_tile<kTallTile>(k0, j0, a.tile_classes, a.d, [&](u64 k, u64 p, int i, int j) {
    accumulate(a, (a.first_class + k) * a.d + p, k * a.d + p, sum[i][j] * rows.factor());
  });
}

// Gradient of the bias: one thread per class.
LK_DEVICE void linear_to_bias(const lk_linear_rows_args& a) {
  const u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k >= a.tile_classes) return;
  double sum = a.first ? 0.0 : a.bias_sums[k];
  for (u64 i = 0; i < a.tile_rows; ++i) sum += a.tile[i * a.tile_classes + k];
  if (a.last) {
    store1(a.out, a.dtype, a.first_class + k, static_cast<float>(sum));
  } else {
    a.bias_sums[k] = sum;
  }
}

}  // namespace lk
