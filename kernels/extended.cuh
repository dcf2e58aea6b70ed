// Positive numbers m 2^e with an f64 exponent of their own (src/cpu/extended.rs): sums and products of
// probabilities over any number of steps, as exact as f64 and never out of range.
#pragma once
#include "common.cuh"

namespace lk {

struct Extended {
  double m, e;
};

constexpr double kExtendedZero = -1e300, kExtendedVanished = -1e299;

LK_DEVICE Extended extended_zero() { return {1.0, kExtendedZero}; }

// 2^x for a whole x up to 1023; tiny, not 0, where that underflows.
LK_DEVICE double extended_scale(double x) { return ldexp(1.0, static_cast<int>(fmax(x, -1022.0))); }

LK_DEVICE Extended operator*(const Extended& a, const Extended& b) {
  return {a.m * b.m, fmax(a.e + b.e, kExtendedZero)};
}

LK_DEVICE Extended operator+(const Extended& a, const Extended& b) {
  const double e = fmax(a.e, b.e);
  return {a.m * extended_scale(a.e - e) + b.m * extended_scale(b.e - e), e};
}

LK_DEVICE Extended normalised(const Extended& a) {
  int k;
  const double m = frexp(a.m, &k);
  return {m, fmax(a.e + k, kExtendedZero)};
}

LK_DEVICE Extended extended_exp(double x) {
  x = fmax(x * 1.4426950408889634, kExtendedZero);
  const double e = rint(x), r = (x - e) * 0.6931471805599453;
  // Taylor's series on |r| <= ln(2)/2.
  double p = 1.0 / 479001600.0;
  p = fma(p, r, 1.0 / 39916800.0);
  p = fma(p, r, 1.0 / 3628800.0);
  p = fma(p, r, 1.0 / 362880.0);
  p = fma(p, r, 1.0 / 40320.0);
  p = fma(p, r, 1.0 / 5040.0);
  p = fma(p, r, 1.0 / 720.0);
  p = fma(p, r, 1.0 / 120.0);
  p = fma(p, r, 1.0 / 24.0);
  p = fma(p, r, 1.0 / 6.0);
  p = fma(p, r, 0.5);
  p = fma(p, r, 1.0);
  return {fma(p, r, 1.0), e};
}

// -infinity for zero.
LK_DEVICE double extended_log(const Extended& a) {
  return a.e < kExtendedVanished ? -static_cast<double>(infinity()) : log(a.m) + a.e * 0.6931471805599453;
}

}  // namespace lk
