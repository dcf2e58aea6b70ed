// loss = mean over the tokens of sum_e p_te load_e, load_e = experts times the share of the choices that fall on e;
// dz_te = (g / tokens) p_te (load_e - sum_j p_tj load_j). Loads are counts times a factor.
// Bytes: beside those of the choice (sorting/largest.cu) the chosen indices once, then the logits from memory and once
// more from cache, and the gradient once. Split: counts in shared memory; a group of threads per row. Bound: memory.
#include "losskit_args/load_balancing_loss.h"
#include "../skeletons/rows.cuh"

namespace lk {

constexpr u64 kSharedCounts = 4096;

struct Balance {
  const lk_load_balancing_loss_args& a;

  // The workspace: counts, chosen indices, then that of rows; see load_balancing_loss.rs.
  LK_DEVICE static u64 aligned(u64 bytes) { return (bytes + 255) / 256 * 256; }
  LK_DEVICE unsigned char* base() const { return static_cast<unsigned char*>(a.workspace); }
  LK_DEVICE u64 choices() const { return a.tokens * static_cast<u64>(a.opts.k); }
  LK_DEVICE unsigned long long* counts() const { return reinterpret_cast<unsigned long long*>(base()); }
  LK_DEVICE const uint32_t* found() const { return reinterpret_cast<const uint32_t*>(base() + aligned(8 * a.experts)); }
  LK_DEVICE float* losses() const {
    return reinterpret_cast<float*>(base() + aligned(8 * a.experts) + aligned(4 * choices()) + kHeaderBytes);
  }
  // Counts less that of the row's largest logit: exact, so that a row that is certain of it, whose gradient is made of
  // small differences, keeps its digits.
  LK_DEVICE float lead(u64 e, unsigned long long count) const {
    const unsigned long long c = counts()[e];
    return c < count ? -static_cast<float>(count - c) : static_cast<float>(c - count);
  }
};

LK_DEVICE void load_balancing_clear(const lk_load_balancing_loss_args& a) {
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < a.experts; e += step) Balance{a}.counts()[e] = 0;
}

LK_DEVICE void load_balancing_count(const lk_load_balancing_loss_args& a) {
  __shared__ uint32_t local[kSharedCounts];
  const Balance balance{a};
  const bool shared = a.experts <= kSharedCounts;
  const u64 step = u64(gridDim.x) * blockDim.x, n = balance.choices();
  if (shared) {
    for (u64 e = threadIdx.x; e < a.experts; e += blockDim.x) local[e] = 0;
    __syncthreads();
  }
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const uint32_t e = balance.found()[i];
    if (shared) {
      atomicAdd(&local[e], 1u);
    } else {
      atomicAdd(&balance.counts()[e], 1ull);
    }
  }
  if (!shared) return;
  __syncthreads();
  for (u64 e = threadIdx.x; e < a.experts; e += blockDim.x) {
    if (local[e]) atomicAdd(&balance.counts()[e], static_cast<unsigned long long>(local[e]));
  }
}

struct BalanceTop {
  float z;
  uint32_t e;
};

struct BalanceSums {
  float sum, lead, load;  // the last for the loss, which has only terms of one sign
};

LK_DEVICE void load_balancing_loss(const lk_load_balancing_loss_args& a) {
  __shared__ BalanceSums scratch[32];
  __shared__ BalanceTop maxima[32];
  const Balance balance{a};
  const double factor = static_cast<double>(a.experts) / static_cast<double>(balance.choices());
  const float s = static_cast<float>(factor * (a.grad_loss ? a.grad_loss[0] : 1.0f) / static_cast<double>(a.tokens));
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.tokens; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.tokens;
    const void* z = at(a.logits, a.dtype, present ? r * a.experts : 0);
    BalanceTop best = {-infinity(), 0};
    if (present) {
      sweep(z, a.dtype, a.experts, [&](auto& x, u64 k) {
        for (float e : x) {
          if (e > best.z) best = {e, static_cast<uint32_t>(k)};
          ++k;
        }
      });
    }
    best = reduce_group(best, BalanceTop{-infinity(), 0}, maxima, [](const BalanceTop& p, const BalanceTop& q) { return q.z > p.z ? q : p; });
    const float top = best.z;
    const unsigned long long count = balance.counts()[best.e];
    BalanceSums sums = {0.0f, 0.0f, 0.0f};
    if (present) {
      sweep(z, a.dtype, a.experts, [&](auto& x, u64 k) {
        for (float e : x) {
          const float term = exp_difference(e, top);
          sums.sum += term;
          sums.lead = fmaf(term, balance.lead(k, count), sums.lead);
          sums.load = fmaf(term, static_cast<float>(balance.counts()[k++]), sums.load);
        }
      });
    }
    sums = reduce_group(sums, BalanceSums{0.0f, 0.0f, 0.0f}, scratch, [](const BalanceSums& p, const BalanceSums& q) {
      return BalanceSums{p.sum + q.sum, p.lead + q.lead, p.load + q.load};
    });
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    if (!present) continue;
    const float mean = sums.lead / sums.sum;
    if (a.pass != kPassBackward && a.loss && threadIdx.x == 0) {
      balance.losses()[r] = static_cast<float>(factor * (sums.load / sums.sum));
    }
    if (a.pass == kPassForward || !a.grad_logits) continue;
    void* g = at(a.grad_logits, a.dtype, r * a.experts);
    const bool vector = ((reinterpret_cast<uintptr_t>(g) ^ reinterpret_cast<uintptr_t>(z)) & 15) == 0;
    const float weight = s / sums.sum;
    sweep(z, a.dtype, a.experts, [&](auto& x, u64 k) {
      u64 at_expert = k;
      for (float& e : x) e = weight * exp_difference(e, top) * (balance.lead(at_expert++, count) - mean);
      store(g, a.dtype, k, vector, x);
    });
  }
}

}  // namespace lk

LK_KERNEL(load_balancing_clear, lk_load_balancing_loss_args) { lk::load_balancing_clear(a); }
LK_KERNEL(load_balancing_count, lk_load_balancing_loss_args, 256) { lk::load_balancing_count(a); }
LK_KERNEL(load_balancing_loss, lk_load_balancing_loss_args) { lk::load_balancing_loss(a); }
