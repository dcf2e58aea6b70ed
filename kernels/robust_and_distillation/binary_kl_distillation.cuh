// l = T^2 sum_k KL(Bernoulli(q) || Bernoulli(p)), q = sigmoid(teacher / T), p = sigmoid(student / T);
// dstudent = s T (p - q).
#pragma once
#include "losskit_args/binary_kl_distillation.h"
#include "../skeletons/row_sets.cuh"

namespace lk {

// Rows: teacher, student.
struct BinaryKlDistillation : RowSetBase<lk_binary_kl_distillation_args, 2> {
  struct Acc {
    float sum;
  };
  struct Row {
    float sum, s;
  };
  // A class, mirrored where that makes q at most 1/2. step: by how much the student's logit is larger, over T;
  // growth: exp(step) - 1; beyond `far` it may overflow, and p - q is exact.
  struct Class {
    bool mirrored, far;
    float q, student, step, growth;
  };

  double temperature;
  float inverse;

  static LK_DEVICE const void* input(const Args& a, int i) { return i == 0 ? a.teacher : a.student; }
  static LK_DEVICE void* gradient_of(const Args& a, int i) { return i == 0 ? nullptr : a.grad_student; }

  LK_DEVICE explicit BinaryKlDistillation(const Args& a)
      : temperature(a.opts.temperature), inverse(static_cast<float>(1.0 / a.opts.temperature)) {}

  LK_DEVICE Class at(float t, float x) const {
    Class c;
    c.mirrored = t > 0.0f;
    const float side = c.mirrored ? -inverse : inverse, e = expf(-__fmul_rn(inverse, fabsf(t)));
    c.step = __fmul_rn(side, __fsub_rn(x, t));
    c.student = side * x;
    c.q = e / (1.0f + e);
    c.far = c.step > 80.0f;
    c.growth = c.far ? 0.0f : expm1f(c.step);
    return c;
  }

  LK_DEVICE void begin(u64, u64, const void* const (&)[2]) {}
  LK_DEVICE Acc init() const { return {0.0f}; }
  LK_DEVICE void add(Acc& acc, const float (&x)[2], u64) const {
    const Class c = at(x[0], x[1]);
    // log(1 + q (exp(step) - 1)) - q step; far away log((1 + exp(student)) (1 - q)) in place of the first term.
    float log = log1pf(c.far ? fmaf(expf(-fabsf(c.student)), 1.0f - c.q, -c.q) : c.q * c.growth);
    if (c.far && c.student > 0.0f) log += c.student;
    acc.sum += log - __fmul_rn(c.q, c.step);
  }
  LK_DEVICE float max(const Acc&, int) const { return 0.0f; }
  LK_DEVICE void rebase(Acc&, const float (&)[2]) const {}
  LK_DEVICE Acc merge(const Acc& x, const Acc& y) const { return {x.sum + y.sum}; }
  LK_DEVICE Row finish(const Acc& acc) const { return {acc.sum, 0.0f}; }
  LK_DEVICE float loss(const Row& row) const { return static_cast<float>(temperature * temperature * row.sum); }
  LK_DEVICE void scale(Row& row, float s) const { row.s = static_cast<float>(s * temperature); }
  LK_DEVICE void gradient(const Row& row, const float (&x)[2], float (&g)[2], u64) const {
    const Class c = at(x[0], x[1]);
    const float part = c.q * c.growth;
    float d = (1.0f - c.q) * part / (1.0f + part);
    if (c.far) {
      const float e = expf(-fabsf(c.student));
      d = (c.student < 0.0f ? e : 1.0f) / (1.0f + e) - c.q;
    }
    g[1] = row.s * (c.mirrored ? -d : d);
  }
};

}  // namespace lk
