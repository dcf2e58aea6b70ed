// entropy = log(others) - mean over rows of log sum_j exp(-E_ij); weights P_ij + P_ji.
#pragma once
#include "../skeletons/gram.cuh"

// Mirrored by src/losses/metric_learning/kernel_joint_entropy.rs.
struct lk_kernel_joint_entropy_value_args {
  const float* sums;  // [2][n]: smallest exponent, sum of exp(smallest - E)
  uint64_t n;
  float* entropy;
  double log_others;
};

namespace lk {

// Row sums in constants[0] (smallest exponents) and constants[1].
struct BothWays {
  const float* least;
  const float* sum;
  LK_DEVICE explicit BothWays(const lk_gram_term& term) : least(term.constants[0]), sum(term.constants[1]) {}
  LK_DEVICE float weight(float e, u64 i, u64 j) const {
    return expf(least[i] - e) / sum[i] + expf(least[j] - e) / sum[j];
  }
};

LK_DEVICE void kernel_joint_entropy_value(const lk_kernel_joint_entropy_value_args& a) {
  __shared__ double scratch[32];
  double total = 0.0;
  for (u64 i = threadIdx.x; i < a.n; i += blockDim.x) {
    total += log(static_cast<double>(a.sums[a.n + i])) - static_cast<double>(a.sums[i]);
  }
  total = reduce_group(total, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x == 0) *a.entropy = static_cast<float>(a.log_others - total / static_cast<double>(a.n));
}

}  // namespace lk
