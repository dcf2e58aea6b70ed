// Gates of the chosen logits. Forward: exp(z - largest) over the sum of the k, or of all; backward, with
// D = sum_j gates_j g_j: gates_j (g_j - D) at the chosen ones, elsewhere 0 or -p D.
// Bytes: beside those of the choice (sorting/largest.cu) the chosen logits, or all of them once more where the softmax
// comes first; the gradient once. Split: a group of threads per row. Bound: memory.
#include "losskit_args/topk_softmax_gating.h"
#include "../skeletons/rows.cuh"

namespace lk {

constexpr int kSoftmaxFirst = 1;

struct GateSums {
  float sum, dot;
};

LK_DEVICE void topk_softmax_gating(const lk_topk_softmax_gating_args& a) {
  __shared__ GateSums scratch[32];
  const uint32_t* found = static_cast<const uint32_t*>(a.workspace);
  const u64 k = static_cast<u64>(a.opts.k);
  const bool softmax_first = a.opts.order == kSoftmaxFirst, backward = a.pass == kPassBackward;
  for (u64 start = u64(blockIdx.x) * blockDim.y; start < a.tokens; start += u64(gridDim.x) * blockDim.y) {
    const u64 r = start + threadIdx.y;
    const bool present = r < a.tokens;
    const void* z = at(a.logits, a.dtype, present ? r * a.experts : 0);
    const uint32_t* chosen = found + (present ? r * k : 0);
    const float largest = load1(z, a.dtype, chosen[0]);
    const auto upstream = [&](u64 j) { return a.grad_loss ? a.grad_loss[r * k + j] : 1.0f; };

    GateSums mine = {0.0f, 0.0f};
    if (present) {
      for (u64 j = threadIdx.x; j < k; j += blockDim.x) {
        const float term = exp_difference(load1(z, a.dtype, chosen[j]), largest);
        if (!softmax_first) mine.sum += term;
        if (backward) mine.dot = fmaf(term, upstream(j), mine.dot);
      }
      if (softmax_first) {
        sweep(z, a.dtype, a.experts, [&](auto& x, u64) {
          for (float e : x) mine.sum += exp_difference(e, largest);
        });
      }
    }
    const GateSums all = reduce_group(mine, GateSums{0.0f, 0.0f}, scratch, [](const GateSums& p, const GateSums& q) {
      return GateSums{p.sum + q.sum, p.dot + q.dot};
    });
    const float mean = all.dot / all.sum;
    if (backward && present) {
      void* g = at(a.grad_logits, a.dtype, r * a.experts);
      const void* from = softmax_first ? z : g;  // of g only the address counts
      const bool vector = ((reinterpret_cast<uintptr_t>(g) ^ reinterpret_cast<uintptr_t>(from)) & 15) == 0;
      sweep(from, a.dtype, a.experts, [&](auto& x, u64 e) {
        for (float& v : x) v = softmax_first ? -mean * (exp_difference(v, largest) / all.sum) : 0.0f;
        store(g, a.dtype, e, vector, x);
      });
    }
    // The row is written before the chosen ones are, and the scratch is free again.
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (!present) continue;
    for (u64 j = threadIdx.x; j < k; j += blockDim.x) {
      const float gate = exp_difference(load1(z, a.dtype, chosen[j]), largest) / all.sum;
      if (backward) {
        store1(at(a.grad_logits, a.dtype, r * a.experts), a.dtype, chosen[j], gate * (upstream(j) - mean));
      } else {
        if (a.gates) a.gates[r * k + j] = gate;
        if (a.indices) a.indices[r * k + j] = chosen[j];
      }
    }
  }
}

}  // namespace lk

LK_KERNEL(topk_softmax_gating, lk_topk_softmax_gating_args) { lk::topk_softmax_gating(a); }
