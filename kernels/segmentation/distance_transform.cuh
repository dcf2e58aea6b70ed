// Squared Euclidean distances in integers: along rows, then lower envelopes of parabolas along y and z.
#pragma once
#include "losskit_args/distance_transform.h"
#include "../common.cuh"

namespace lk {

using DistanceArgs = lk_distance_transform_args;

constexpr u64 kInfinite = ~u64(0);

// Two buffers of squared distances, which passes take turns with, and the envelope of each line where the line is.
struct DistanceRoom {
  u64 *first, *second;
  uint32_t *sites, *starts;
  u64 n;

  LK_DEVICE explicit DistanceRoom(const DistanceArgs& a) : n(a.batch * a.depth * a.height * a.width) {
    const u64 squares = (8 * n + 255) / 256 * 256, indices = (4 * n + 255) / 256 * 256;
    unsigned char* p = static_cast<unsigned char*>(a.workspace);
    first = reinterpret_cast<u64*>(p);
    second = reinterpret_cast<u64*>(p + squares);
    sites = reinterpret_cast<uint32_t*>(p + 2 * squares);
    starts = reinterpret_cast<uint32_t*>(p + 2 * squares + indices);
  }
};

// One warp per row, 32 voxels at a time: the last zero so far is a running maximum over the lanes, and on the way
// back the next one a running minimum.
LK_DEVICE void distance_rows(const DistanceArgs& a) {
  const DistanceRoom room(a);
  const int64_t width = static_cast<int64_t>(a.width), none = INT64_MIN;
  const u64 rows = room.n / a.width, step = u64(gridDim.x) * (blockDim.x >> 5);
  const unsigned lane = threadIdx.x & 31;
  for (u64 row = u64(blockIdx.x) * (blockDim.x >> 5) + (threadIdx.x >> 5); row < rows; row += step) {
    const uint8_t* mask = a.mask + row * a.width;
    u64* to = room.first + row * a.width;
    int64_t carry = none;
    for (int64_t start = 0; start < width; start += 32) {
      const int64_t x = start + lane;
      int64_t zero = x < width && mask[x] == 0 ? x : none;
      for (unsigned d = 1; d < 32; d <<= 1) {
        const int64_t other = __shfl_up_sync(kFullMask, zero, d);
        if (lane >= d && other > zero) zero = other;
      }
      if (carry > zero) zero = carry;
      carry = __shfl_sync(kFullMask, zero, 31);
      if (x < width) to[x] = zero == none ? kInfinite : static_cast<u64>((x - zero) * (x - zero));
    }
    carry = INT64_MAX;
    for (int64_t start = (width - 1) / 32 * 32; start >= 0; start -= 32) {
      const int64_t x = start + lane;
      int64_t zero = x < width && mask[x] == 0 ? x : INT64_MAX;
      for (unsigned d = 1; d < 32; d <<= 1) {
        const int64_t other = __shfl_down_sync(kFullMask, zero, d);
        if (lane + d < 32 && other < zero) zero = other;
      }
      if (carry < zero) zero = carry;
      carry = __shfl_sync(kFullMask, zero, 0);
      if (x < width && zero != INT64_MAX) {
        const u64 after = static_cast<u64>((zero - x) * (zero - x));
        if (after < to[x]) to[x] = after;
      }
    }
  }
}

LK_DEVICE int64_t parabola(const u64* line, u64 stride, int64_t site, int64_t x) {
  return (x - site) * (x - site) + static_cast<int64_t>(line[u64(site) * stride]);
}

// One thread per line of `length` voxels `stride` apart, neighbours in memory beside each other.
template <class Put>
LK_DEVICE void distance_lines(const DistanceRoom& room, const u64* from, u64 length, u64 stride, const Put& put) {
  const u64 lines = room.n / length, step = u64(gridDim.x) * blockDim.x;
  for (u64 c = u64(blockIdx.x) * blockDim.x + threadIdx.x; c < lines; c += step) {
    const u64 base = c / stride * length * stride + c % stride;
    const u64* line = from + base;
    uint32_t *sites = room.sites + base, *starts = room.starts + base;
    // The last parabola of the envelope, of `count`.
    u64 count = 0;
    int64_t site = 0, start = 0;
    for (int64_t u = 0; u < static_cast<int64_t>(length); ++u) {
      const u64 own = line[u64(u) * stride];
      if (own == kInfinite) continue;
      while (count > 0 && parabola(line, stride, site, start) > parabola(line, stride, u, start)) {
        if (--count == 0) break;
        site = sites[(count - 1) * stride];
        start = starts[(count - 1) * stride];
      }
      int64_t next = 0;
      if (count > 0) {
        const int64_t other = static_cast<int64_t>(line[u64(site) * stride]);
        next = (u * u - site * site + static_cast<int64_t>(own) - other) / (2 * (u - site)) + 1;
      }
      if (next >= static_cast<int64_t>(length)) continue;
      sites[count * stride] = static_cast<uint32_t>(u);
      starts[count * stride] = static_cast<uint32_t>(next);
      ++count;
      site = u;
      start = next;
    }
    for (int64_t u = static_cast<int64_t>(length) - 1; u >= 0; --u) {
      put(base + u64(u) * stride, count == 0 ? kInfinite : static_cast<u64>(parabola(line, stride, site, u)));
      if (start == u && count > 1) {
        --count;
        site = sites[(count - 1) * stride];
        start = starts[(count - 1) * stride];
      }
    }
  }
}

LK_DEVICE void distance_columns(const DistanceArgs& a) {
  const DistanceRoom room(a);
  distance_lines(room, room.first, a.height, a.width, [&](u64 i, u64 square) { room.second[i] = square; });
}

LK_DEVICE void distance_depth(const DistanceArgs& a) {
  const DistanceRoom room(a);
  distance_lines(room, room.second, a.depth, a.height * a.width, [&](u64 i, u64 square) {
    a.distance[i] = square == kInfinite ? infinity() : static_cast<float>(sqrt(static_cast<double>(square)));
  });
}

}  // namespace lk
