// Accurate exponentials, without branches, of few instructions.
#pragma once
#include "platform.cuh"

namespace lk {

// 2^x within 2^-22 of itself, 0 below 2^-126 unless kSubnormal; and 1 / x within 2^-23 of itself, for normal results.
#ifdef __CUDACC__
LK_DEVICE float reciprocal_approximate(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
template <bool kSubnormal = false>
LK_DEVICE float exp2_approximate(float x) {
  float e;
  if (kSubnormal) asm("ex2.approx.f32 %0, %1;" : "=f"(e) : "f"(x));
  else asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(x));
  return e;
}
#else
inline float reciprocal_approximate(float x) { return 1.0f / x; }
template <bool kSubnormal = false>
inline float exp2_approximate(float x) {
  const float e = exp2f(x);
  return !kSubnormal && e < 0x1p-126f ? 0.0f : e;
}
#endif

// The larger; a NaN of x stays.
LK_DEVICE float at_least(float x, float least) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(least));
  return y;
#else
  return x < least ? least : x;
#endif
}

constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147182f, kLn2Rest = -1.90465421e-9f;
constexpr float kUnderflow = 128.0f;  // exp of less is 0

// exp(x + rest) for x <= 1 and a small rest: 2^t with what t lacks put back to first order. No branches.
template <bool kSubnormal = false>
LK_DEVICE float exp_corrected(float x, float rest) {
  const float t = __fmul_rn(x, kLog2E), e = exp2_approximate<kSubnormal>(t);
  return fmaf(e, fmaf(-t, kLn2, x) + fmaf(-t, kLn2Rest, rest), e);
}

// exp(-|z|), 0 below 2^-126.
LK_DEVICE float exp_of_negative(float z) {
  const float x = at_least(-fabsf(z), -kUnderflow), t = __fmul_rn(x, kLog2E), e = exp2_approximate(t);
  return fmaf(e, fmaf(-t, kLn2Rest, fmaf(-t, kLn2, x)), e);
}
// a / b for 1 <= b <= 2: no special cases.
LK_DEVICE float ratio(float a, float b) {
  const float r = reciprocal_approximate(b), q = __fmul_rn(a, r);
  return fmaf(fmaf(-q, b, a), r, q);
}
// log(1 + e) for 0 <= e <= 1: twice the area tangent of e / (2 + e).
LK_DEVICE float log1p_of_fraction(float e) {
  const float s = __fmul_rn(e, reciprocal_approximate(2.0f + e)), u = s * s, twice = s + s;
  float p = fmaf(u, 0.13433805f, 0.14116973f);
  p = fmaf(u, p, 0.20003836f);
  p = fmaf(u, p, 0.3333332f);
  return fmaf(twice * u, p, twice);
}

// z - m and its rounding error.
LK_DEVICE float difference(float z, float m, float& error) {
  const float d = __fsub_rn(z, m);  // never contracted with what z or m come from
  const float b = __fsub_rn(z, d);
  error = __fsub_rn(z, __fadd_rn(d, b)) + __fsub_rn(b, m);
  return d;
}

// exp(z + z_rest - m) for z <= m, 0 below 2^-126. The rounding error of the difference, which exp would turn into a
// relative error of |z - m| half ulps, is computed exactly and put back.
LK_DEVICE float exp_difference(float z, float m) {
  float error;
  const float d = difference(at_least(z, m - kUnderflow), m, error);
  return exp_corrected(d, error);
}
LK_DEVICE float exp_difference(float z, float m, float z_rest) {
  float error;
  const float d = difference(at_least(z, m - kUnderflow), m, error);
  return exp_corrected(d, error + z_rest);
}

// The same for whole m, and z <= m + 1: the error is had for less. |z| is below 2^24, and m a multiple of z's last bit,
// or the difference exact.
LK_DEVICE float exp_from_whole(float z, float m) {
  z = at_least(z, m - kUnderflow);
  const float d = __fsub_rn(z, m);
  return exp_corrected(d, __fsub_rn(z, __fadd_rn(d, m)));
}
LK_DEVICE float exp_from_whole(float z, float m, float z_rest) {
  z = at_least(z, m - kUnderflow);
  const float d = __fsub_rn(z, m);
  return exp_corrected(d, __fsub_rn(z, __fadd_rn(d, m)) + z_rest);
}

// exp((f + rest)(z - m)), with both rounding errors put back, subnormal too: entropies multiply it by x. x = f (z - m), at least -kUnderflow.
struct Scaled {
  float f, rest, reach;
  LK_DEVICE explicit Scaled(float f, float rest = 0.0f) : f(f), rest(rest), reach(fminf(kUnderflow / f, 1e38f)) {}
  LK_DEVICE float exponential(float z, float m, float& x) const {
    float error;
    const float d = difference(at_least(z, m - reach), m, error);
    x = __fmul_rn(f, d);
    return exp_corrected<true>(x, fmaf(f, error, fmaf(rest, d, fmaf(f, d, -x))));
  }
};
struct Unscaled {
  LK_DEVICE float exponential(float z, float m, float& x) const {
    float error;
    x = difference(at_least(z, m - kUnderflow), m, error);
    return exp_corrected<true>(x, error);
  }
};

LK_DEVICE float exp_scaled_difference(float z, float m, float f) {
  float error;
  const float d = difference(z, m, error), x = __fmul_rn(f, d);
  const float e = exp_corrected(x, fmaf(f, error, fmaf(f, d, -x)));
  return x < -kUnderflow ? 0.0f : e;
}

}  // namespace lk
