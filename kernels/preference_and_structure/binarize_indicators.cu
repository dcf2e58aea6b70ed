// Bytes: the input twice from memory. Split: grid-stride over 256 blocks, then one block over their sums, each in a
// fixed order. Bound: memory.
#include "losskit_args/binarize_indicators.h"
#include "binarize.cuh"

namespace lk {

constexpr unsigned kBlocks = 256;  // as in the host half

struct Indicators {
  const lk_binarize_indicators_args& a;
  ResteSlope reste;
  float root;
  double* sums;  // [3][kBlocks]: squared errors, slopes, squared deviations

  LK_DEVICE explicit Indicators(const lk_binarize_indicators_args& args)
      : a(args),
        reste(args.opts.o, args.opts.clip, args.opts.interval),
        root(static_cast<float>(1.0 / args.opts.o)),
        sums(static_cast<double*>(args.workspace)) {}

  LK_DEVICE float slope(float x) const { return x == x ? reste.at(fabsf(x)) : x; }

  // The block's sum; valid in thread 0.
  static LK_DEVICE double block_sum(double value) {
    __shared__ double scratch[32];
    value = reduce_group(value, 0.0, scratch, [](double x, double y) { return x + y; });
    __syncthreads();
    return value;
  }

  // Sum over the blocks of an earlier launch; the same in every thread.
  LK_DEVICE double total(int which) const {
    __shared__ double result;
    const double sum = block_sum(threadIdx.x < kBlocks ? sums[which * kBlocks + threadIdx.x] : 0.0);
    if (threadIdx.x == 0) result = sum;
    __syncthreads();
    const double value = result;
    __syncthreads();
    return value;
  }

  template <class F>
  LK_DEVICE double over_elements(F f) const {
    double sum = 0.0;
    const u64 step = u64(gridDim.x) * blockDim.x;
    for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) sum += f(load1(a.input, a.dtype, i));
    return block_sum(sum);
  }
};

}  // namespace lk

LK_KERNEL(binarize_indicators_sums, lk_binarize_indicators_args) {
  const lk::Indicators in(a);
  const double errors = in.over_elements([&](float x) {
    const float e = expm1f(in.root * logf(fabsf(x)));
    return static_cast<double>(e) * e;
  });
  const double slopes = in.over_elements([&](float x) { return static_cast<double>(in.slope(x)); });
  if (threadIdx.x == 0) {
    in.sums[blockIdx.x] = errors;
    in.sums[lk::kBlocks + blockIdx.x] = slopes;
  }
}

LK_KERNEL(binarize_indicators_squares, lk_binarize_indicators_args) {
  const lk::Indicators in(a);
  const double mean = in.total(1) / static_cast<double>(a.n);
  const double squares = in.over_elements([&](float x) {
    const double d = in.slope(x) - mean;
    return d * d;
  });
  if (threadIdx.x == 0) in.sums[2 * lk::kBlocks + blockIdx.x] = squares;
}

LK_KERNEL(binarize_indicators_finish, lk_binarize_indicators_args) {
  const lk::Indicators in(a);
  const double errors = in.total(0), squares = in.total(2);
  if (threadIdx.x != 0) return;
  if (a.estimating_error) *a.estimating_error = static_cast<float>(sqrt(errors));
  if (a.gradient_stability) *a.gradient_stability = a.n ? static_cast<float>(squares / static_cast<double>(a.n)) : 0.0f;
}
