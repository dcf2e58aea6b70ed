// c tanh(z/c) beyond f32. A softmax turns an absolute error of a logit into a relative one, so c times
// f32's rounding would show in the loss of every confident row.
#pragma once
#include "common.cuh"

namespace lk {

struct Capped {
  float hi, lo;  // their sum has an absolute error below c 1e-8
  float slope;   // 1 - tanh(z/c)^2
};

// With e = exp(-2|z|/c) and w = e / (1 + e): c tanh = +-(c - 2 c w), slope = 4 w / (1 + e).
LK_DEVICE Capped soft_cap(float z, float c) {
  if (z != z) return {z, 0.0f, z};
  const float t = fabsf(z);
  float y = 2.0f * (t / c), y_rest;
  if (y < 60.0f) {
    y_rest = 2.0f * (fmaf(-0.5f * y, c, t) / c);
  } else {
    y = 60.0f;  // e is nothing beside 1
    y_rest = 0.0f;
  }
  // exp(-y) = 2^-n (1 + r + r^2 (...)), only the leading terms in two floats.
  const float n = rintf(y * 1.44269504f);
  const float whole = fmaf(n, 0.693359375f, -y), part = fmaf(n, -2.12194440e-4f, -y_rest);
  const float r = whole + part, r_rest = part - (r - whole);
  float p = fmaf(r, 1.0f / 40320.0f, 1.0f / 5040.0f);
  p = fmaf(p, r, 1.0f / 720.0f);
  p = fmaf(p, r, 1.0f / 120.0f);
  p = fmaf(p, r, 1.0f / 24.0f);
  p = fmaf(p, r, 1.0f / 6.0f);
  p = fmaf(p, r, 0.5f) * (r * r);
  const float first = 1.0f + r, more = (r - (first - 1.0f)) + (r_rest + p), sum = first + more;
  const float power = __uint_as_float(static_cast<uint32_t>(127 - static_cast<int>(n)) << 23);
  const float e = sum * power, e_rest = (more - (sum - first)) * power;

  const float d = 1.0f + e, d_rest = (e - (d - 1.0f)) + e_rest;
  const float w = e / d, w_rest = (fmaf(-w, d, e) + fmaf(-w, d_rest, e_rest)) / d;
  const float cut = __fmul_rn(2.0f * c, w), cut_rest = fmaf(2.0f * c, w, -cut) + 2.0f * c * w_rest;
  const float hi = c - cut, lo = ((c - hi) - cut) - cut_rest;
  return {copysignf(hi, z), z < 0.0f ? -lo : lo, 4.0f * (w + w_rest) / (d + d_rest)};
}

}  // namespace lk
