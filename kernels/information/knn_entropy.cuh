// entropy = constant + dims / n sum_i log e_i.
#pragma once
#include "../skeletons/neighbors.cuh"

// Mirrored by src/losses/information/knn_entropy.rs.
struct lk_knn_entropy_value_args {
  const float* distances;
  uint64_t n;
  const float* limits;
  uint64_t n_limits;
  float* entropy;
  double constant, factor;
};

namespace lk {

LK_DEVICE void knn_entropy_value(const lk_knn_entropy_value_args& a) {
  __shared__ double scratch[32];
  const bool finite = neighbors_limits(a.limits, a.n_limits).finite;
  double total = 0.0;
  // Without finite points there are no distances.
  for (u64 i = threadIdx.x; finite && i < a.n; i += blockDim.x) total += log(static_cast<double>(a.distances[i]));
  total = reduce_group(total, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x == 0) *a.entropy = finite ? static_cast<float>(a.constant + a.factor * total) : quiet_nan();
}

}  // namespace lk
