// l = log(1 + rest / f_y) with f = z^2 + eps or 1 + z + z^2 / 2 and rest its sum over the other classes;
// dz_k = s f'_k / sum f, of the label -s f'_y rest / (f_y sum f).
#pragma once
#include "losskit_args/spherical_softmax_cross_entropy.h"
#include "../skeletons/rows.cuh"

namespace lk {

struct SphericalSoftmax {
  using Args = lk_spherical_softmax_cross_entropy_args;
  static constexpr int kSaved = 2;  // root of rest in two floats: rest itself may be beyond f32
  static constexpr bool kRelative = false;

  struct Acc {
    double sum, squares;  // over k != y
  };
  struct Row {
    double rest, own, f;
    float one, two, at_label;  // gradient: (z + shift) one two, and the label's own
  };

  double eps, classes, z_label;
  float shift;
  u64 label;
  int dtype;
  bool taylor;

  LK_DEVICE SphericalSoftmax(const Args& a, const double*)
      : eps(a.opts.eps), classes(static_cast<double>(a.classes)), z_label(0), shift(a.opts.kind == 1 ? 1.0f : 0.0f), label(0),
        dtype(a.dtype), taylor(a.opts.kind == 1) {}

  LK_DEVICE void begin(const void* z, u64 y) {
    label = y;
    z_label = load1(z, dtype, y);
  }
  LK_DEVICE Acc init() const { return {0.0, 0.0}; }
  template <int N>
  LK_DEVICE void add(Acc& acc, float (&x)[N], u64 k) const {
    replace_label(x, k, label, 0.0f);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const double z = x[j];
      if (taylor) acc.sum += z;
      acc.squares = fma(z, z, acc.squares);
    }
  }
  LK_DEVICE Acc merge(const Acc& p, const Acc& q) const { return {p.sum + q.sum, p.squares + q.squares}; }

  LK_DEVICE Row finish(const Acc& acc) const {
    const double others = classes - 1.0;
    return complete(taylor ? others + acc.sum + acc.squares / 2.0 : acc.squares + others * eps);
  }
  LK_DEVICE Row complete(double rest) const {
    Row row;
    row.rest = rest;
    row.f = taylor ? 1.0 + z_label + z_label * z_label / 2.0 : z_label * z_label + eps;
    row.own = taylor ? 1.0 + z_label : 2.0 * z_label;
    row.one = row.two = row.at_label = 0.0f;
    return row;
  }
  LK_DEVICE void save(const Row& row, float* saved) const {
    const double root = sqrt(row.rest);
    saved[0] = static_cast<float>(root);
    saved[1] = saved[0] - saved[0] == 0.0f ? static_cast<float>(root - saved[0]) : 0.0f;
  }
  LK_DEVICE Row restore(const float* saved) const {
    const double root = static_cast<double>(saved[0]) + saved[1];
    return complete(root * root);
  }

  LK_DEVICE float loss(const Row& row) const { return static_cast<float>(log1p(row.rest / row.f)); }

  LK_DEVICE void scale(Row& row, float s) const {
    const double all = row.rest + row.f, factor = static_cast<double>(s) * (taylor ? 1.0 : 2.0) / all;
    const double root = sqrt(fabs(factor));
    row.one = static_cast<float>(root);
    row.two = static_cast<float>(copysign(root, factor));
    row.at_label = static_cast<float>(-static_cast<double>(s) * row.own / row.f * (row.rest / all));
  }
  LK_DEVICE float gradient(const Row& row, float z, u64, bool is_label) const {
    return is_label ? row.at_label : (z + shift) * row.one * row.two;
  }
};

}  // namespace lk
