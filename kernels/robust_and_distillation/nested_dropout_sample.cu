// Bytes: 8 per row, written once. Split: grid-stride, the four draws of a counter block a thread. Bound: f64 and
// integer arithmetic.
#include "losskit_args/nested_dropout_sample.h"
#include "../common.cuh"
#include "../philox.cuh"

LK_KERNEL(nested_dropout_sample, lk_nested_dropout_sample_args) {
  using namespace lk;
  const Philox from = {a.opts.seed, a.opts.offset};
  const bool uniform = a.opts.distribution == LK_NESTED_DROPOUT_SAMPLE_DISTRIBUTION_UNIFORM;
  const int64_t channels = static_cast<int64_t>(a.channels);
  const double last = static_cast<double>(channels - 1), step = static_cast<double>(channels) * 0x1p-32;
  const double log_of_staying = a.opts.rate;  // as the host has put it there
  const u64 stride = u64(gridDim.x) * blockDim.x;
  for (u64 c = u64(blockIdx.x) * blockDim.x + threadIdx.x; 4 * c < a.rows; c += stride) {
    const PhiloxBlock block = from.block(c);
    for (int j = 0; j < 4 && 4 * c + j < a.rows; ++j) {
      const double x = uniform ? __dmul_rn(static_cast<double>(block.w[j]) + 0.5, step) : philox_ln(block.w[j]) / log_of_staying;
      a.keep[4 * c + j] = x < last ? 1 + static_cast<int64_t>(x) : channels;
    }
  }
}
