// Bytes: the input once from memory. Split: grid-stride over up to 1024 blocks, then one block over their sums, each in a
// fixed order. Bound: memory, and about as much the logarithm and exponential of each element.
#include "losskit_args/binarize_indicators.h"
#include "binarize.cuh"

namespace lk {

// As in the host half.
LK_DEVICE unsigned indicator_blocks(u64 n) {
  const u64 blocks = (n + 2047) / 2048;
  return blocks < 1 ? 1 : blocks < 1024 ? static_cast<unsigned>(blocks) : 1024;
}

// Of some elements: squared errors; number, mean and squared deviations of the slopes.
struct IndicatorSums {
  double errors, count, mean, squares;
};

LK_DEVICE IndicatorSums merge(const IndicatorSums& p, const IndicatorSums& q) {
  const double count = p.count + q.count, errors = p.errors + q.errors;
  if (p.count == 0.0 || q.count == 0.0) {
    const IndicatorSums& some = p.count == 0.0 ? q : p;
    return {errors, count, some.mean, some.squares};
  }
  const double apart = q.mean - p.mean, part = q.count / count;
  return {errors, count, p.mean + apart * part, p.squares + q.squares + apart * apart * p.count * part};
}

// |x|^(1/o) - 1 = expm1(ln |x| / o) keeps its digits near 1; at 0 it is -1.
struct Indicators {
  const ResteSlope reste;
  double errors = 0.0, sum = 0.0, squares = 0.0;  // of slopes less the first
  float about = 0.0f;
  bool any = false;

  LK_DEVICE explicit Indicators(const lk_binarize_indicators_args& a) : reste(a.opts.o, a.opts.clip, a.opts.interval) {}

  LK_DEVICE void add(float x) {
    const float size = fabsf(x), log = logf(size), e = expm1f(reste.root * log);
    const float slope = x != x ? x : reste.at(size, log);
    if (!any) about = slope;
    any = true;
    const double error = e, d = slope - about;
    errors = fma(error, error, errors);
    sum += d;
    squares = fma(d, d, squares);
  }

  LK_DEVICE IndicatorSums sums(double count) const {
    if (!any) return {0.0, 0.0, 0.0, 0.0};
    const double mean = sum / count;
    return {errors, count, about + mean, fmax(squares - sum * mean, squares != squares ? squares : 0.0)};
  }
};

}  // namespace lk

LK_KERNEL(binarize_indicators_sums, lk_binarize_indicators_args, 256) {
  using namespace lk;
  __shared__ IndicatorSums scratch[32];
  Indicators in(a);
  const u64 step = u64(gridDim.x) * blockDim.x, first = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  const u64 chunks = aligned16(a.input) ? a.n / kChunk : 0;
  u64 count = 0;
  for (u64 c = first; c < chunks; c += step) {
    float x[kChunk];
    load8(a.input, a.dtype, c * kChunk, x);
#pragma unroll
    for (int j = 0; j < kChunk; ++j) in.add(x[j]);
    count += kChunk;
  }
  for (u64 i = chunks * kChunk + first; i < a.n; i += step) {
    in.add(load1(a.input, a.dtype, i));
    ++count;
  }
  const IndicatorSums all =
      reduce_group(in.sums(static_cast<double>(count)), IndicatorSums{0.0, 0.0, 0.0, 0.0}, scratch,
                   [](const IndicatorSums& p, const IndicatorSums& q) { return merge(p, q); });
  if (threadIdx.x == 0) static_cast<IndicatorSums*>(a.workspace)[blockIdx.x] = all;
}

LK_KERNEL(binarize_indicators_finish, lk_binarize_indicators_args) {
  using namespace lk;
  __shared__ IndicatorSums scratch[32];
  const IndicatorSums none = {0.0, 0.0, 0.0, 0.0};
  const IndicatorSums mine = threadIdx.x < indicator_blocks(a.n) ? static_cast<const IndicatorSums*>(a.workspace)[threadIdx.x] : none;
  const IndicatorSums all = reduce_group(mine, none, scratch, [](const IndicatorSums& p, const IndicatorSums& q) { return merge(p, q); });
  if (threadIdx.x != 0) return;
  if (a.estimating_error) *a.estimating_error = static_cast<float>(sqrt(all.errors));
  if (a.gradient_stability) *a.gradient_stability = a.n ? static_cast<float>(all.squares / static_cast<double>(a.n)) : 0.0f;
}
