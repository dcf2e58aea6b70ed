// E = -w/2 sum_k o_k^2, dE = -w sum_k o_k x_k with overlaps o_k = state . x_k: x_k are the means of the examples of each
// pattern (supervised), or all examples (unsupervised, w divided by their number).
#pragma once
#include "losskit_args/hebbian_energy.h"
#include "../skeletons/overlaps.cuh"

namespace lk {

// As src/losses has it: the means, then overlaps.
struct HebbianEnergy {
  const lk_hebbian_energy_args& a;
  bool averaged;
  u64 each;  // points of a pattern
  float *means, *overlaps;
  double weight, load;

  LK_DEVICE explicit HebbianEnergy(const lk_hebbian_energy_args& args) : a(args) {
    averaged = a.opts.mode == LK_HEBBIAN_ENERGY_MODE_SUPERVISED && a.samples > 1;
    each = averaged ? 1 : a.samples;
    unsigned char* p = static_cast<unsigned char*>(a.workspace);
    means = reinterpret_cast<float*>(p);
    overlaps = reinterpret_cast<float*>(p + (averaged ? (a.patterns * a.n * 4 + 255) / 256 * 256 : 0));
    const double samples = static_cast<double>(a.samples), r2 = a.opts.quality * a.opts.quality;
    load = static_cast<double>(a.n) * (1.0 - a.opts.dilution);
    weight = 1.0 / (load * (r2 + (1.0 - r2) / samples) * static_cast<double>(each));
    load *= static_cast<double>(each);
  }

  LK_DEVICE PatternRows states() const { return {a.state, a.dtype, a.batch, a.n}; }
  LK_DEVICE PatternRows points() const {
    return {averaged ? means : a.examples, averaged ? LK_DTYPE_F32 : a.dtype, a.patterns * each, a.n};
  }
};

LK_DEVICE void hebbian_energy_means(const lk_hebbian_energy_args& a) {
  const HebbianEnergy energy(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < a.patterns * a.n; e += step) {
    const u64 pattern = e / a.n, i = e % a.n;
    double sum = 0.0;
    for (u64 m = 0; m < a.samples; ++m) sum += load1(a.examples, a.dtype, (pattern * a.samples + m) * a.n + i);
    energy.means[e] = static_cast<float>(sum / static_cast<double>(a.samples));
  }
}

// A block for each state.
LK_DEVICE void hebbian_energy(const lk_hebbian_energy_args& a) {
  __shared__ double scratch[32];
  const HebbianEnergy energy(a);
  for (u64 b = blockIdx.x; b < a.batch; b += gridDim.x) {
    const float* found = energy.overlaps + b * a.patterns * energy.each;
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

LK_DEVICE void hebbian_energy_gradient(const lk_hebbian_energy_args& a) {
  const HebbianEnergy energy(a);
  field_tiles(energy.overlaps, a.batch, energy.points(), [&](u64 b, u64 i, float field) {
    const double factor = -energy.weight * (a.grad_loss ? a.grad_loss[b] : 1.0f);
    store1(a.grad_state, a.dtype, b * a.n + i, static_cast<float>(factor) * field);
  });
}

}  // namespace lk
