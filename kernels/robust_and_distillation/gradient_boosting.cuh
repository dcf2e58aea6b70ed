// Rows of an additive model and its targets: negative slopes r, second derivatives h and losses. As src/cpu/boosting.rs.
#pragma once
#include "../common.cuh"

namespace lk {

enum { kBoostSquared, kBoostLogistic, kBoostSoftmax };

// The sum of a softmax is 1 + rest, rest without one of the largest, so that 1 - p keeps its digits.
struct BoostSoftmax {
  float top, rest;
};

struct BoostSum {
  double sum, tops;
};

struct BoostElement {
  float residual, hessian;
  double loss;
};

// All threads of the row's group.
LK_DEVICE BoostSoftmax boost_softmax(const void* row, int dtype, u64 k, bool present, float* tops, BoostSum* sums) {
  float top = -infinity();
  bool nan = false;
  for (u64 j = threadIdx.x; present && j < k; j += blockDim.x) {
    const float f = load1(row, dtype, j);
    nan |= f != f;
    top = f > top ? f : top;
  }
  top = nan ? quiet_nan() : top;
  top = reduce_group(top, -infinity(), tops, [](float p, float q) { return p != p || p > q ? p : q; });
  BoostSum sum = {0.0, 0.0};
  for (u64 j = threadIdx.x; present && j < k; j += blockDim.x) {
    const float f = load1(row, dtype, j);
    if (f == top) sum.tops += 1.0; else sum.sum += exp_difference(f, top);
  }
  sum = reduce_group(sum, BoostSum{0.0, 0.0}, sums, [](const BoostSum& p, const BoostSum& q) {
    return BoostSum{p.sum + q.sum, p.tops + q.tops};
  });
  return {top, static_cast<float>(sum.sum + (sum.tops - 1.0) + static_cast<double>(top - top))};
}

struct Boost {
  int kind;
  float top, share, others;
  double log_sum;

  LK_DEVICE explicit Boost(int k) : kind(k), top(0), share(0), others(0), log_sum(0) {}
  LK_DEVICE void row(const BoostSoftmax& s) {
    const double rest = s.rest;
    top = s.top;
    share = static_cast<float>(1.0 / (1.0 + rest));
    others = static_cast<float>(rest / (1.0 + rest));
    log_sum = log1p(rest);
  }

  LK_DEVICE BoostElement element(float f, float t) const {
    if (kind == kBoostSquared) {
      const double r = __fsub_rn(t, f);
      return {static_cast<float>(r), 1.0f, 0.5 * r * r};
    }
    if (kind == kBoostLogistic) {
      const float size = fabsf(f), e = expf(-size), larger = 1.0f / (1.0f + e), smaller = __fmul_rn(e, larger);
      const float residual = f > 0.0f ? __fsub_rn(t, 1.0f) + smaller : __fsub_rn(t, smaller);
      const double linear = static_cast<double>(f > 0.0f ? 1.0f - t : t) * size;
      return {residual, smaller * larger, log1pf(e) + linear};
    }
    const bool certain = f == top && others < share;  // p > 1/2: 1 - p is taken from the rest
    const float p = __fmul_rn(exp_difference(f, top), share);
    const float residual = certain ? __fsub_rn(t, 1.0f) + others : __fsub_rn(t, p);
    // An impossible class that is not asked for costs nothing.
    const double below = t == 0.0f ? 0.0 : static_cast<double>(top - f);
    return {residual, p * (certain ? others : 1.0f - p), t * (log_sum + below)};
  }
};

}  // namespace lk
