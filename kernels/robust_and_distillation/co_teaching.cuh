// loss[0] = mean of losses_a over the k smallest losses_b, loss[1] the other way round.
#pragma once
#include "losskit_args/co_teaching.h"
#include "../skeletons/select.cuh"

namespace lk {

constexpr unsigned kCoTeachingBlocks = 512;

LK_DEVICE double* co_teaching_partials(const lk_co_teaching_args& a) {
  const u64 states = (2 * sizeof(SelectState) + 255) / 256 * 256;
  return reinterpret_cast<double*>(static_cast<unsigned char*>(a.workspace) + states) + blockIdx.y * kCoTeachingBlocks;
}

struct CoTeaching {
  const lk_co_teaching_args& a;
  const SelectState& state;
  const void *losses, *others;
  uint8_t* selected;
  void* gradient;
  double slope;

  // The losses of network `side` and the other's selection.
  LK_DEVICE CoTeaching(const lk_co_teaching_args& args, unsigned side)
      : a(args), state(static_cast<const SelectState*>(args.workspace)[1 - side]),
        losses(side ? args.losses_b : args.losses_a), others(side ? args.losses_a : args.losses_b),
        selected(args.pass == kPassBackward ? nullptr : side ? args.selected_a : args.selected_b),
        gradient(args.pass == kPassForward ? nullptr : side ? args.grad_losses_b : args.grad_losses_a) {
    slope = (args.grad_loss ? args.grad_loss[side] : 1.0) / static_cast<double>(state.taken);
  }

  template <int N>
  LK_DEVICE double run(u64 i) const {
    float other[N], own[N], g[N];
    load(Operand{others, 0, 0.0f}, a.dtype, i, other);
    load(Operand{losses, 0, 0.0f}, a.dtype, i, own);
    double sum = 0.0;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const bool taken = lk::selected(state, select_key(a.dtype, false, other[j]), i + j);
      if (selected) selected[i + j] = taken;
      g[j] = taken ? static_cast<float>(slope) : 0.0f;
      if (taken) sum += own[j];
    }
    if (gradient) put(gradient, a.dtype, i, g);
    return sum;
  }
};

LK_DEVICE void co_teaching(const lk_co_teaching_args& a) {
  __shared__ double scratch[32];
  const CoTeaching side(a, blockIdx.y);
  double sum = 0.0;
  each_chunk(a.n, [&](auto width, u64 i) { sum += side.run<decltype(width)::N>(i); });
  if (a.pass == kPassBackward || !a.loss) return;
  sum = reduce_group(sum, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x == 0) co_teaching_partials(a)[blockIdx.x] = sum;
}

LK_DEVICE void co_teaching_sums(const lk_co_teaching_args& a) {
  __shared__ double scratch[32];
  const u64 blocks = (a.n + 2047) / 2048;
  double sum = threadIdx.x < blocks ? co_teaching_partials(a)[threadIdx.x] : 0.0;
  sum = reduce_group(sum, 0.0, scratch, [](double x, double y) { return x + y; });
  if (threadIdx.x != 0) return;
  const u64 k = a.n == 0 ? 0 : static_cast<const SelectState*>(a.workspace)[0].taken;
  a.loss[blockIdx.y] = k == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(k));
}

}  // namespace lk
