// Philox 4x32-10: random words by their number, the same bits as src/cpu/philox.rs. Draw e of a call is word
// e mod 4 of counter block offset + e div 4 (modulo 2^64), key = seed.
#pragma once
#include "platform.cuh"

namespace lk {

struct PhiloxBlock {
  uint32_t w[4];
};

LK_DEVICE PhiloxBlock philox_block(PhiloxBlock c, uint32_t k0, uint32_t k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xd2511f53u, c.w[0]), low0 = 0xd2511f53u * c.w[0];
    const uint32_t high1 = __umulhi(0xcd9e8d57u, c.w[2]), low1 = 0xcd9e8d57u * c.w[2];
    c = {{high1 ^ c.w[1] ^ k0, low1, high0 ^ c.w[3] ^ k1, low0}};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
}

struct Philox {
  uint64_t seed, offset;

  // Draws 4 index .. 4 index + 3.
  LK_DEVICE PhiloxBlock block(uint64_t index) const {
    const uint64_t counter = offset + index;
    return philox_block({{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}},
                        static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  }
  LK_DEVICE uint32_t word(uint64_t e) const {
    const PhiloxBlock b = block(e >> 2);
    const uint32_t low = e & 1 ? b.w[1] : b.w[0], high = e & 1 ? b.w[3] : b.w[2];
    return e & 2 ? high : low;
  }
};

// (word + 1/2) / 2^32, rounded to f32, but below 1.
LK_DEVICE float philox_uniform(uint32_t word) {
  const float u = static_cast<float>(2 * static_cast<uint64_t>(word) + 1) * 0x1p-33f;
  return fminf(u, 0x1.fffffep-1f);
}

// Never contracted to a fused operation: the CPU may have none.
LK_DEVICE double philox_step(double sum, double x, double c) { return __dadd_rn(__dmul_rn(sum, x), c); }

// ln((word + 1/2) / 2^32) to 1e-13.
LK_DEVICE double philox_ln(uint32_t word) {
  constexpr double kArtanh[9] = {1.0,        1.0 / 3.0,  1.0 / 5.0,  1.0 / 7.0, 1.0 / 9.0,
                                 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0, 1.0 / 17.0};
  const int64_t bits = __double_as_longlong(__dmul_rn(static_cast<double>(word) + 0.5, 0x1p-32));
  const int64_t e = (bits - 0x3fe6a09e667f3bcdll) >> 52;
  const double m = __longlong_as_double(bits - e * (1ll << 52));
  const double f = (m - 1.0) / (m + 1.0), ff = __dmul_rn(f, f);
  double ln = kArtanh[8];
#pragma unroll
  for (int i = 7; i >= 0; --i) ln = philox_step(ln, ff, kArtanh[i]);
  return __dadd_rn(__dmul_rn(2.0 * f, ln), __dmul_rn(static_cast<double>(e), 0.693147180559945309417232121458));
}

// Two standard normal numbers by Box-Muller: sqrt(-2 ln u) times cosine and sine of 2 pi v.
LK_DEVICE void philox_normals(uint32_t u, uint32_t v, float& first, float& second) {
  constexpr double kSine[7] = {1.0,          -1.0 / 6.0,         1.0 / 120.0,         -1.0 / 5040.0,
                               1.0 / 362880.0, -1.0 / 39916800.0, 1.0 / 6227020800.0};
  constexpr double kCosine[8] = {1.0,           -0.5,             1.0 / 24.0,        -1.0 / 720.0,
                                 1.0 / 40320.0, -1.0 / 3628800.0, 1.0 / 479001600.0, -1.0 / 87178291200.0};
  const double radius = sqrt(-2.0 * philox_ln(u));

  const int64_t odd = 2 * static_cast<int64_t>(v) + 1, quarters = (odd + (1ll << 30)) >> 31;
  const double x =
      __dmul_rn(static_cast<double>(odd - quarters * (1ll << 31)), 1.57079632679489661923132169164 / 2147483648.0);
  const double xx = __dmul_rn(x, x);
  double sine = kSine[6], cosine = kCosine[7];
#pragma unroll
  for (int i = 5; i >= 0; --i) sine = philox_step(sine, xx, kSine[i]);
#pragma unroll
  for (int i = 6; i >= 0; --i) cosine = philox_step(cosine, xx, kCosine[i]);
  sine = __dmul_rn(x, sine);
  const double a = quarters & 1 ? sine : cosine, b = quarters & 1 ? cosine : sine;
  first = static_cast<float>(__dmul_rn(radius, (quarters + 1) & 2 ? -a : a));
  second = static_cast<float>(__dmul_rn(radius, quarters & 2 ? -b : b));
}

}  // namespace lk
