// Losses on the local means and variances of two images under a Gaussian window. The images enter as sum and
// difference, about their means in the plane. A thread goes down a column: it filters each row along the window
// from shared memory, and adds it to the positions (or pixels) of its column that see the row.
//
// A loss is a functor:
//   using Args (with batch, channels, height, width, opts.window and opts.sigma); Loss(args)
//   float value(const Moments& m); Moments slopes(const Moments& m)
#pragma once
#include "../common.cuh"

namespace lk {

// Of x + y and x - y in the window; or a derivative by each.
struct Moments {
  float mean_sum, mean_difference, variance_sum, variance_difference;
};

// ---- Sizes and the workspace; mirrored by src/cuda/windows.rs ------------------------------------------

constexpr int kColumns = 64;   // threads of a block
constexpr int kColumnRows = 8;  // rows of a thread
constexpr int kTaps = 128;     // taps of the window that are staged at a time

struct WindowSizes {
  u64 planes, height, width, window, rows, columns;  // rows x columns positions

  template <class Args>
  LK_DEVICE explicit WindowSizes(const Args& a)
      : planes(a.batch * a.channels), height(a.height), width(a.width), window(static_cast<u64>(a.opts.window)),
        rows(height - window + 1), columns(width - window + 1) {}

  static LK_DEVICE u64 across(u64 columns) { return (columns + kColumns - 1) / kColumns; }
  static LK_DEVICE u64 blocks(u64 rows, u64 columns) { return (rows + kColumnRows - 1) / kColumnRows * across(columns); }
};

// What is taken from the pixels: x and y for their sum, and their difference.
struct Center {
  float x, y, difference, unused;
};

// f32 weights [window]; centres [planes]; f64 sums [planes, blocks]; f32 values [batch]; f32 slopes
// [4, planes, positions].
struct WindowWorkspace {
  float* weights;
  Center* centers;
  double* sums;
  float* values;
  float* slopes;

  LK_DEVICE WindowWorkspace(void* workspace, const WindowSizes& z, u64 batch) {
    const auto up = [](u64 bytes) { return (bytes + 255) / 256 * 256; };
    unsigned char* at = static_cast<unsigned char*>(workspace);
    weights = reinterpret_cast<float*>(at);
    at += up(z.window * 4);
    centers = reinterpret_cast<Center*>(at);
    at += up(z.planes * 16);
    sums = reinterpret_cast<double*>(at);
    at += up(z.planes * WindowSizes::blocks(z.rows, z.columns) * 8);
    values = reinterpret_cast<float*>(at);
    at += up(batch * 4);
    slopes = reinterpret_cast<float*>(at);
  }
};

LK_DEVICE double add(double x, double y) { return x + y; }

// ---- Kernels -------------------------------------------------------------------------------------------

// A block: the means of a plane; the last one: the window.
template <class Args>
LK_DEVICE void windows_prepare(const Args& a) {
  __shared__ double scratch[2][32];
  const WindowSizes z(a);
  const WindowWorkspace w(a.workspace, z, a.batch);
  const u64 pixels = z.height * z.width;
  for (u64 plane = blockIdx.x; plane <= z.planes; plane += gridDim.x) {
    double x = 0.0, y = 0.0;
    const auto weight = [&](u64 i) {
      const double distance = (static_cast<double>(i) - static_cast<double>(z.window / 2)) / a.opts.sigma;
      return exp(-0.5 * distance * distance);
    };
    const bool of_plane = plane < z.planes;
    for (u64 i = threadIdx.x; i < (of_plane ? pixels : z.window); i += blockDim.x) {
      x += of_plane ? load1(a.pred, a.dtype, plane * pixels + i) : weight(i);
      if (of_plane) y += load1(a.target, a.dtype, plane * pixels + i);
    }
    x = reduce_group(x, 0.0, scratch[0], add);
    y = reduce_group(y, 0.0, scratch[1], add);
    if (of_plane && threadIdx.x == 0) {
      x /= static_cast<double>(pixels);
      y /= static_cast<double>(pixels);
      w.centers[plane] = {static_cast<float>(x), static_cast<float>(y), static_cast<float>(x - y), 0.0f};
    }
    if (!of_plane) {
      for (u64 i = threadIdx.x; i < z.window; i += blockDim.x) w.weights[i] = static_cast<float>(weight(i) / x);
    }
    __syncthreads();
  }
}

// Sum and difference of the images at a pixel, less their centre.
template <class Args>
LK_DEVICE void centred(const Args& a, const Center& c, u64 index, float& sum, float& difference) {
  const float x = load1(a.pred, a.dtype, index), y = load1(a.target, a.dtype, index);
  sum = (x - c.x) + (y - c.y);
  difference = (x - y) - c.difference;
}

// A block: kColumns x kColumnRows positions.
template <class Loss>
LK_DEVICE void windows_positions(const typename Loss::Args& a) {
  __shared__ float row_sum[kColumns + kTaps], row_difference[kColumns + kTaps], window[kTaps];
  __shared__ double scratch[32];
  const WindowSizes z(a);
  const WindowWorkspace w(a.workspace, z, a.batch);
  const Loss loss(a);
  const bool backward = a.pass != kPassForward && (a.grad_pred || a.grad_target);
  const u64 across = WindowSizes::across(z.columns), per_plane = WindowSizes::blocks(z.rows, z.columns);
  for (u64 block = blockIdx.x; block < z.planes * per_plane; block += gridDim.x) {
    const u64 plane = block / per_plane, in_plane = block % per_plane;
    const u64 top = in_plane / across * kColumnRows, left = in_plane % across * kColumns, x = left + threadIdx.x;
    const Center center = w.centers[plane];
    float maps[kColumnRows][4] = {};
    for (u64 r = 0; r < kColumnRows + z.window - 1 && top + r < z.height; ++r) {
      float along[4] = {};
      for (u64 first = 0; first < z.window; first += kTaps) {
        const u64 taps = z.window - first < kTaps ? z.window - first : kTaps;
        __syncthreads();
        for (u64 i = threadIdx.x; i < kColumns + taps; i += blockDim.x) {
          row_sum[i] = row_difference[i] = 0.0f;
          const u64 column = left + first + i;
          if (column < z.width) centred(a, center, (plane * z.height + top + r) * z.width + column, row_sum[i], row_difference[i]);
        }
        for (u64 i = threadIdx.x; i < taps; i += blockDim.x) window[i] = w.weights[first + i];
        __syncthreads();
        for (u64 t = 0; t < taps; ++t) {
          const float s = row_sum[threadIdx.x + t], d = row_difference[threadIdx.x + t];
          const float ws = window[t] * s, wd = window[t] * d;
          along[0] += ws;
          along[1] += wd;
          along[2] = fmaf(ws, s, along[2]);
          along[3] = fmaf(wd, d, along[3]);
        }
      }
#pragma unroll
      for (u64 i = 0; i < kColumnRows; ++i) {
        if (r < i || r - i >= z.window) continue;
        const float weight = w.weights[r - i];
#pragma unroll
        for (int m = 0; m < 4; ++m) maps[i][m] = fmaf(weight, along[m], maps[i][m]);
      }
    }
    double total = 0.0;
#pragma unroll
    for (u64 i = 0; i < kColumnRows; ++i) {
      if (x >= z.columns || top + i >= z.rows) continue;
      const float s = maps[i][0], d = maps[i][1];
      const float vs = maps[i][2] - s * s, vd = maps[i][3] - d * d;
      // Written so that NaN stays.
      const Moments m = {s + (center.x + center.y), d + center.difference, vs < 0.0f ? 0.0f : vs, vd < 0.0f ? 0.0f : vd};
      total += loss.value(m);
      if (!backward) continue;
      const Moments g = loss.slopes(m);
      const u64 count = z.rows * z.columns, at = plane * count + (top + i) * z.columns + x, map = z.planes * count;
      w.slopes[at] = 2.0f * g.variance_sum;
      w.slopes[at + map] = 2.0f * g.variance_difference;
      w.slopes[at + 2 * map] = g.mean_sum - s * (2.0f * g.variance_sum);
      w.slopes[at + 3 * map] = g.mean_difference - d * (2.0f * g.variance_difference);
    }
    total = reduce_group(total, 0.0, scratch, add);
    if (threadIdx.x == 0) w.sums[block] = total;
    __syncthreads();
  }
}

// A warp: the planes of an image. Leaves the mean of its values.
template <class Args>
LK_DEVICE double windows_mean(const Args& a, u64 image) {
  const WindowSizes z(a);
  const WindowWorkspace w(a.workspace, z, a.batch);
  const u64 blocks = WindowSizes::blocks(z.rows, z.columns) * a.channels;
  double sum = 0.0;
  for (u64 i = threadIdx.x; i < blocks; i += 32) sum += w.sums[image * blocks + i];
  return reduce_lanes(sum, 32, add) / static_cast<double>(a.channels * z.rows * z.columns);
}

// A block: kColumns x kColumnRows pixels. Gradients times `factor` of the image.
template <class Args, class Factor>
LK_DEVICE void windows_gradient(const Args& a, Factor factor) {
  __shared__ float row[4][kColumns + kTaps], window[kTaps];
  const WindowSizes z(a);
  const WindowWorkspace w(a.workspace, z, a.batch);
  const u64 across = WindowSizes::across(z.width), per_plane = WindowSizes::blocks(z.height, z.width);
  const u64 count = z.rows * z.columns, reach = z.window - 1;
  for (u64 block = blockIdx.x; block < z.planes * per_plane; block += gridDim.x) {
    const u64 plane = block / per_plane, in_plane = block % per_plane;
    const u64 top = in_plane / across * kColumnRows, left = in_plane % across * kColumns, x = left + threadIdx.x;
    float maps[kColumnRows][4] = {};
    // Positions from `reach` above the block's first row to its last row.
    for (u64 r = 0; r < kColumnRows + reach; ++r) {
      if (top + r < reach || top + r - reach >= z.rows) continue;
      const u64 y = top + r - reach;
      float along[4] = {};
      for (u64 first = 0; first < z.window; first += kTaps) {
        const u64 taps = z.window - first < kTaps ? z.window - first : kTaps;
        __syncthreads();
        for (u64 i = threadIdx.x; i < kColumns + taps; i += blockDim.x) {
          const u64 column = left + first + i;  // plus `reach`
          const bool inside = column >= reach && column - reach < z.columns;
          const u64 at = plane * count + y * z.columns + (column - reach);
          for (int m = 0; m < 4; ++m) row[m][i] = inside ? w.slopes[at + m * z.planes * count] : 0.0f;
        }
        for (u64 i = threadIdx.x; i < taps; i += blockDim.x) window[i] = w.weights[first + i];
        __syncthreads();
        for (u64 t = 0; t < taps; ++t) {
#pragma unroll
          for (int m = 0; m < 4; ++m) along[m] = fmaf(window[t], row[m][threadIdx.x + t], along[m]);
        }
      }
#pragma unroll
      for (u64 i = 0; i < kColumnRows; ++i) {
        if (r < i || r - i >= z.window) continue;
        const float weight = w.weights[r - i];  // the window is symmetric
#pragma unroll
        for (int m = 0; m < 4; ++m) maps[i][m] = fmaf(weight, along[m], maps[i][m]);
      }
    }
    const Center center = w.centers[plane];
    const float scale = factor(plane / a.channels);
#pragma unroll
    for (u64 i = 0; i < kColumnRows; ++i) {
      if (x >= z.width || top + i >= z.height) continue;
      const u64 index = (plane * z.height + top + i) * z.width + x;
      float s, d;
      centred(a, center, index, s, d);
      const float of_sum = fmaf(s, maps[i][0], maps[i][2]), of_difference = fmaf(d, maps[i][1], maps[i][3]);
      if (a.grad_pred) store1(a.grad_pred, a.dtype, index, scale * (of_sum + of_difference));
      if (a.grad_target) store1(a.grad_target, a.dtype, index, scale * (of_sum - of_difference));
    }
  }
}

}  // namespace lk
