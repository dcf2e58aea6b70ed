// States of an associative memory and its points: overlaps O = S X' and fields H = O X, on tensor cores. The n x n couplings
// X'X between the two never exist. Where few tiles would leave the GPU idle, blocks take parts of the sums.
#pragma once
#include "matrix_product.cuh"

// Mirrored by src/cuda/overlaps.rs.
struct lk_overlaps {
  const void* states;  // [batch][n]
  const void* points;  // [count][n]
  float* values;       // [parts][batch][stride]: parts of the overlaps, of which the first becomes their sum
  void* factors;       // [parts of a factor][batch][stride]: the overlaps as products want them; NULL for f32, or if not wanted
  float* undo;         // for f16 [batch]: times a row of the factors
  float* fields;       // [field_parts][batch][n], unless there is one
  uint64_t batch, count, n, stride;
  int32_t dtype;       // of states and points
  int32_t parts, field_parts;
};

namespace lk {

// Most of the depth that tensor cores add up alone: where they truncate, the error grows with it.
constexpr u64 kDeepest = 4096;

// A tile of the overlaps: part blockIdx.y of its sums. Neighbouring blocks have the same points.
template <int kDtype>
LK_DEVICE void overlap_tile(const lk_overlaps& o) {
  using P = Product<kDtype>;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  const u64 down = (o.batch + kSide - 1) / kSide, b0 = blockIdx.x % down * kSide, k0 = blockIdx.x / down * kSide;
  const PartOf part(o.n, static_cast<u64>(o.parts), blockIdx.y);
  float* out = o.values + (blockIdx.y * o.batch + b0) * o.stride + k0;
  u64 from = part.start;
  do {
    const u64 rest = from < part.end ? part.end - from : 0;
    typename P::Sum sum;
    matrix_product<P, true, true>(
        shared, panel(o.states, kDtype, o.n, o.batch, part.end, b0, from),
        panel(o.points, kDtype, o.n, o.count, part.end, k0, from), rest < kDeepest ? rest : kDeepest, sum);
    each_row<P>(shared, sum, o.batch - b0, o.count - k0, [&](int row, auto chunks) {
      chunks([&](int column, int, float (&x)[8]) {
        const u64 place = static_cast<u64>(row) * o.stride + column;
        if (from > part.start) {
          float before[8];
          load8(out, LK_DTYPE_F32, place, before);
#pragma unroll
          for (int e = 0; e < 8; ++e) x[e] += before[e];
        }
        store8(out, LK_DTYPE_F32, place, x);
      });
    });
    from += kDeepest;
  } while (from < part.end);
}

// The overlaps of state b from their parts, and as a factor. All threads of the block; scratch as for reduce_group.
LK_DEVICE void settle_overlaps(const lk_overlaps& o, u64 b, float* scratch) {
  float* row = o.values + b * o.stride;
  const u64 apart = o.batch * o.stride;
  float most = 0.0f;
  for (u64 k = u64(threadIdx.x) * 8; k < o.count; k += u64(blockDim.x) * 8) {
    float sum[8];
    load8(row, LK_DTYPE_F32, k, sum);
    for (int part = 1; part < o.parts; ++part) {
      float x[8];
      load8(row, LK_DTYPE_F32, part * apart + k, x);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum[e] += x[e];
    }
    if (o.parts > 1) store8(row, LK_DTYPE_F32, k, sum);
    const int left = left_of(o.count, k);
#pragma unroll
    for (int e = 0; e < 8; ++e) most = fmaxf(most, e < left ? fabsf(sum[e]) : 0.0f);
  }
  if (!o.factors) return;
  float times = 1.0f;
  if (o.dtype == LK_DTYPE_F16) {
    const HalfScale scale(reduce_group(most, 0.0f, scratch, [](float x, float y) { return fmaxf(x, y); }));
    times = scale.times;
    if (threadIdx.x == 0) o.undo[b] = scale.undo;
  }
  for (u64 k = u64(threadIdx.x) * 8; k < o.count; k += u64(blockDim.x) * 8) {
    float x[8];
    load8(row, LK_DTYPE_F32, k, x);
#pragma unroll
    for (int e = 0; e < 8; ++e) x[e] *= times;
    if (o.dtype == LK_DTYPE_F16) {
      put_parts<LK_DTYPE_F16>(o.factors, b * o.stride + k, apart, 8, x);
    } else {
      put_parts<LK_DTYPE_BF16>(o.factors, b * o.stride + k, apart, 8, x);
    }
  }
}

// each(b, i, left, x): fields from neuron i of state b on, of which `left` exist; where their sums have parts, these are
// written instead, for `each_field`.
template <int kDtype, class Each>
LK_DEVICE void field_tile(const lk_overlaps& o, Each each) {
  using P = Product<kDtype, kFactorParts<kDtype>>;
  LK_DYNAMIC_SHARED(unsigned char, shared);
  const u64 down = (o.batch + kSide - 1) / kSide, b0 = blockIdx.x % down * kSide, i0 = blockIdx.x / down * kSide;
  const PartOf part(o.count, static_cast<u64>(o.field_parts), blockIdx.y);
  const u64 depth = part.start < part.end ? part.end - part.start : 0;
  typename P::Sum sum;
  matrix_product<P, true, false>(
      shared, panel(P::kFloats ? o.values : o.factors, kDtype, o.stride, o.batch, part.end, b0, part.start),
      panel(o.points, kDtype, o.n, part.end, o.n, part.start, i0), depth, sum, o.batch * o.stride * P::kSize);
  each_row<P>(shared, sum, o.batch - b0, o.n - i0, [&](int row, auto chunks) {
    const u64 b = b0 + row;
    const float undo = kDtype == LK_DTYPE_F16 ? o.undo[b] : 1.0f;
    chunks([&](int column, int left, float (&x)[8]) {
      const u64 i = i0 + column;
#pragma unroll
      for (int e = 0; e < 8; ++e) x[e] *= undo;
      if (o.field_parts > 1) {
        put_chunk(o.fields, LK_DTYPE_F32, (blockIdx.y * o.batch + b) * o.n + i, left, x);
      } else {
        each(b, i, left, x);
      }
    });
  });
}

// The same from the parts, added in order.
template <class Each>
LK_DEVICE void each_field(const lk_overlaps& o, Each each) {
  const u64 runs = (o.n + 7) / 8, step = u64(gridDim.x) * blockDim.x;
  for (u64 run = u64(blockIdx.x) * blockDim.x + threadIdx.x; run < o.batch * runs; run += step) {
    const u64 b = run / runs, i = run % runs * 8;
    const int left = left_of(o.n, i);
    float sum[8];
    get_chunk(o.fields, LK_DTYPE_F32, b * o.n + i, left, sum);
    for (int part = 1; part < o.field_parts; ++part) {
      float x[8];
      get_chunk(o.fields, LK_DTYPE_F32, (part * o.batch + b) * o.n + i, left, x);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum[e] += x[e];
    }
    each(b, i, left, sum);
  }
}

}  // namespace lk
