// W = v_next + 1 omega' of a chunk of rows in f64, and its sum added to the sum so far. Called with the chunk in
// v_next and its rows in classes; with none it clears q and the sum. The products are kernels/dense. Bytes: v
// once for each product. Bound: f64 arithmetic, classes d^2 multiply-adds.
#include "losskit_args/factored_spherical_refresh.h"
#include "../common.cuh"

LK_KERNEL(factored_spherical_refresh, lk_factored_spherical_refresh_args) {
  using namespace lk;
  double* q = static_cast<double*>(a.workspace);
  double *sum = q + a.d * a.d, *w = sum + a.d;
  const u64 step = u64(gridDim.x) * blockDim.x, self = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (a.classes == 0) {
    for (u64 i = self; i < a.d * a.d + a.d; i += step) q[i] = 0.0;
    return;
  }
  for (u64 i = self; i < a.classes * a.d; i += step) w[i] = static_cast<double>(a.v_next[i]) + a.omega[i % a.d];
  for (u64 j = self; j < a.d; j += step) {
    double total = sum[j];
    for (u64 i = 0; i < a.classes; ++i) total += static_cast<double>(a.v_next[i * a.d + j]) + a.omega[j];
    sum[j] = total;
  }
}
