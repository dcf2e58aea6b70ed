// output = features where the channel is below keep, else 0; the gradient alike.
#pragma once
#include "losskit_args/nested_dropout.h"
#include "../skeletons/elements.cuh"

namespace lk {

constexpr u64 kBadKeep = ~u64(0);

// How many channels of a row stay.
LK_DEVICE u64 kept_channels(const lk_nested_dropout_args& a, u64 row) {
  const u64 kept = static_cast<u64>(a.keep[row]);
  if (kept <= a.channels) return kept;
  atomicOr(a.device_flags, kFlagLabel);
  return kBadKeep;
}

template <int N>
LK_DEVICE void nested_dropout(const lk_nested_dropout_args& a, u64 i) {
  const bool backward = a.pass == kPassBackward;
  u64 row = i / a.channels, channel = i - row * a.channels, kept = kept_channels(a, row);
  float x[N];
  if (channel + N <= a.channels && channel >= kept) {
#pragma unroll
    for (int j = 0; j < N; ++j) x[j] = 0.0f;
  } else {
    load(Operand{backward ? a.grad_loss : a.features, 0, 1.0f}, backward ? LK_DTYPE_F32 : a.dtype, i, x);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (channel == a.channels) {
        channel = 0;
        kept = kept_channels(a, ++row);
      }
      if (kept == kBadKeep) x[j] = backward ? 0.0f : quiet_nan();
      if (channel >= kept) x[j] = 0.0f;
      ++channel;
    }
  }
  put(backward ? a.grad_features : a.output, a.dtype, i, x);
}

LK_DEVICE void nested_dropout(const lk_nested_dropout_args& a) {
  each_chunk(a.rows * a.channels, [&](auto width, u64 i) { nested_dropout<decltype(width)::N>(a, i); });
}

}  // namespace lk
