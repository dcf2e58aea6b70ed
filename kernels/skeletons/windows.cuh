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
constexpr int kColumnRows = 16;  // rows of a thread
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
    if (of_plane) {
      const void *pred = at(a.pred, a.dtype, plane * pixels), *target = at(a.target, a.dtype, plane * pixels);
      const u64 chunks = aligned16(pred) && aligned16(target) ? pixels / kChunk : 0;
      for (u64 c = threadIdx.x; c < chunks; c += blockDim.x) {
        float p[kChunk], t[kChunk];
        load8(pred, a.dtype, c * kChunk, p);
        load8(target, a.dtype, c * kChunk, t);
#pragma unroll
        for (int j = 0; j < kChunk; ++j) {
          x += p[j];
          y += t[j];
        }
      }
      for (u64 i = chunks * kChunk + threadIdx.x; i < pixels; i += blockDim.x) {
        x += load1(pred, a.dtype, i);
        y += load1(target, a.dtype, i);
      }
    } else {
      for (u64 i = threadIdx.x; i < z.window; i += blockDim.x) x += weight(i);
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

// The part of the window that is staged: all of it once for a block, where it fits.
struct StagedWindow {
  const float* weights;
  unsigned window;
  float* staged;

  LK_DEVICE bool whole() const { return window <= kTaps; }
  LK_DEVICE unsigned taps(unsigned first) const { return window - first < kTaps ? window - first : kTaps; }
  LK_DEVICE void stage(unsigned first) const {
    for (unsigned i = threadIdx.x; i < taps(first); i += blockDim.x) staged[i] = weights[first + i];
  }
  // Adds row r, filtered along the window, to the rows of a block that see it.
  LK_DEVICE void add_row(float (&maps)[kColumnRows][4], const float (&along)[4], unsigned r) const {
    if (whole()) add_row(maps, along, r, staged); else add_row(maps, along, r, weights);
  }
  LK_DEVICE void add_row(float (&maps)[kColumnRows][4], const float (&along)[4], unsigned r, const float* from) const {
#pragma unroll
    for (unsigned i = 0; i < kColumnRows; ++i) {
      if (r - i >= window) continue;  // also where r is below i
      const float weight = from[r - i];
#pragma unroll
      for (int m = 0; m < 4; ++m) maps[i][m] = fmaf(weight, along[m], maps[i][m]);
    }
  }
};

struct alignas(8) TwoFloats {
  float sum, difference;
};
struct alignas(16) FourFloats {
  float of[4];
};

// A block: kColumns x kColumnRows positions.
template <class Loss>
LK_DEVICE void windows_positions(const typename Loss::Args& a) {
  __shared__ TwoFloats row[kColumns + kTaps];
  __shared__ float staged[kTaps];
  __shared__ double scratch[32];
  const WindowSizes z(a);
  const WindowWorkspace w(a.workspace, z, a.batch);
  const Loss loss(a);
  const StagedWindow window = {w.weights, static_cast<unsigned>(z.window), staged};
  const bool backward = a.pass != kPassForward && (a.grad_pred || a.grad_target);
  const u64 across = WindowSizes::across(z.columns), per_plane = WindowSizes::blocks(z.rows, z.columns);
  if (window.whole()) window.stage(0);
  for (u64 block = blockIdx.x; block < z.planes * per_plane; block += gridDim.x) {
    const u64 plane = block / per_plane, in_plane = block % per_plane;
    const u64 top = in_plane / across * kColumnRows, left = in_plane % across * kColumns, x = left + threadIdx.x;
    const Center center = w.centers[plane];
    float maps[kColumnRows][4] = {};
    for (unsigned r = 0; r < kColumnRows + window.window - 1 && top + r < z.height; ++r) {
      float along[4] = {};
      const u64 start = (plane * z.height + top + r) * z.width;
      for (unsigned first = 0; first < window.window; first += kTaps) {
        const unsigned taps = window.taps(first);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < kColumns + taps; i += blockDim.x) {
          const u64 column = left + first + i;
          TwoFloats pixel = {0.0f, 0.0f};
          if (column < z.width) centred(a, center, start + column, pixel.sum, pixel.difference);
          row[i] = pixel;
        }
        if (!window.whole()) window.stage(first);
        __syncthreads();
#pragma unroll 4
        for (unsigned t = 0; t < taps; ++t) {
          const TwoFloats pixel = row[threadIdx.x + t];
          const float s = pixel.sum, d = pixel.difference, ws = staged[t] * s, wd = staged[t] * d;
          along[0] += ws;
          along[1] += wd;
          along[2] = fmaf(ws, s, along[2]);
          along[3] = fmaf(wd, d, along[3]);
        }
      }
      window.add_row(maps, along, r);
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
  __shared__ FourFloats row[kColumns + kTaps];
  __shared__ float staged[kTaps];
  const WindowSizes z(a);
  const WindowWorkspace w(a.workspace, z, a.batch);
  const StagedWindow window = {w.weights, static_cast<unsigned>(z.window), staged};
  const u64 across = WindowSizes::across(z.width), per_plane = WindowSizes::blocks(z.height, z.width);
  const u64 count = z.rows * z.columns, map = z.planes * count;
  const unsigned reach = window.window - 1;
  if (window.whole()) window.stage(0);
  for (u64 block = blockIdx.x; block < z.planes * per_plane; block += gridDim.x) {
    const u64 plane = block / per_plane, in_plane = block % per_plane;
    const u64 top = in_plane / across * kColumnRows, left = in_plane % across * kColumns, x = left + threadIdx.x;
    float maps[kColumnRows][4] = {};
    // Positions from `reach` above the block's first row to its last row.
    for (unsigned r = 0; r < kColumnRows + reach; ++r) {
      if (top + r < reach || top + r - reach >= z.rows) continue;
      const u64 start = plane * count + (top + r - reach) * z.columns;
      float along[4] = {};
      for (unsigned first = 0; first < window.window; first += kTaps) {
        const unsigned taps = window.taps(first);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < kColumns + taps; i += blockDim.x) {
          const u64 column = left + first + i;  // plus `reach`
          FourFloats slopes = {};
          if (column >= reach && column - reach < z.columns) {
#pragma unroll
            for (int m = 0; m < 4; ++m) slopes.of[m] = w.slopes[start + (column - reach) + m * map];
          }
          row[i] = slopes;
        }
        if (!window.whole()) window.stage(first);
        __syncthreads();
#pragma unroll 4
        for (unsigned t = 0; t < taps; ++t) {
          const FourFloats slopes = row[threadIdx.x + t];
#pragma unroll
          for (int m = 0; m < 4; ++m) along[m] = fmaf(staged[t], slopes.of[m], along[m]);
        }
      }
      window.add_row(maps, along, r);  // the window is symmetric
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
