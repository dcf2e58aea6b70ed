// The k first of n floats in some order without sorting them, for up to two buffers at once (blockIdx.y): keys are
// counted by their highest digit, those that share the digit of the k-th by the next one and so on. Counts are
// integers, the same in any order.
#pragma once
#include "elements.cuh"
#include "sort.cuh"

namespace lk {

constexpr int kSelectBits = 11, kSelectValues = 1 << kSelectBits;
constexpr unsigned kSelectBlocks = 1024;  // as many threads scan what the blocks count
constexpr uint32_t kSelectHalf = 0x3ff;   // the lowest digit of halves, which would tell nothing else

// Taken are the elements of keys below `key`, and those of it that stand before `end`.
struct SelectState {
  uint64_t counts[kSelectValues];
  uint64_t ties[kSelectBlocks];  // in each block's part
  uint64_t taken;                // k
  uint64_t wanted, found;        // of the elements that share the digits so far
  uint64_t end;
  uint32_t key, digit, has_nan, unused;
};

static_assert(sizeof(SelectState) == 8 * (kSelectValues + kSelectBlocks) + 48, "as src/cuda/select.rs has it");

}  // namespace lk

// Mirrored by src/cuda/select.rs.
struct lk_select_args {
  const void* values[2];
  lk::SelectState* states;
  uint64_t n, k;
  uint64_t each;  // elements of a block
  int32_t dtype;
  int32_t magnitude;  // the largest magnitudes, NaN first; else the smallest values, NaN last
};

namespace lk {

using SelectCount = unsigned long long;

LK_DEVICE uint32_t select_key(int dtype, bool magnitude, float value) {
  const uint32_t low = dtype == LK_DTYPE_F32 ? 0 : kSelectHalf;
  if (!magnitude) return order_key(value) | low;
  const uint32_t size = __float_as_uint(value) & 0x7fffffffu;
  return ~((size > 0x7f800000u ? 0x7ff00000u : size) << 1) | low;
}
LK_DEVICE float select_magnitude(uint32_t key) { return __uint_as_float(~key >> 1); }

LK_DEVICE bool selected(const SelectState& s, uint32_t key, u64 i) {
  return key < s.key || (key == s.key && i < s.end);
}

// Of digit 0, 1 or 2.
LK_DEVICE unsigned select_shift(unsigned digit) { return digit == 0 ? 21 : digit == 1 ? 10 : 0; }

// Calls f(key, index) for the elements of a part.
template <class F>
LK_DEVICE void select_sweep(const lk_select_args& a, u64 start, u64 end, F f) {
  const void* values = a.values[blockIdx.y];
  for (u64 i = start + u64(threadIdx.x) * kChunk; i < end; i += u64(blockDim.x) * kChunk) {
    if (i + kChunk <= end) {
      float x[kChunk];
      load(Operand{values, 0, 0.0f}, a.dtype, i, x);
#pragma unroll
      for (int j = 0; j < kChunk; ++j) f(select_key(a.dtype, a.magnitude, x[j]), i + j);
    } else {
      for (u64 j = i; j < end; ++j) f(select_key(a.dtype, a.magnitude, load1(values, a.dtype, j)), j);
    }
  }
}

LK_DEVICE void select_start(const lk_select_args& a) {
  SelectState& s = a.states[blockIdx.y];
  for (int i = threadIdx.x; i < kSelectValues; i += blockDim.x) s.counts[i] = 0;
  if (threadIdx.x != 0) return;
  s.taken = a.k;
  s.wanted = a.k;
  s.found = a.k;
  s.end = a.k >= a.n ? ~u64(0) : 0;
  s.key = a.k >= a.n && a.n > 0 ? ~uint32_t(0) : 0;
  s.digit = 0;
  s.has_nan = 0;
}

LK_DEVICE void select_count(const lk_select_args& a) {
  __shared__ uint32_t counts[kSelectValues];
  SelectState& s = a.states[blockIdx.y];
  for (int i = threadIdx.x; i < kSelectValues; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  const unsigned shift = select_shift(s.digit);
  const uint32_t values = s.digit == 2 ? 0x3ffu : 0x7ffu, mask = s.digit == 0 ? 0 : ~uint32_t(0) << select_shift(s.digit - 1);
  const uint32_t above = s.digit == 0 ? 0 : s.key;
  const u64 start = blockIdx.x * a.each, end = start + a.each < a.n ? start + a.each : a.n;
  select_sweep(a, start, end, [&](uint32_t key, u64) {
    if ((key & mask) == above) atomicAdd(counts + (key >> shift & values), 1u);
  });
  __syncthreads();
  for (int i = threadIdx.x; i < kSelectValues; i += blockDim.x) {
    if (counts[i]) atomicAdd(reinterpret_cast<SelectCount*>(s.counts + i), SelectCount(counts[i]));
  }
}

// Sum of the values of this thread and those before it, for kSelectBlocks threads; `scratch` has one place for each.
LK_DEVICE u64 select_scan(u64 value, u64* scratch) {
  scratch[threadIdx.x] = value;
  for (unsigned step = 1; step < kSelectBlocks; step *= 2) {
    __syncthreads();
    const u64 before = threadIdx.x >= step ? scratch[threadIdx.x - step] : 0;
    __syncthreads();
    value += before;
    scratch[threadIdx.x] = value;
  }
  __syncthreads();
  return value;
}

// One block: the next digit of the k-th element's key.
LK_DEVICE void select_step(const lk_select_args& a) {
  __shared__ u64 scratch[kSelectBlocks];
  SelectState& s = a.states[blockIdx.y];
  const unsigned t = threadIdx.x, digit = s.digit;
  const u64 wanted = s.wanted, first = s.counts[2 * t], second = s.counts[2 * t + 1];
  const u64 all = select_scan(first + second, scratch), before = all - first - second;
  const unsigned nan = a.magnitude ? 0 : kSelectValues - 1;
  if (digit == 0 && t == nan / 2) s.has_nan = (nan % 2 ? second : first) != 0;
  s.counts[2 * t] = 0;
  s.counts[2 * t + 1] = 0;
  if (!(before < wanted && wanted <= all)) return;
  const bool low = wanted <= before + first;
  const uint32_t value = 2 * t + (low ? 0 : 1);
  s.wanted = wanted - before - (low ? 0 : first);
  s.found = low ? first : second;
  const uint32_t above = digit == 0 ? 0 : s.key, last = digit == 1 && a.dtype != LK_DTYPE_F32 ? kSelectHalf : 0;
  s.key = above | value << select_shift(digit) | last;
  s.digit = digit + 1;
}

LK_DEVICE void select_ties(const lk_select_args& a) {
  __shared__ u64 scratch[32];
  SelectState& s = a.states[blockIdx.y];
  if (s.wanted == s.found) return;
  const uint32_t wanted = s.key;
  const u64 start = blockIdx.x * a.each, end = start + a.each < a.n ? start + a.each : a.n;
  u64 count = 0;
  select_sweep(a, start, end, [&](uint32_t key, u64) { count += key == wanted; });
  count = reduce_group(count, u64(0), scratch, [](u64 x, u64 y) { return x + y; });
  if (threadIdx.x == 0) s.ties[blockIdx.x] = count;
}

// One block: where the last of the ties that are taken ends.
LK_DEVICE void select_end(const lk_select_args& a) {
  __shared__ u64 scratch[kSelectBlocks];
  __shared__ u64 part, rest, stop;
  SelectState& s = a.states[blockIdx.y];
  const unsigned t = threadIdx.x;
  if (s.wanted == s.found) {
    if (t == 0) s.end = ~u64(0);
    return;
  }
  const uint32_t wanted = s.key;
  const u64 parts = (a.n + a.each - 1) / a.each, mine = t < parts ? s.ties[t] : 0;
  const u64 upto = select_scan(mine, scratch);
  if (upto - mine < s.wanted && s.wanted <= upto) {
    part = t;
    rest = s.wanted - (upto - mine);
  }
  if (t == 0) stop = 0;
  __syncthreads();
  const u64 end = (part + 1) * a.each < a.n ? (part + 1) * a.each : a.n;
  const u64 chunk = u64(kSelectBlocks) * kChunk;
  for (u64 start = part * a.each; start < end && stop == 0; start += chunk) {
    u64 count = 0;
    select_sweep(a, start, start + chunk < end ? start + chunk : end, [&](uint32_t key, u64) { count += key == wanted; });
    const u64 sum = select_scan(count, scratch), total = scratch[kSelectBlocks - 1];
    if (sum - count < rest && rest <= sum) {
      u64 left = rest - (sum - count);
      select_sweep(a, start, start + chunk < end ? start + chunk : end, [&](uint32_t key, u64 i) {
        if (key == wanted && --left == 0) stop = i + 1;
      });
    }
    __syncthreads();
    if (t == 0) rest -= total;
    __syncthreads();
  }
  if (t == 0) s.end = stop;
}

}  // namespace lk
