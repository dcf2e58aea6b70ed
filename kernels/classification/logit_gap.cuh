// gap = largest - order-th largest logit; ds at the two, equal logits ranked by index.
#pragma once
#include "losskit_args/logit_gap.h"
#include "../skeletons/row_sets.cuh"
#include "../skeletons/sort.cuh"

namespace lk {

struct Ranked {
  float value;
  uint32_t nan;
  u64 index;
};

LK_DEVICE bool before(const Ranked& p, const Ranked& q) {
  return p.value > q.value || (p.value == q.value && p.index < q.index);
}

// Order 2: the two best in one sweep.
struct LogitGap : RowSetBase<lk_logit_gap_args, 1> {
  struct Acc {
    Ranked first, second;
  };
  struct Row {
    Acc two;
    float s;
  };

  static LK_DEVICE const void* input(const Args& a, int) { return a.logits; }
  static LK_DEVICE void* gradient_of(const Args& a, int) { return a.grad_logits; }
  static LK_DEVICE float* losses(const Args& a) { return a.gap; }

  LK_DEVICE explicit LogitGap(const Args&) {}
  LK_DEVICE void begin(u64, u64, const void* const (&)[1]) {}
  LK_DEVICE Acc init() const { return {{-infinity(), 0, ~u64(0)}, {-infinity(), 0, ~u64(0)}}; }
  LK_DEVICE void take(Acc& acc, const Ranked& x) const {
    if (before(x, acc.first)) {
      acc.second = acc.first;
      acc.first = x;
    } else if (before(x, acc.second)) {
      acc.second = x;
    }
    acc.first.nan |= x.nan;
  }
  LK_DEVICE void add(Acc& acc, const float (&x)[1], u64 k) const {
    const uint32_t nan = acc.first.nan | (x[0] != x[0]);
    take(acc, {x[0], 0, k});
    acc.first.nan = nan;
  }
  LK_DEVICE float max(const Acc&, int) const { return 0.0f; }
  LK_DEVICE void rebase(Acc&, const float (&)[1]) const {}
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const {
    Acc both = p;
    take(both, q.first);
    take(both, q.second);
    both.first.nan = p.first.nan | q.first.nan;
    return both;
  }
  LK_DEVICE Row finish(const Acc& acc) const { return {acc, 1.0f}; }
  LK_DEVICE float loss(const Row& row) const {
    return row.two.first.nan ? quiet_nan() : row.two.first.value - row.two.second.value;
  }
  LK_DEVICE void scale(Row& row, float s) const { row.s = s; }
  LK_DEVICE void gradient(const Row& row, const float (&)[1], float (&g)[1], u64 k) const {
    g[0] = k == row.two.first.index ? row.s : k == row.two.second.index ? -row.s : 0.0f;
    if (row.two.first.nan) g[0] = quiet_nan();
  }
};

// Any order: bit by bit, from counts of the logits that are at least as large.
struct Count {
  uint32_t n[2];
};

// Of elements of a row for which `wanted` holds; the same for all threads of the group.
template <class F>
LK_DEVICE u64 count_in_row(const void* z, int dtype, u64 classes, bool present, Count* scratch, F wanted) {
  u64 n = 0;
  if (present) {
    sweep(z, dtype, classes, [&](auto& x, u64 k) {
      constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
      for (int j = 0; j < N; ++j) n += wanted(x[j], k + j);
    });
  }
  const Count mine = {{static_cast<uint32_t>(n), static_cast<uint32_t>(n >> 32)}};
  const Count all = reduce_group(mine, Count{{0, 0}}, scratch, [](const Count& p, const Count& q) {
    const u64 sum = (u64(p.n[1]) << 32 | p.n[0]) + (u64(q.n[1]) << 32 | q.n[0]);
    return Count{{static_cast<uint32_t>(sum), static_cast<uint32_t>(sum >> 32)}};
  });
  if (blockDim.x > 32) __syncthreads(); else __syncwarp();
  return u64(all.n[1]) << 32 | all.n[0];
}

// Key of the order-th largest logit, and its index.
LK_DEVICE void find_ranked(const void* z, const lk_logit_gap_args& a, bool present, u64 order, Count* scratch, float& value, u64& index) {
  uint32_t key = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const uint32_t candidate = key | 1u << bit;
    const u64 n = count_in_row(z, a.dtype, a.classes, present, scratch, [&](float x, u64) { return order_key(x) >= candidate; });
    if (n >= order) key = candidate;
  }
  value = order_value(key);
  const u64 larger = count_in_row(z, a.dtype, a.classes, present, scratch, [&](float x, u64) { return order_key(x) > key; });
  // The last index with fewer than enough equal ones up to it, plus one.
  u64 low = 0, width = a.classes;
  int steps = 0;
  while (width >> steps) ++steps;
  for (int step = steps - 1; step >= 0; --step) {
    const u64 candidate = low + (u64(1) << step);
    const u64 n = count_in_row(z, a.dtype, a.classes, present, scratch,
                               [&](float x, u64 k) { return k < candidate && order_key(x) == key; });
    if (candidate <= a.classes && n < order - larger) low = candidate;
  }
  index = low;
}

// The largest logit, and the one of the order.
struct RankedEnds {
  float value[2];
  u64 index[2];
};

// Key and index of a logit: all different, the lower index larger among equals.
LK_DEVICE u64 ranked_pair(float value, u64 k) { return sort_pair(order_key(value), ~static_cast<uint32_t>(k)); }
LK_DEVICE void set_end(RankedEnds& ends, int i, u64 pair) {
  ends.value[i] = order_value(sort_key(pair));
  ends.index[i] = static_cast<uint32_t>(~pair);
}

// A sweep for each of the first: the largest below the last.
LK_DEVICE RankedEnds find_few(const void* z, const lk_logit_gap_args& a, bool present, Count* scratch) {
  RankedEnds ends;
  u64 last = ~u64(0);
  for (u64 j = 0; j < static_cast<u64>(a.opts.order); ++j) {
    u64 best = 0;
    if (present) {
      sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
        constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const u64 pair = ranked_pair(x[i], k + i);
          if (pair < last && pair > best) best = pair;
        }
      });
    }
    const Count mine = {{static_cast<uint32_t>(best), static_cast<uint32_t>(best >> 32)}};
    const Count most = reduce_group(mine, Count{{0, 0}}, scratch, [](const Count& p, const Count& q) {
      return p.n[1] > q.n[1] || (p.n[1] == q.n[1] && p.n[0] > q.n[0]) ? p : q;
    });
    if (blockDim.x > 32) __syncthreads(); else __syncwarp();
    last = u64(most.n[1]) << 32 | most.n[0];
    if (j == 0) set_end(ends, 0, last);
  }
  set_end(ends, 1, last);
  return ends;
}

constexpr unsigned kCandidates = 1024;
constexpr int kCandidateBits = 12;  // lowest bits that a threshold for candidates does without

struct Candidates {
  u64 pairs[kCandidates], ends[2];
  uint32_t count;
};

// A row to itself for the block: candidates are the logits that reach the order-th largest of the threads' maxima.
// False where they are too many, as of equal logits.
LK_DEVICE bool find_among_candidates(const void* z, const lk_logit_gap_args& a, Count* scratch, Candidates& shared, RankedEnds& ends) {
  const uint32_t order = static_cast<uint32_t>(a.opts.order);
  float top = -infinity();
  bool any = false;
  sweep(z, a.dtype, a.classes, [&](auto& x, u64) {
    constexpr int N = sizeof(x) / sizeof(float);
    any = true;
#pragma unroll
    for (int j = 0; j < N; ++j) top = fmaxf(top, x[j]);
  });
  const uint32_t most = any ? order_key(top) : 0;
  if (threadIdx.x == 0) shared.count = 0;
  uint32_t threshold = 0;
  for (int bit = 31; bit >= kCandidateBits; --bit) {
    const uint32_t candidate = threshold | 1u << bit;
    const Count n = reduce_group(Count{{most >= candidate, 0}}, Count{{0, 0}}, scratch,
                                 [](const Count& p, const Count& q) { return Count{{p.n[0] + q.n[0], 0}}; });
    __syncthreads();
    if (n.n[0] >= order) threshold = candidate;
  }
  if (most >= threshold) {
    sweep(z, a.dtype, a.classes, [&](auto& x, u64 k) {
      constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        if (order_key(x[j]) < threshold) continue;
        const uint32_t place = atomicAdd(&shared.count, 1u);
        if (place < kCandidates) shared.pairs[place] = ranked_pair(x[j], k + j);
      }
    });
  }
  __syncthreads();
  const uint32_t count = shared.count;
  if (count <= kCandidates) {
    for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
      const u64 mine = shared.pairs[i];
      uint32_t rank = 0;
      for (uint32_t j = 0; j < count; ++j) rank += shared.pairs[j] > mine;
      if (rank == 0) shared.ends[0] = mine;
      if (rank == order - 1) shared.ends[1] = mine;
    }
    __syncthreads();
    set_end(ends, 0, shared.ends[0]);
    set_end(ends, 1, shared.ends[1]);
  }
  __syncthreads();
  return count <= kCandidates;
}

// The same for all threads of the group.
LK_DEVICE RankedEnds find_ends(const void* z, const lk_logit_gap_args& a, bool present, Count* scratch, Candidates& shared) {
  const u64 order = static_cast<u64>(a.opts.order);
  RankedEnds ends;
  if (blockDim.x <= 32 && order <= 32) return find_few(z, a, present, scratch);
  if (blockDim.x > 32 && order <= blockDim.x && a.classes <= 0xffffffffu && find_among_candidates(z, a, scratch, shared, ends)) return ends;
  find_ranked(z, a, present, 1, scratch, ends.value[0], ends.index[0]);
  find_ranked(z, a, present, order, scratch, ends.value[1], ends.index[1]);
  return ends;
}

LK_DEVICE void logit_gap_of_order(const lk_logit_gap_args& a) {
  __shared__ Count scratch[32];
  __shared__ Candidates candidates;
  const bool reduced = a.opts.reduction != LK_REDUCTION_NONE;
  float* gaps = a.gap && reduced ? reinterpret_cast<float*>(static_cast<unsigned char*>(a.workspace) + kHeaderBytes) : a.gap;
  for (u64 first = u64(blockIdx.x) * blockDim.y; first < a.rows; first += u64(gridDim.x) * blockDim.y) {
    const u64 r = first + threadIdx.y;
    const bool present = r < a.rows;
    const void* z = at(a.logits, a.dtype, present ? r * a.classes : 0);
    const u64 nans = count_in_row(z, a.dtype, a.classes, present, scratch, [](float x, u64) { return x != x; });
    const RankedEnds ends = find_ends(z, a, present, scratch, candidates);
    if (!present) continue;
    if (a.pass != kPassBackward && gaps && threadIdx.x == 0) gaps[r] = nans ? quiet_nan() : ends.value[0] - ends.value[1];
    if (a.pass == kPassForward || !a.grad_logits) continue;
    float s = a.grad_loss ? a.grad_loss[reduced ? 0 : r] : 1.0f;
    if (a.opts.reduction == LK_REDUCTION_MEAN) s = static_cast<float>(s / static_cast<double>(a.rows));
    void* g = at(a.grad_logits, a.dtype, r * a.classes);
    sweep(g, a.dtype, a.classes, [&](auto& x, u64 k) {
      constexpr int N = sizeof(x) / sizeof(float);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        x[j] = nans ? quiet_nan() : k + j == ends.index[0] ? s : k + j == ends.index[1] ? -s : 0.0f;
      }
      store(g, a.dtype, k, true, x);
    });
  }
}

}  // namespace lk
