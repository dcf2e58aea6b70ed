// Gaps between mean confidence and accuracy of bins. Sums are integers, confidences in units of 2^-30: exact, and the
// same in any order.
#pragma once
#include "losskit_args/expected_calibration_error.h"
#include "../skeletons/sort.cuh"

namespace lk {

constexpr double kUnit = 1073741824.0;  // 2^30
constexpr int kSharedBins = 256;        // up to so many a block counts in shared memory first

using Word = unsigned long long;

struct Bins {
  Word* words;
  u64 count;
  u64* pairs;
  LK_DEVICE explicit Bins(const lk_expected_calibration_error_args& a)
      : words(static_cast<Word*>(a.workspace)), count(static_cast<u64>(a.opts.bins)),
        pairs(reinterpret_cast<u64*>(static_cast<unsigned char*>(a.workspace) + ((3 * count + 1) * 8 + 255) / 256 * 256)) {}
  LK_DEVICE Word* nans() const { return words + 3 * count; }
};

LK_DEVICE Word fixed_point(float c) {
  const double x = c < 0.0f ? 0.0 : c > 1.0f ? 1.0 : c;
  return static_cast<Word>(x * kUnit + 0.5);
}

LK_DEVICE void calibration_clear(const lk_expected_calibration_error_args& a) {
  const Bins bins(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < 3 * bins.count + 1; i += step) bins.words[i] = 0;
}

LK_DEVICE void calibration_count(const lk_expected_calibration_error_args& a) {
  __shared__ Word shared[3 * kSharedBins];
  const Bins bins(a);
  const bool few = bins.count <= kSharedBins;
  if (few) {
    for (u64 i = threadIdx.x; i < 3 * bins.count; i += blockDim.x) shared[i] = 0;
    __syncthreads();
  }
  Word* words = few ? shared : bins.words;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const float c = a.confidence[i];
    if (c != c) {
      atomicAdd(bins.nans(), Word(1));
      continue;
    }
    // Exact in f64.
    const double place = ceil(static_cast<double>(c) * static_cast<double>(bins.count)) - 1.0;
    u64 bin = place < 0.0 ? 0 : static_cast<u64>(place);
    if (bin >= bins.count) bin = bins.count - 1;
    atomicAdd(words + 3 * bin, Word(1));
    atomicAdd(words + 3 * bin + 1, fixed_point(c));
    if (a.correct[i]) atomicAdd(words + 3 * bin + 2, Word(1));
  }
  if (!few) return;
  __syncthreads();
  for (u64 i = threadIdx.x; i < 3 * bins.count; i += blockDim.x) {
    if (shared[i]) atomicAdd(bins.words + i, shared[i]);
  }
}

LK_DEVICE void calibration_keys(const lk_expected_calibration_error_args& a) {
  const Bins bins(a);
  u64 padded = kSortLeast;
  while (padded < a.n) padded *= 2;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < padded; i += step) {
    bins.pairs[i] = i < a.n ? sort_pair(order_key(a.confidence[i]), i) : kSortPadding;
  }
}

// A block for each bin of the sorted samples.
LK_DEVICE void calibration_ranges(const lk_expected_calibration_error_args& a) {
  __shared__ Word scratch[3][32];
  const Bins bins(a);
  const auto add = [](Word x, Word y) { return x + y; };
  for (u64 bin = blockIdx.x; bin < bins.count; bin += gridDim.x) {
    const u64 start = bin * a.n / bins.count, end = (bin + 1) * a.n / bins.count;
    Word confidence = 0, correct = 0, nans = 0;
    for (u64 j = start + threadIdx.x; j < end; j += blockDim.x) {
      const u64 i = sort_place(bins.pairs[j]);
      const float c = a.confidence[i];
      if (c != c) ++nans; else confidence += fixed_point(c);
      correct += a.correct[i] != 0;
    }
    confidence = reduce_group(confidence, Word(0), scratch[0], add);
    correct = reduce_group(correct, Word(0), scratch[1], add);
    nans = reduce_group(nans, Word(0), scratch[2], add);
    if (threadIdx.x == 0) {
      bins.words[3 * bin] = end - start;
      bins.words[3 * bin + 1] = confidence;
      bins.words[3 * bin + 2] = correct;
      if (nans) atomicAdd(bins.nans(), nans);
    }
    __syncthreads();
  }
}

LK_DEVICE void calibration_value(const lk_expected_calibration_error_args& a) {
  __shared__ double scratch[32];
  const Bins bins(a);
  const bool largest = a.opts.norm == LK_EXPECTED_CALIBRATION_ERROR_NORM_MAX;
  const bool squares = a.opts.norm == LK_EXPECTED_CALIBRATION_ERROR_NORM_L2;
  double value = 0.0;
  for (u64 bin = threadIdx.x; bin < bins.count; bin += blockDim.x) {
    const Word* w = bins.words + 3 * bin;
    if (w[0] == 0) continue;
    const double count = static_cast<double>(w[0]);
    const double gap = fabs(static_cast<double>(w[1]) / kUnit - static_cast<double>(w[2])) / count;
    const double share = count / static_cast<double>(a.n);
    value = largest ? fmax(value, gap) : value + share * (squares ? gap * gap : gap);
  }
  value = reduce_group(value, 0.0, scratch, [&](double x, double y) { return largest ? fmax(x, y) : x + y; });
  if (threadIdx.x != 0) return;
  if (squares) value = sqrt(value);
  *a.value = *bins.nans() ? quiet_nan() : static_cast<float>(value);
}

}  // namespace lk
