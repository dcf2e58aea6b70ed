// Sums of what tokens give over the sequences they belong to.
#pragma once
#include "../reductions/reduce.cuh"

// Mirrored by src/cuda/sequences.rs.
struct lk_sequence_args {
  const int64_t* labels;    // [tokens]
  const int64_t* segments;  // [tokens]
  const float* losses;      // [tokens], -log p; NULL: count only
  float* divisors;          // [sequences], written when counting
  float* log_prob;          // [sequences], written when summing
  float* counts;            // [sequences] or NULL, written when counting
  uint32_t* device_flags;
  uint64_t tokens, classes, sequences;
  int64_t ignore_index;
  int32_t average, unused;
};

namespace lk {

LK_DEVICE void sequence_sums(const lk_sequence_args& a) {
  __shared__ SumPair scratch[32];
  for (u64 s = blockIdx.x; s < a.sequences; s += gridDim.x) {
    SumPair sum = {0.0, 0.0};
    for (u64 t = threadIdx.x; t < a.tokens; t += blockDim.x) {
      if (s == 0 && static_cast<u64>(a.segments[t]) >= a.sequences) atomicOr(a.device_flags, kFlagLabel);
      if (static_cast<u64>(a.segments[t]) != s || a.labels[t] == a.ignore_index) continue;
      sum.weights += 1.0;
      if (a.losses) sum.values -= a.losses[t];
    }
    sum = reduce_group(sum, SumPair{0.0, 0.0}, scratch, [](const SumPair& x, const SumPair& y) {
      return SumPair{x.values + y.values, x.weights + y.weights};
    });
    if (threadIdx.x == 0) {
      const double divisor = a.average && sum.weights > 0.0 ? sum.weights : 1.0;
      if (a.losses) {
        a.log_prob[s] = static_cast<float>(sum.values / divisor);
      } else {
        a.divisors[s] = static_cast<float>(divisor);
        if (a.counts) a.counts[s] = static_cast<float>(sum.weights);
      }
    }
    __syncthreads();  // the scratch is free again
  }
}

}  // namespace lk
