// E = -w/2 sum_k o_k^2, dE = -w sum_k o_k x_k with overlaps o_k = state . x_k: x_k are the means of the examples of each
// pattern (supervised), or all examples (unsupervised, w divided by their number).
#pragma once
#include "losskit_args/hebbian_energy.h"
#include "../skeletons/overlaps.cuh"

// Mirrored by src/losses.
struct lk_hebbian_energy_step_args {
  lk_hebbian_energy_args call;
  lk_overlaps overlaps;
  float* means;   // [patterns][n], or NULL: the examples themselves are the points
  float* states;  // in f32, where the means are and the states are not, or NULL
};

namespace lk {

// As src/losses has it.
struct HebbianEnergy {
  const lk_hebbian_energy_args& a;
  u64 each;  // points of a pattern
  double weight, load;

  LK_DEVICE explicit HebbianEnergy(const lk_hebbian_energy_step_args& args) : a(args.call) {
    each = args.means ? 1 : a.samples;
    const double samples = static_cast<double>(a.samples), r2 = a.opts.quality * a.opts.quality;
    load = static_cast<double>(a.n) * (1.0 - a.opts.dilution);
    weight = 1.0 / (load * (r2 + (1.0 - r2) / samples) * static_cast<double>(each));
    load *= static_cast<double>(each);
  }

  LK_DEVICE void gradient(u64 b, u64 i, int left, float (&x)[8]) const {
    const float factor = static_cast<float>(-weight * (a.grad_loss ? a.grad_loss[b] : 1.0f));
#pragma unroll
    for (int e = 0; e < 8; ++e) x[e] *= factor;
    put_chunk(a.grad_state, a.dtype, b * a.n + i, left, x);
  }
};

LK_DEVICE void hebbian_energy_means(const lk_hebbian_energy_step_args& args) {
  const lk_hebbian_energy_args& a = args.call;
  const u64 runs = (a.n + 7) / 8, step = u64(gridDim.x) * blockDim.x;
  const double samples = static_cast<double>(a.samples);
  for (u64 run = u64(blockIdx.x) * blockDim.x + threadIdx.x; run < a.patterns * runs; run += step) {
    const u64 pattern = run / runs, i = run % runs * 8;
    const int left = left_of(a.n, i);
    double sum[8] = {};
    for (u64 m = 0; m < a.samples; ++m) {
      float x[8];
      get_chunk(a.examples, a.dtype, (pattern * a.samples + m) * a.n + i, left, x);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum[e] += x[e];
    }
    float means[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) means[e] = static_cast<float>(sum[e] / samples);
    put_chunk(args.means, LK_DTYPE_F32, pattern * a.n + i, left, means);
  }
}

LK_DEVICE void hebbian_energy_states(const lk_hebbian_energy_step_args& args) {
  const u64 count = args.call.batch * args.call.n, step = u64(gridDim.x) * blockDim.x * 8;
  for (u64 e = (u64(blockIdx.x) * blockDim.x + threadIdx.x) * 8; e < count; e += step) {
    float x[8];
    get_chunk(args.call.state, args.call.dtype, e, left_of(count, e), x);
    put_chunk(args.states, LK_DTYPE_F32, e, left_of(count, e), x);
  }
}

// A block for each state.
LK_DEVICE void hebbian_energy(const lk_hebbian_energy_step_args& args) {
  __shared__ double scratch[32];
  __shared__ float largest[32];
  const HebbianEnergy energy(args);
  const lk_hebbian_energy_args& a = args.call;
  for (u64 b = blockIdx.x; b < a.batch; b += gridDim.x) {
    settle_overlaps(args.overlaps, b, largest);
    __syncthreads();
    if (!a.energy && !a.magnetization) continue;
    const float* found = args.overlaps.values + b * args.overlaps.stride;
    double squares = 0.0;
    for (u64 p = threadIdx.x; p < a.patterns; p += blockDim.x) {
      double sum = 0.0;
      for (u64 k = p * energy.each; k < (p + 1) * energy.each; ++k) {
        const double o = found[k];
        sum += o;
        squares += o * o;
      }
      if (a.magnetization) a.magnetization[b * a.patterns + p] = static_cast<float>(sum / energy.load);
    }
    squares = reduce_group(squares, 0.0, scratch, [](double x, double y) { return x + y; });
    if (a.energy && threadIdx.x == 0) a.energy[b] = static_cast<float>(0.0 - 0.5 * energy.weight * squares);
    __syncthreads();
  }
}

template <int kDtype>
LK_DEVICE void hebbian_energy_gradient(const lk_hebbian_energy_step_args& args) {
  const HebbianEnergy energy(args);
  field_tile<kDtype>(args.overlaps, [&](u64 b, u64 i, int left, float (&x)[8]) { energy.gradient(b, i, left, x); });
}

LK_DEVICE void hebbian_energy_add_parts(const lk_hebbian_energy_step_args& args) {
  const HebbianEnergy energy(args);
  each_field(args.overlaps, [&](u64 b, u64 i, int left, float (&x)[8]) { energy.gradient(b, i, left, x); });
}

}  // namespace lk
