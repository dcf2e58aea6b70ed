// The parts of factored_spherical_output that are no matrix products; what they compute together is at the
// head of src/losses/classification/factored_spherical_output.rs.
#pragma once
#include "losskit_args/factored_spherical_output.h"
#include "../common.cuh"

namespace lk {

using FsoArgs = lk_factored_spherical_output_args;

// Mirrored by Layout in src/losses/classification/factored_spherical_output/device.rs: f64 values.
struct FsoWorkspace {
  double *slopes, *sums, *losses;  // [rows, 3], [rows, 2], [rows, 2] pairs for the reduction
  double *h, *a, *again;           // [rows, d], one after the other
  double *wy, *qh, *x, *c;         // [rows, d]
  double *u_inv, *u_next, *made;   // [d, d]
  double *gram, *k, *small;        // [rows, rows]

  LK_DEVICE explicit FsoWorkspace(const FsoArgs& args) {
    const u64 n = args.rows, d = args.d;
    double* p = static_cast<double*>(args.workspace);
    slopes = take(p, 3 * n);
    sums = take(p, 2 * n);
    losses = take(p, 2 * n);
    h = take(p, n * d);
    a = take(p, n * d);
    again = take(p, n * d);
    wy = take(p, n * d);
    qh = take(p, n * d);
    x = take(p, n * d);
    c = take(p, n * d);
    u_inv = take(p, d * d);
    u_next = take(p, d * d);
    made = take(p, d * d);
    gram = take(p, n * n);
    k = take(p, n * n);
    small = take(p, n * n);
  }

  static LK_DEVICE double* take(double*& p, u64 count) {
    double* mine = p;
    p += count;
    return mine;
  }
};

LK_DEVICE bool fso_valid(const FsoArgs& a, u64 i) {
  return a.labels[i] >= 0 && static_cast<u64>(a.labels[i]) < a.classes;
}

// f(i) for all of `count`, over the grid.
template <class F>
LK_DEVICE void fso_each(u64 count, F f) {
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) f(i);
}

// H twice, v_y, and omega as the start of w_y.
LK_DEVICE void fso_gather(const FsoArgs& a) {
  const FsoWorkspace w(a);
  fso_each(a.rows * a.d, [&](u64 e) {
    const u64 i = e / a.d, j = e % a.d;
    const bool valid = fso_valid(a, i);
    w.h[e] = w.again[e] = load1(a.hidden, a.dtype, e);
    w.x[e] = valid ? a.v[static_cast<u64>(a.labels[i]) * a.d + j] : 0.0;
    w.wy[e] = a.omega[j];
    if (!valid && j == 0) atomicOr(a.device_flags, kFlagLabel);
  });
}

// The losses of the spherical family from three sums of a row of outputs. The gradient in the outputs is
// alpha o + beta 1 + gamma e_y.
struct FsoLoss {
  double value, alpha, beta, gamma;
};

LK_DEVICE FsoLoss fso_loss(const FsoArgs& a, double own, double squares, double sum) {
  const double classes = static_cast<double>(a.classes);
  if (a.opts.kind == 1) {
    const double all = squares + classes * a.opts.eps, f = own * own + a.opts.eps;
    return {log(all) - log(f), 2.0 / all, 0.0, -2.0 * own / f};
  }
  if (a.opts.kind == 2) {
    const double all = classes + sum + squares / 2.0, f = 1.0 + own + own * own / 2.0;
    return {log(all) - log(f), 1.0 / all, 1.0 / all, -(1.0 + own) / f};
  }
  if (a.opts.kind == 3) return {squares - 2.0 * own + 1.0, 2.0, 0.0, -2.0};
  const double mean = sum / classes, variance = squares / classes - mean * mean;
  const bool constant = variance <= 0.0;  // a NaN goes through
  const double std = constant ? 1.0 : sqrt(variance), u = constant ? 0.0 : (own - mean) / std;
  const double x = a.opts.a * (a.opts.b - u);
  const double value = ((x < 0.0 ? 0.0 : x) + log1p(exp(-fabs(x)))) / a.opts.a;
  if (constant) return {value, 0.0, 0.0, 0.0};
  const double g = 1.0 / (1.0 + exp(-x)), alpha = g * u / (classes * std * std);
  return {value, alpha, g / (classes * std) - alpha * mean, -g / std};
}

struct FsoDots {
  double own, squares, sum, omega;
};

// A block per row: loss, slopes, gradient, and C = beta wsum + gamma w_y.
LK_DEVICE void fso_rows(const FsoArgs& a) {
  __shared__ FsoDots scratch[32];
  const FsoWorkspace w(a);
  for (u64 i = blockIdx.x; i < a.rows; i += gridDim.x) {
    FsoDots dots = {0.0, 0.0, 0.0, 0.0};
    for (u64 j = threadIdx.x; j < a.d; j += blockDim.x) {
      const double h = w.h[i * a.d + j];
      dots.own += h * w.wy[i * a.d + j];
      dots.squares += h * w.qh[i * a.d + j];
      dots.sum += h * a.wsum[j];
      dots.omega += h * a.omega[j];
    }
    dots = reduce_group(dots, FsoDots{0.0, 0.0, 0.0, 0.0}, scratch, [](const FsoDots& x, const FsoDots& y) {
      return FsoDots{x.own + y.own, x.squares + y.squares, x.sum + y.sum, x.omega + y.omega};
    });
    FsoLoss loss = fso_loss(a, dots.own, dots.squares, dots.sum);
    if (!fso_valid(a, i)) loss = {quiet_nan(), 0.0, 0.0, 0.0};
    const double each = 1.0 / static_cast<double>(a.rows);
    const double alpha = loss.alpha * each, beta = loss.beta * each, gamma = loss.gamma * each;
    if (threadIdx.x == 0) {
      w.slopes[3 * i] = alpha;
      w.slopes[3 * i + 1] = beta;
      w.slopes[3 * i + 2] = gamma;
      w.sums[2 * i] = dots.sum;
      w.sums[2 * i + 1] = dots.omega;
      w.losses[2 * i] = loss.value;
      w.losses[2 * i + 1] = 1.0;
      if (a.losses) a.losses[i] = static_cast<float>(loss.value);
    }
    for (u64 j = threadIdx.x; j < a.d; j += blockDim.x) {
      const u64 e = i * a.d + j;
      const double c = beta * a.wsum[j] + gamma * w.wy[e];
      w.c[e] = c;
      if (a.grad_hidden) store1(a.grad_hidden, a.dtype, e, static_cast<float>(alpha * w.qh[e] + c));
    }
    __syncthreads();
  }
}

// I - G D.
LK_DEVICE void fso_gram(const FsoArgs& a) {
  const FsoWorkspace w(a);
  fso_each(a.rows * a.rows, [&](u64 e) {
    const u64 i = e / a.rows, j = e % a.rows;
    w.gram[e] = (i == j ? 1.0 : 0.0) - w.gram[e] * a.opts.learning_rate * w.slopes[3 * j];
  });
}

// N, and the rest of A.
LK_DEVICE void fso_mix(const FsoArgs& a) {
  const FsoWorkspace w(a);
  const double rate = a.opts.learning_rate, classes = static_cast<double>(a.classes);
  fso_each(a.rows * a.rows, [&](u64 e) {
    const u64 i = e / a.rows, j = e % a.rows;
    const double *si = w.slopes + 3 * i, *sj = w.slopes + 3 * j;
    const double same = a.labels[i] == a.labels[j] ? 1.0 : 0.0;
    const double f = classes * si[1] * sj[1] + si[1] * sj[2] + si[2] * sj[1] + same * si[2] * sj[2];
    w.small[e] = rate * si[0] * (0.5 * w.k[e] * rate * sj[0] + rate * w.small[e]) + 0.5 * rate * rate * f;
  });
  fso_each(a.rows * a.d, [&](u64 e) { w.a[e] = -rate * (w.slopes[3 * (e / a.d)] * w.qh[e] + w.c[e]); });
}

// omega' and wsum'.
LK_DEVICE void fso_vectors(const FsoArgs& a) {
  const FsoWorkspace w(a);
  const double rate = a.opts.learning_rate, classes = static_cast<double>(a.classes);
  fso_each(a.d, [&](u64 j) {
    double omega = 0.0, wsum = 0.0;
    for (u64 i = 0; i < a.rows; ++i) {
      const double *s = w.slopes + 3 * i, h = w.h[i * a.d + j];
      omega += h * (s[0] * w.sums[2 * i + 1] + s[1]);
      wsum += h * (s[0] * w.sums[2 * i] + classes * s[1] + s[2]);
    }
    if (a.omega_next) a.omega_next[j] = static_cast<float>(a.omega[j] - rate * omega);
    if (a.wsum_next) a.wsum_next[j] = static_cast<float>(a.wsum[j] - rate * wsum);
  });
}

// A block per row: v_y -= learning_rate gamma X. The first row of a label does it for all of them.
LK_DEVICE void fso_move(const FsoArgs& a) {
  const FsoWorkspace w(a);
  for (u64 i = blockIdx.x; i < a.rows; i += gridDim.x) {
    const int64_t label = a.labels[i];
    bool first = fso_valid(a, i);
    for (u64 j = 0; j < i && first; ++j) first = a.labels[j] != label;
    if (!first) continue;
    float* v = a.v_next + static_cast<u64>(label) * a.d;
    for (u64 k = threadIdx.x; k < a.d; k += blockDim.x) {
      double sum = 0.0;
      for (u64 j = i; j < a.rows; ++j) {
        if (a.labels[j] == label) sum += w.slopes[3 * j + 2] * w.x[j * a.d + k];
      }
      v[k] = static_cast<float>(v[k] - a.opts.learning_rate * sum);
    }
  }
}

// One block: product of the largest sums of magnitudes of a column.
LK_DEVICE void fso_condition(const FsoArgs& a) {
  __shared__ double scratch[32];
  const FsoWorkspace w(a);
  double product = 1.0;
  const auto larger = [](double x, double y) { return y <= x ? x : y != y || x == x ? y : x; };
  const double* const matrices[] = {w.u_next, w.u_inv};
  for (const double* matrix : matrices) {
    double most = 0.0;
    for (u64 j = threadIdx.x; j < a.d; j += blockDim.x) {
      double sum = 0.0;
      for (u64 i = 0; i < a.d; ++i) sum += fabs(matrix[i * a.d + j]);
      most = larger(most, sum);
    }
    product *= reduce_group(most, 0.0, scratch, larger);
    __syncthreads();
  }
  if (threadIdx.x == 0) *a.condition = static_cast<float>(product);
}

}  // namespace lk
