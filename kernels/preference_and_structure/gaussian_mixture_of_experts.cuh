// -log sum_i pi_i N(y; mean_i, v_i) of rows behind two matrix products, a tile of rows at a time: scores of the gate and
// means, which then become their gradients.
#pragma once
#include "../skeletons/product_tile.cuh"
#include "../skeletons/rows.cuh"

// Mirrored by src/losses/preference_and_structure/gaussian_mixture_of_experts/device.rs.
struct lk_mixture_args {
  const void* x;             // [rows, d]
  const void* y;             // [rows]
  const void* weights[2];    // [experts, d] of the gate and of the means
  const void* biases[2];     // [experts]
  const void* log_variance;  // [experts]
  const float* grad_loss;    // NULL = 1
  float* losses;             // [rows] or NULL
  double* precision;         // [experts]: exp(-log_variance)
  float* tiles[3];           // [tile_rows][experts]: scores and means, then gradients of both and of log variances
  const uint32_t* found;     // [tile_rows][k], NULL = all are chosen
  float* partials;           // [splits][2][experts][d]
  double* partial_sums;      // [splits][3][experts]
  void* grad_x;
  void* grad_weights[2];
  float* weight_sums[2];     // what they are before they are rounded; NULL where they are f32
  void* grads[3];            // [experts] of the gate's bias, the means' bias, the log variance
  double* sums;              // [3][experts]
  uint64_t rows, d, experts, k;
  uint64_t first_row, tile_rows, splits;
  int32_t dtype, reduction;
  uint8_t gradient, first, last;  // first and last tile that adds to the gradients
};

namespace lk {

// Scores (z = 0) and means (z = 1): 64 rows by 64 experts.
LK_DEVICE void mixture_products(const lk_mixture_args& a) {
  __shared__ ProductShared shared;
  const unsigned which = blockIdx.z;
  const u64 i0 = u64(blockIdx.x) * kTile, k0 = u64(blockIdx.y) * kTile;
  float sum[kMicro][kMicro] = {};
  product_tile<true, true>(
      shared,
      [&](int i, u64 p) { return i0 + i < a.tile_rows && p < a.d ? load1(a.x, a.dtype, (a.first_row + i0 + i) * a.d + p) : 0.0f; },
      [&](int j, u64 p) { return k0 + j < a.experts && p < a.d ? load1(a.weights[which], a.dtype, (k0 + j) * a.d + p) : 0.0f; },
      a.d, sum);
  each_of_tile(i0, k0, a.tile_rows, a.experts, [&](u64 r, u64 k, int i, int j) {
    a.tiles[which][r * a.experts + k] = __fadd_rn(sum[i][j], load1(a.biases[which], a.dtype, k));
  });
}

LK_DEVICE void mixture_precision(const lk_mixture_args& a) {
  const u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (k < a.experts) a.precision[k] = exp(-static_cast<double>(load1(a.log_variance, a.dtype, k)));
}

struct MixturePair {
  double gate, joint;
};

// exp(x), x <= 0, to f32's accuracy whatever its size.
LK_DEVICE double mixture_exp(double x) {
  if (x < -104.0) return 0.0;
  const float near = static_cast<float>(x);
  const double e = expf(near);
  return e + e * (x - near);
}

// One row of a tile.
struct MixtureRow {
  const lk_mixture_args& a;
  float* score;
  float* mean;
  double y;
  bool all;
  float value;  // the last chosen score and its index
  u64 index;

  LK_DEVICE MixtureRow(const lk_mixture_args& args, u64 r)
      : a(args), score(a.tiles[0] + r * a.experts), mean(a.tiles[1] + r * a.experts), y(load1(a.y, a.dtype, a.first_row + r)) {
    all = true;
    value = 0.0f;
    index = 0;
    if (!a.found) return;
    const uint32_t* found = a.found + r * a.k;
    index = found[a.k - 1];
    value = score[index];
    const float first = score[found[0]];
    all = first != first;  // nothing of the row is a number then
  }

  // Exponents of gate and density: -infinity for experts that are not chosen.
  LK_DEVICE MixturePair exponents(u64 k) const {
    const float z = score[k];
    if (!all && !(z > value || (z == value && k <= index))) return {-double(infinity()), -double(infinity())};
    const double e = y - mean[k];
    return {z, z - 0.5 * (e * e * a.precision[k] + load1(a.log_variance, a.dtype, k))};
  }
};

LK_DEVICE void mixture_rows(const lk_mixture_args& a) {
  __shared__ MixturePair scratch[2][32];
  const MixturePair low = {-double(infinity()), -double(infinity())};
  for (u64 start = u64(blockIdx.x) * blockDim.y; start < a.tile_rows; start += u64(gridDim.x) * blockDim.y) {
    const u64 r = start + threadIdx.y;
    const bool present = r < a.tile_rows;
    const MixtureRow row(a, present ? r : 0);
    MixturePair top = low;
    if (present) {
      for (u64 k = threadIdx.x; k < a.experts; k += blockDim.x) {
        const MixturePair x = row.exponents(k);
        top.gate = fmax(top.gate, x.gate);
        top.joint = fmax(top.joint, x.joint);
      }
    }
    top = reduce_group(top, low, scratch[0], [](const MixturePair& p, const MixturePair& q) {
      return MixturePair{fmax(p.gate, q.gate), fmax(p.joint, q.joint)};
    });
    if (top.gate == low.gate) top.gate = 0.0;
    if (top.joint == low.joint) top.joint = 0.0;
    MixturePair sum = {0.0, 0.0};
    if (present) {
      for (u64 k = threadIdx.x; k < a.experts; k += blockDim.x) {
        const MixturePair x = row.exponents(k);
        sum.gate += mixture_exp(x.gate - top.gate);
        sum.joint += mixture_exp(x.joint - top.joint);
      }
    }
    sum = reduce_group(sum, MixturePair{0.0, 0.0}, scratch[1], [](const MixturePair& p, const MixturePair& q) {
      return MixturePair{p.gate + q.gate, p.joint + q.joint};
    });
    // All have read the chosen scores and the scratch before somebody writes again.
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (!present) continue;
    const u64 at_row = a.first_row + r;
    if (a.losses && threadIdx.x == 0) {
      a.losses[at_row] = static_cast<float>(top.gate - top.joint + log(sum.gate / sum.joint) + 0.91893853320467274178);
    }
    if (!a.gradient) continue;
    double s = a.grad_loss ? a.grad_loss[a.reduction == LK_REDUCTION_NONE ? at_row : 0] : 1.0;
    if (a.reduction == LK_REDUCTION_MEAN) s /= static_cast<double>(a.rows);
    const MixturePair share = {s / sum.gate, s / sum.joint};
    for (u64 k = threadIdx.x; k < a.experts; k += blockDim.x) {
      const MixturePair x = row.exponents(k);
      const double h = mixture_exp(x.joint - top.joint) * share.joint;
      // Of an expert that is not chosen the mean may be anything.
      const double e = h == 0.0 ? 0.0 : row.y - row.mean[k], mean = -h * e * a.precision[k];
      row.score[k] = static_cast<float>(mixture_exp(x.gate - top.gate) * share.gate - h);
      row.mean[k] = static_cast<float>(mean);
      a.tiles[2][r * a.experts + k] = static_cast<float>(0.5 * (h + mean * e));
    }
  }
}

// Gradient of x: 64 rows by 64 features, over the experts of the gate and then those of the means.
LK_DEVICE void mixture_to_x(const lk_mixture_args& a) {
  __shared__ ProductShared shared;
  const u64 i0 = u64(blockIdx.x) * kTile, j0 = u64(blockIdx.y) * kTile;
  float sum[kMicro][kMicro] = {};
  for (int which = 0; which < 2; ++which) {
    product_tile<true, false>(
        shared,
        [&](int i, u64 p) { return i0 + i < a.tile_rows && p < a.experts ? a.tiles[which][(i0 + i) * a.experts + p] : 0.0f; },
        [&](int j, u64 p) { return j0 + j < a.d && p < a.experts ? load1(a.weights[which], a.dtype, p * a.d + j0 + j) : 0.0f; },
        a.experts, sum);
  }
  each_of_tile(i0, j0, a.tile_rows, a.d, [&](u64 r, u64 p, int i, int j) {
    store1(a.grad_x, a.dtype, (a.first_row + r) * a.d + p, sum[i][j]);
  });
}

// The rows of part `split` of a tile.
LK_DEVICE u64 mixture_part(const lk_mixture_args& a, u64 split) {
  const u64 each = (a.tile_rows + a.splits - 1) / a.splits, start = split * each;
  return start < a.tile_rows ? start : a.tile_rows;
}

// Gradients of both weights from part of the rows: 64 experts by 64 features.
LK_DEVICE void mixture_to_weights(const lk_mixture_args& a) {
  __shared__ ProductShared shared;
  const unsigned which = blockIdx.z % 2;
  const u64 split = blockIdx.z / 2, first = mixture_part(a, split), count = mixture_part(a, split + 1) - first;
  const u64 k0 = u64(blockIdx.y) * kTile, j0 = u64(blockIdx.x) * kTile;
  if (!a.grad_weights[which]) return;
  float sum[kMicro][kMicro] = {};
  product_tile<false, false>(
      shared,
      [&](int i, u64 p) { return k0 + i < a.experts && p < count ? a.tiles[which][(first + p) * a.experts + k0 + i] : 0.0f; },
      [&](int j, u64 p) { return j0 + j < a.d && p < count ? load1(a.x, a.dtype, (a.first_row + first + p) * a.d + j0 + j) : 0.0f; },
      count, sum);
  each_of_tile(k0, j0, a.experts, a.d, [&](u64 k, u64 p, int i, int j) {
    a.partials[((split * 2 + which) * a.experts + k) * a.d + p] = sum[i][j];
  });
}

LK_DEVICE void mixture_add_weights(const lk_mixture_args& a) {
  const u64 size = a.experts * a.d, step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < 2 * size; e += step) {
    const unsigned which = e >= size;
    const u64 i = e - which * size;
    void* out = a.grad_weights[which];
    if (!out) continue;
    double sum = 0.0;
    for (u64 split = 0; split < a.splits; ++split) sum += a.partials[split * 2 * size + e];
    float* sums = a.weight_sums[which] ? a.weight_sums[which] : static_cast<float*>(out);
    if (!a.first) sum += sums[i];
    if (a.last) {
      store1(out, a.dtype, i, static_cast<float>(sum));
    } else {
      sums[i] = static_cast<float>(sum);
    }
  }
}

// Sums of part of the rows: 32 experts by 8 threads.
LK_DEVICE void mixture_to_experts(const lk_mixture_args& a) {
  __shared__ double sums[8][32];
  const unsigned lane = threadIdx.x % 32, turn = threadIdx.x / 32;
  const u64 k = u64(blockIdx.x) * 32 + lane, first = mixture_part(a, blockIdx.z), end = mixture_part(a, blockIdx.z + 1);
  double sum = 0.0;
  if (k < a.experts) {
    for (u64 r = first + turn; r < end; r += 8) sum += a.tiles[blockIdx.y][r * a.experts + k];
  }
  sums[turn][lane] = sum;
  __syncthreads();
  if (turn != 0 || k >= a.experts) return;
  for (int t = 1; t < 8; ++t) sum += sums[t][lane];
  a.partial_sums[(u64(blockIdx.z) * 3 + blockIdx.y) * a.experts + k] = sum;
}

LK_DEVICE void mixture_add_experts(const lk_mixture_args& a) {
  const u64 k = u64(blockIdx.x) * blockDim.x + threadIdx.x, i = blockIdx.y * a.experts + k;
  if (k >= a.experts) return;
  double sum = a.first ? 0.0 : a.sums[i];
  for (u64 split = 0; split < a.splits; ++split) sum += a.partial_sums[split * 3 * a.experts + i];
  a.sums[i] = sum;
  if (a.last && a.grads[blockIdx.y]) store1(a.grads[blockIdx.y], a.dtype, k, static_cast<float>(sum));
}

}  // namespace lk
