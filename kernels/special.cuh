// Special functions in f64, as src/cpu/special.rs has them (and its bounds).
#pragma once
#include "platform.cuh"

namespace lk {

// ---- The same bits on every device: never contracted to fused operations -------------------------------

// sum x + c
LK_DEVICE double exact_step(double sum, double x, double c) { return __dadd_rn(__dmul_rn(sum, x), c); }

// Natural logarithm of normal positive numbers.
LK_DEVICE double exact_ln(double x) {
  constexpr double kOdd[9] = {19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0};
  const int64_t bits = __double_as_longlong(x);
  const int64_t e = (bits - 0x3fe6a09e667f3bcdll) >> 52;
  const double m = __longlong_as_double(bits - e * (1ll << 52));
  const double f = (m - 1.0) / (m + 1.0), g = __dmul_rn(f, f);
  double sum = 1.0 / 21.0;
#pragma unroll
  for (int i = 0; i < 9; ++i) sum = exact_step(sum, g, 1.0 / kOdd[i]);
  const double small = __dadd_rn(2.0 * f, __dmul_rn(__dmul_rn(2.0 * f, g), sum));
  return exact_step(static_cast<double>(e), 0.693147180559945309417232121458, small);
}

// e^-x, x >= 0; 0 where that would be subnormal.
LK_DEVICE double exact_exp_neg(double x) {
  if (x >= 708.0) return 0.0;
  // Adding it rounds to a whole number, which is left in the low bits.
  const double magic = 6755399441055744.0;
  const double t = exact_step(x, 1.44269504088896340735992468100, magic), k = t - magic;
  const double head = __dadd_rn(x, -__dmul_rn(k, 6.931471803691238e-1));
  const double r = __dadd_rn(__dmul_rn(k, 1.9082149292705877e-10), -head);
  double sum = 1.0;
#pragma unroll
  for (int i = 14; i >= 1; --i) sum = exact_step(sum, __dmul_rn(r, 1.0 / i), 1.0);
  return __dmul_rn(sum, __longlong_as_double((__double_as_longlong(magic) - __double_as_longlong(t) + 1023) * (1ll << 52)));
}

// ---- log Gamma and its first two derivatives -----------------------------------------------------------

struct Gamma {
  double ln, psi, psi1;
};

LK_DEVICE double gamma_series(double z, const double (&c)[8]) {
  double sum = c[7];
#pragma unroll
  for (int i = 6; i >= 0; --i) sum = fma(sum, z, c[i]);
  return sum;
}

// Those of x > 0 that are asked for; the others are 0.
template <bool kLn, bool kPsi, bool kPsi1>
LK_DEVICE Gamma gamma_of(double x) {
  constexpr double kLnSeries[8] = {1.0 / 12.0,   -1.0 / 360.0,      1.0 / 1260.0, -1.0 / 1680.0,
                                   1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0,  -3617.0 / 122400.0};
  constexpr double kPsiSeries[8] = {1.0 / 12.0,  -1.0 / 120.0,     1.0 / 252.0, -1.0 / 240.0,
                                    1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0,  -3617.0 / 8160.0};
  constexpr double kPsi1Series[8] = {1.0 / 6.0,  -1.0 / 30.0,     1.0 / 42.0, -1.0 / 30.0,
                                     5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0,  -3617.0 / 510.0};
  const bool shifted = x < 8.0;
  const double y = shifted ? x + 8.0 : x, inverse = 1.0 / y, z = inverse * inverse;
  // What x (x + 1) ... (x + 7) is made of: (x + k)(x + 7 - k) = q + c, c = 0, 6, 10, 12.
  const double q = x * (x + 7.0), product = q * (q + 6.0) * (q + 10.0) * (q + 12.0);
  const double log_y = kLn || kPsi ? log(y) : 0.0;
  Gamma of = {0.0, 0.0, 0.0};
  if (kLn) {
    of.ln = ((y - 0.5) * log_y - y + 0.9189385332046727) + inverse * gamma_series(z, kLnSeries);
    if (shifted) of.ln -= log(product);
  }
  if (kPsi) {
    of.psi = log_y - 0.5 * inverse - z * gamma_series(z, kPsiSeries);
    // The sum of 1 / (x + k).
    if (shifted) of.psi -= (2.0 * x + 7.0) * (((4.0 * q + 84.0) * q + 504.0) * q + 720.0) / product;
  }
  if (kPsi1) {
    of.psi1 = inverse + z * (0.5 + inverse * gamma_series(z, kPsi1Series));
    if (shifted) {
      // The sum of 1 / (x + k)^2, all terms positive.
      constexpr double kTop[8] = {25401600.0, 18817920.0, 6586272.0, 1334592.0, 163560.0, 11928.0, 476.0, 8.0};
      of.psi1 += gamma_series(q, kTop) / (product * product);
    }
  }
  return of;
}

}  // namespace lk
