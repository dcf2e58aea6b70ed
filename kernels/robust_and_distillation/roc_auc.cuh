// The share of pairs of a positive and a negative that scores put in the right order, from the ranks of the
// positives. Ranks are integers: their sum is exact, modulo 2^64 where the result is below 2^63.
#pragma once
#include "losskit_args/roc_auc.h"
#include "../skeletons/sort.cuh"

namespace lk {

using AucCount = unsigned long long;

struct AucRoom {
  AucCount *positives, *nans, *ranks;  // the sum of twice the ranks of positives
  u64* pairs;                          // (key, label)
  LK_DEVICE explicit AucRoom(const lk_roc_auc_args& a)
      : positives(static_cast<AucCount*>(a.workspace)), nans(positives + 1), ranks(positives + 2),
        pairs(reinterpret_cast<u64*>(static_cast<unsigned char*>(a.workspace) + 256)) {}
};

LK_DEVICE void auc_clear(const lk_roc_auc_args& a) {
  if (threadIdx.x < 3) AucRoom(a).positives[threadIdx.x] = 0;
}

// Adds up over the block, and to `to`.
LK_DEVICE void auc_add(AucCount value, AucCount* to, AucCount* scratch) {
  value = reduce_group(value, AucCount(0), scratch, [](AucCount x, AucCount y) { return x + y; });
  if (threadIdx.x == 0 && value != 0) atomicAdd(to, value);
}

LK_DEVICE void auc_keys(const lk_roc_auc_args& a) {
  __shared__ AucCount scratch[2][32];
  const AucRoom room(a);
  u64 padded = kSortLeast;
  while (padded < a.n) padded *= 2;
  const u64 step = u64(gridDim.x) * blockDim.x;
  AucCount positives = 0, nans = 0;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < padded; i += step) {
    if (i >= a.n) {
      room.pairs[i] = kSortPadding;
      continue;
    }
    const float score = load1(a.scores, a.dtype, i);
    const bool positive = a.labels[i] != 0;
    positives += positive;
    nans += score != score;
    room.pairs[i] = sort_pair(order_key(score), positive);
  }
  auc_add(positives, room.positives, scratch[0]);
  auc_add(nans, room.nans, scratch[1]);
}

// The first pair from `low` up to `high` that is not below `bound`, or `high`.
LK_DEVICE u64 auc_first(const u64* pairs, u64 low, u64 high, u64 bound) {
  while (low < high) {
    const u64 middle = low + (high - low) / 2;
    if (pairs[middle] < bound) low = middle + 1; else high = middle;
  }
  return low;
}

// Where the pairs of the key of place j begin and end: nearby in steps that double, then by halves.
LK_DEVICE u64 auc_start(const u64* pairs, u64 j) {
  const u64 bound = u64(sort_key(pairs[j])) << 32;
  u64 step = 1;
  while (step <= j && pairs[j - step] >= bound) step *= 2;
  return auc_first(pairs, step <= j ? j - step : 0, j - step / 2, bound);
}
LK_DEVICE u64 auc_end(const u64* pairs, u64 j, u64 n) {
  const u64 bound = (u64(sort_key(pairs[j])) + 1) << 32;
  u64 step = 1;
  while (step < n - j && pairs[j + step] < bound) step *= 2;
  return auc_first(pairs, j + step / 2, step < n - j ? j + step : n, bound);
}

LK_DEVICE void auc_ranks(const lk_roc_auc_args& a) {
  __shared__ AucCount scratch[32];
  const AucRoom room(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  AucCount sum = 0;
  for (u64 j = u64(blockIdx.x) * blockDim.x + threadIdx.x; j < a.n; j += step) {
    // Of places start .. end - 1 the mean rank, from 1 on, is (start + end + 1) / 2.
    if (sort_place(room.pairs[j])) sum += auc_start(room.pairs, j) + auc_end(room.pairs, j, a.n) + 1;
  }
  auc_add(sum, room.ranks, scratch);
}

LK_DEVICE void auc_value(const lk_roc_auc_args& a) {
  if (threadIdx.x != 0) return;
  const AucRoom room(a);
  const AucCount positives = *room.positives, negatives = a.n - positives;
  if (*room.nans || positives == 0 || negatives == 0) {
    *a.value = quiet_nan();
    return;
  }
  const AucCount halves = *room.ranks - positives * (positives + 1);
  *a.value = static_cast<float>(static_cast<double>(halves) / (2.0 * static_cast<double>(positives) * static_cast<double>(negatives)));
}

}  // namespace lk
