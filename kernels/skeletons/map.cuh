// Operators on single elements: out_i = f(in_i), grad_i = g_i w(in_i).
//
// A functor: using Args; Map(args); float output(x); float slope(x). Split: grid-stride, 8 elements a thread.
#pragma once
#include "elements.cuh"

namespace lk {

template <class Map, int N>
LK_DEVICE void map_chunk(const Map& map, int dtype, const void* in, void* out, const float* g, bool backward, u64 i) {
  float x[N], s[N], y[N];
  load(Operand{in, 0, 0.0f}, dtype, i, x);
  load(Operand{g, 0, 1.0f}, LK_DTYPE_F32, i, s);
#pragma unroll
  for (int j = 0; j < N; ++j) y[j] = backward ? s[j] * map.slope(x[j]) : map.output(x[j]);
  put(out, dtype, i, y);
}

template <class Map>
LK_DEVICE void map_kernel(const typename Map::Args& a, u64 n, const void* in, void* out, void* grad) {
  const Map map(a);
  const bool backward = a.pass == kPassBackward;
  void* to = backward ? grad : out;
  const float* g = backward ? a.grad_loss : nullptr;
  each_chunk(n, [&](auto width, u64 i) { map_chunk<Map, decltype(width)::N>(map, a.dtype, in, to, g, backward, i); });
}

}  // namespace lk
