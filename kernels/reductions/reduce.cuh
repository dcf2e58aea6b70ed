// Sums over rows or blocks in f64: loss = sum(values) / divisor, and the normaliser of `mean`.
#pragma once
#include "../common.cuh"

// Mirrored by src/cuda/reduce.rs.
struct lk_reduce_args {
  uint64_t n;
  const void* values;          // [n], NULL = none
  const int64_t* labels;       // [n], NULL = none: the weight of entry i is that of its label
  const void* class_weights;   // [classes], NULL = 1 each
  uint64_t classes;
  int64_t ignore_index;
  double* partials;            // [blocks] pairs (sum of values, sum of weights): written by all but the last step
  double* sum_out;             // last step: the sum of values
  double* weight_out;          // last step: the sum of weights
  float* loss_out;             // last step: sum of values / divisor
  const double* divisor_in;    // divisor; NULL = `divisor`, or the sum of weights where that is 0
  double divisor;
  int32_t values_kind;         // an lk_dtype, or kPairs
  int32_t weights_dtype;
};

namespace lk {

constexpr int kPairs = 3;  // `values` are the pairs that an earlier launch left in `partials`

struct SumPair {
  double values, weights;
};

// 0 / 0, no counted sample, is 0; a NaN stays one.
LK_DEVICE double divide_or_zero(double sum, double divisor) {
  return divisor != 0.0 ? sum / divisor : (sum == sum ? 0.0 : sum);
}

LK_DEVICE double label_weight(const lk_reduce_args& a, u64 i) {
  const int64_t label = a.labels[i];
  if (label == a.ignore_index) return 0.0;
  if (!a.class_weights) return 1.0;
  const bool valid = label >= 0 && static_cast<u64>(label) < a.classes;
  return valid ? load1(a.class_weights, a.weights_dtype, static_cast<u64>(label)) : 0.0;
}

LK_DEVICE void write_sums(const lk_reduce_args& a, const SumPair& sum) {
  if (a.partials) {
    a.partials[2 * u64(blockIdx.x)] = sum.values;
    a.partials[2 * u64(blockIdx.x) + 1] = sum.weights;
    return;
  }
  if (a.sum_out) *a.sum_out = sum.values;
  if (a.weight_out) *a.weight_out = sum.weights;
  if (a.loss_out) {
    const double divisor = a.divisor_in ? *a.divisor_in : a.divisor != 0.0 ? a.divisor : sum.weights;
    *a.loss_out = static_cast<float>(divide_or_zero(sum.values, divisor));
  }
}

}  // namespace lk
