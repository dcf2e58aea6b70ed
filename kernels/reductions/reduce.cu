// Bytes: 4 to 16 per entry. Split: grid-stride over at most 512 blocks, then one block over their partial
// sums; every thread and every merge in a fixed order. Bound: launch latency up to some 1e5 entries.
#include "reduce.cuh"

LK_KERNEL(reduce, lk_reduce_args) {
  using namespace lk;
  __shared__ SumPair scratch[32];
  SumPair sum = {0.0, 0.0};
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    if (a.values_kind == kPairs) {
      sum.values += static_cast<const double*>(a.values)[2 * i];
      sum.weights += static_cast<const double*>(a.values)[2 * i + 1];
      continue;
    }
    if (a.values) sum.values += load1(a.values, a.values_kind, i);
    if (a.labels) sum.weights += label_weight(a, i);
  }
  sum = reduce_group(sum, SumPair{0.0, 0.0}, scratch, [](const SumPair& x, const SumPair& y) {
    return SumPair{x.values + y.values, x.weights + y.weights};
  });
  if (threadIdx.x == 0) write_sums(a, sum);
}
