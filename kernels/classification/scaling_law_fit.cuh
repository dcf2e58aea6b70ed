// Least squares of log(l + exp(s - alpha t)) - log y, t = log x about its mean, by Levenberg-Marquardt: a warp for each
// of twelve starts, all its lanes taking the same steps. As src/losses/classification/scaling_law_fit.rs.
#pragma once
#include "losskit_args/scaling_law_fit.h"
#include "../common.cuh"

namespace lk {

struct LawSums {
  double cost, gradient[3], matrix[6];  // matrix: 00, 10, 11, 20, 21, 22
};

struct ScalingLaw {
  const lk_scaling_law_fit_args& a;
  double mean, least_y;
  int lane;

  LK_DEVICE static double sum_of(double x) {
    return reduce_lanes(x, 32, [](double p, double q) { return p + q; });
  }

  LK_DEVICE explicit ScalingLaw(const lk_scaling_law_fit_args& args) : a(args), lane(threadIdx.x & 31) {
    double sum = 0.0, least = static_cast<double>(infinity());
    for (u64 i = lane; i < a.n; i += 32) {
      sum += log(static_cast<double>(a.x[i]));
      least = fmin(least, static_cast<double>(a.y[i]));
    }
    mean = sum_of(sum) / static_cast<double>(a.n);
    least_y = reduce_lanes(least, 32, [](double p, double q) { return fmin(p, q); });
  }

  LK_DEVICE LawSums sums(const double (&at)[3]) const {
    LawSums s = {0.0, {0.0, 0.0, 0.0}, {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}};
    for (u64 i = lane; i < a.n; i += 32) {
      const double t = log(static_cast<double>(a.x[i])) - mean, power = exp(at[0] - at[1] * t), value = at[2] + power;
      const double residual = log(value) - log(static_cast<double>(a.y[i]));
      const double slope[3] = {power / value, -t * power / value, 1.0 / value};
      s.cost += residual * residual;
      for (int p = 0, k = 0; p < 3; ++p) {
        s.gradient[p] += slope[p] * residual;
        for (int q = 0; q <= p; ++q) s.matrix[k++] += slope[p] * slope[q];
      }
    }
    s.cost = sum_of(s.cost);
    for (int p = 0; p < 3; ++p) s.gradient[p] = sum_of(s.gradient[p]);
    for (int k = 0; k < 6; ++k) s.matrix[k] = sum_of(s.matrix[k]);
    return s;
  }

  // The damped step of the free parameters, by Cholesky's decomposition; 0 for those that do not matter.
  LK_DEVICE static void solve(const LawSums& s, double damping, const bool (&free)[3], double (&z)[3]) {
    double l[3][3];
    bool usable[3] = {free[0], free[1], free[2]};
    for (int i = 0; i < 3; ++i) {
      const int row = i * (i + 1) / 2;
      for (int j = 0; j < i; ++j) {
        double dot = 0.0;
        for (int k = 0; k < j; ++k) dot += l[i][k] * l[j][k];
        l[i][j] = usable[i] && usable[j] ? (s.matrix[row + j] - dot) / l[j][j] : 0.0;
      }
      double dot = 0.0, right = 0.0;
      for (int k = 0; k < i; ++k) {
        dot += l[i][k] * l[i][k];
        right += l[i][k] * z[k];
      }
      const double pivot = s.matrix[row + i] * (1.0 + damping) - dot;
      usable[i] = usable[i] && pivot > 0.0;
      l[i][i] = usable[i] ? sqrt(pivot) : 1.0;
      z[i] = usable[i] ? (-s.gradient[i] - right) / l[i][i] : 0.0;
    }
    for (int i = 2; i >= 0; --i) {
      double dot = 0.0;
      for (int k = i + 1; k < 3; ++k) dot += l[k][i] * z[k];
      z[i] = usable[i] ? (z[i] - dot) / l[i][i] : 0.0;
    }
  }

  // A minimum near the start; returns the sum of squares.
  LK_DEVICE double fit(double alpha, double share, bool with_constant, double (&at)[3]) const {
    const double top = static_cast<double>(infinity());
    const double low[3] = {-top, 1e-6, 0.0}, high[3] = {top, 10.0, least_y * (1.0 - 1e-12)};
    const double constant = share * least_y;
    double sum = 0.0;
    for (u64 i = lane; i < a.n; i += 32) {
      sum += log(static_cast<double>(a.y[i]) - constant) + alpha * (log(static_cast<double>(a.x[i])) - mean);
    }
    at[0] = sum_of(sum) / static_cast<double>(a.n);
    at[1] = alpha;
    at[2] = constant;
    LawSums s = sums(at);
    double damping = 1e-3;
    for (int turn = 0; turn < 500; ++turn) {
      bool free[3];
      for (int i = 0; i < 3; ++i) {
        const bool out = (at[i] <= low[i] && s.gradient[i] > 0.0) || (at[i] >= high[i] && s.gradient[i] < 0.0);
        free[i] = !out && (i < 2 || with_constant);
      }
      double step[3], next[3];
      solve(s, damping, free, step);
      for (int i = 0; i < 3; ++i) {
        next[i] = at[i] + step[i];
        next[i] = next[i] < low[i] ? low[i] : next[i] > high[i] ? high[i] : next[i];
      }
      const LawSums there = sums(next);
      // Up to rounding: the last steps change parameters, not the sum.
      if (there.cost <= s.cost * (1.0 + 1e-14)) {
        const double size[3] = {1.0 + fabs(at[0]), at[1], least_y};
        bool done = true;
        for (int i = 0; i < 3; ++i) {
          done = done && fabs(next[i] - at[i]) <= 1e-12 * size[i];
          at[i] = next[i];
        }
        s = there;
        damping = fmax(damping * 0.1, 1e-14);
        if (done) break;
      } else {
        damping *= 10.0;
        if (!(damping <= 1e10)) break;
      }
    }
    return s.cost;
  }
};

LK_DEVICE void scaling_law_fit(const lk_scaling_law_fit_args& a) {
  constexpr int kStarts = 12;
  constexpr double kAlphas[4] = {0.05, 0.2, 0.5, 1.0}, kConstants[3] = {0.0, 0.5, 0.9};
  __shared__ double found[kStarts][4];
  const ScalingLaw law(a);
  const int start = static_cast<int>(threadIdx.x >> 5);
  double at[3];
  double cost = quiet_nan();
  // Without the constant the first of each three says all.
  if (a.opts.with_constant || start % 3 == 0) {
    cost = law.fit(kAlphas[start / 3], a.opts.with_constant ? kConstants[start % 3] : 0.0, a.opts.with_constant, at);
  }
  if (law.lane == 0) {
    for (int i = 0; i < 3; ++i) found[start][i] = at[i];
    found[start][3] = cost;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  int best = 0;
  for (int i = 1; i < kStarts; ++i) {
    if (found[i][3] < found[best][3] || (found[best][3] != found[best][3] && found[i][3] == found[i][3])) best = i;
  }
  const bool nan = found[best][3] != found[best][3];
  const double alpha = found[best][1];
  if (a.alpha) *a.alpha = nan ? quiet_nan() : static_cast<float>(alpha);
  if (a.log_x0) *a.log_x0 = nan ? quiet_nan() : static_cast<float>(found[best][0] / alpha + law.mean);
  if (a.l_inf) *a.l_inf = nan ? quiet_nan() : static_cast<float>(found[best][2]);
  if (a.residual) *a.residual = nan ? quiet_nan() : static_cast<float>(sqrt(found[best][3] / static_cast<double>(a.n)));
}

}  // namespace lk
