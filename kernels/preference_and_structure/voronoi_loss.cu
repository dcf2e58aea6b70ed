// Fitted components in the cells of the nearest true ones, and how far they are from them, in f64.
// Operations: 6 m k d. Bytes: all parameters once, from cache m or k times. Split: a warp for each fitted component,
// then one for each true, then a block for the sums. Bound: f64 arithmetic or launches; a metric of few components.
#include "losskit_args/voronoi_loss.h"
#include "../common.cuh"

namespace lk {

struct VoronoiDistances {
  double d[4];
};

struct Voronoi {
  const lk_voronoi_loss_args& a;

  // The workspace; see voronoi_loss.rs.
  LK_DEVICE VoronoiDistances* distances() const { return static_cast<VoronoiDistances*>(a.workspace); }
  LK_DEVICE double* terms() const { return reinterpret_cast<double*>(distances() + a.m); }  // [k]
  LK_DEVICE int64_t* cells() const { return reinterpret_cast<int64_t*>(terms() + a.k); }
  LK_DEVICE int64_t* members() const { return cells() + a.m; }

  LK_DEVICE double value(const void* p, u64 i) const { return load1(p, a.dtype, i); }
};

LK_DEVICE double add_lanes(double x) {
  return reduce_lanes(x, 32, [](double p, double q) { return p + q; });
}

// The whole warp.
LK_DEVICE VoronoiDistances voronoi_distances(const Voronoi& v, u64 i, u64 j) {
  const lk_voronoi_loss_args& a = v.a;
  double gate = 0.0, expert = 0.0;
  for (u64 c = threadIdx.x & 31; c < a.d; c += 32) {
    const double p = v.value(a.gate_weight, i * a.d + c) - v.value(a.true_gate_weight, j * a.d + c);
    const double q = v.value(a.expert_weight, i * a.d + c) - v.value(a.true_expert_weight, j * a.d + c);
    gate += p * p;
    expert += q * q;
  }
  return {{sqrt(add_lanes(gate)), sqrt(add_lanes(expert)), fabs(v.value(a.expert_bias, i) - v.value(a.true_expert_bias, j)),
           fabs(v.value(a.variance, i) - v.value(a.true_variance, j))}};
}

LK_DEVICE double voronoi_size(const VoronoiDistances& x) {
  return x.d[0] * x.d[0] + x.d[1] * x.d[1] + x.d[2] * x.d[2] + x.d[3] * x.d[3];
}

LK_DEVICE void voronoi_nearest(const lk_voronoi_loss_args& a) {
  const Voronoi v{a};
  const u64 warps = u64(gridDim.x) * (blockDim.x / 32);
  for (u64 i = u64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32; i < a.m; i += warps) {
    VoronoiDistances best = voronoi_distances(v, i, 0);
    double least = voronoi_size(best);
    int64_t cell = 0;
    for (u64 j = 1; j < a.k; ++j) {
      const VoronoiDistances x = voronoi_distances(v, i, j);
      const double size = voronoi_size(x);
      if (size < least) {
        least = size;
        best = x;
        cell = static_cast<int64_t>(j);
      }
    }
    if ((threadIdx.x & 31) != 0) continue;
    v.distances()[i] = best;
    v.cells()[i] = cell;
    if (a.cells) a.cells[i] = cell;
  }
}

// A cell's members and its own term.
LK_DEVICE void voronoi_cells(const lk_voronoi_loss_args& a) {
  const Voronoi v{a};
  const u64 warps = u64(gridDim.x) * (blockDim.x / 32);
  for (u64 j = u64(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32; j < a.k; j += warps) {
    double sum = 0.0, count = 0.0;
    for (u64 i = threadIdx.x & 31; i < a.m; i += 32) {
      if (v.cells()[i] != static_cast<int64_t>(j)) continue;
      sum += exp(v.value(a.gate_bias, i));
      count += 1.0;
    }
    sum = add_lanes(sum);
    count = add_lanes(count);
    if ((threadIdx.x & 31) != 0) continue;
    v.terms()[j] = fabs(sum - exp(v.value(a.true_gate_bias, j)));
    v.members()[j] = static_cast<int64_t>(count);
  }
}

// One block.
LK_DEVICE void voronoi_loss(const lk_voronoi_loss_args& a) {
  __shared__ double scratch[32];
  const Voronoi v{a};
  double sum = 0.0;
  for (u64 i = threadIdx.x; i < a.m; i += blockDim.x) {
    const VoronoiDistances x = v.distances()[i];
    const int64_t members = v.members()[v.cells()[i]];
    double term = x.d[0] + x.d[1] + x.d[2] + x.d[3];
    if (a.opts.over_specified && members > 1) {
      const double g = x.d[0] * x.d[0], e = x.d[1], b = x.d[2] * x.d[2], s = x.d[3];
      term = members == 2 ? g * g + e * e + b * b + s * s : g * g * g + e * e * e + b * b * b + s * s * s;
    }
    sum += exp(v.value(a.gate_bias, i)) * term;
  }
  for (u64 j = threadIdx.x; j < a.k; j += blockDim.x) sum += v.terms()[j];
  sum = reduce_group(sum, 0.0, scratch, [](double p, double q) { return p + q; });
  if (threadIdx.x == 0) *a.value = static_cast<float>(sum);
}

}  // namespace lk

LK_KERNEL(voronoi_nearest, lk_voronoi_loss_args, 256) { lk::voronoi_nearest(a); }
LK_KERNEL(voronoi_cells, lk_voronoi_loss_args, 256) { lk::voronoi_cells(a); }
LK_KERNEL(voronoi_loss, lk_voronoi_loss_args, 256) { lk::voronoi_loss(a); }
