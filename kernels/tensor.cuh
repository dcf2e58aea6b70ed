// Products on tensor cores, each by a whole warp: D += A B with A 16 x 8, B 8 x 8 and D 16 x 8. Operands are TF32: f32 with
// 11 significant bits, in which f16 and bf16 are exact. Products are exact and their sums f32, but truncated.
//
// Lane 4 g + t holds, where (i, j) is row and column:
//   A  (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
//   B  (t, g), (t + 4, g)
//   D  (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
#pragma once
#include "common.cuh"

namespace lk {

#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)
constexpr bool kTensorCores = true;
#else
constexpr bool kTensorCores = false;
#endif

// The leading digits of x, exact in TF32, and those of the rest: together 22 bits.
LK_DEVICE float tf32_part(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }
LK_DEVICE float tf32_rest(float x) {
  const float rest = x - tf32_part(x);
  return rest == rest ? tf32_part(rest) : 0.0f;  // infinity has none
}

#ifdef __CUDACC__
// kRows x kColumns such products.
template <int kRows, int kColumns>
LK_DEVICE void multiply_add(float (&d)[kRows][kColumns][4], const float (&a)[kRows][4], const float (&b)[kColumns][2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(d[i][j][0]), "+f"(d[i][j][1]), "+f"(d[i][j][2]), "+f"(d[i][j][3])
          : "r"(__float_as_uint(a[i][0])), "r"(__float_as_uint(a[i][1])), "r"(__float_as_uint(a[i][2])),
            "r"(__float_as_uint(a[i][3])), "r"(__float_as_uint(b[j][0])), "r"(__float_as_uint(b[j][1])));
    }
  }
#endif
}
#else
namespace emulated {

// Terms lined up by the largest of them and cut off one bit beyond its last, as the hardware does at worst.
inline float truncated_sum(const double (&terms)[9]) {
  double plain = 0.0, largest = 0.0;
  for (double t : terms) {
    plain += t;
    largest = std::fabs(t) > largest ? std::fabs(t) : largest;
  }
  if (!(largest > 0x1p-100) || !std::isfinite(plain)) return static_cast<float>(plain);
  int power = 0;
  std::frexp(largest, &power);
  const double quantum = std::ldexp(1.0, power - 25), inverse = std::ldexp(1.0, 25 - power);
  double sum = 0.0;
  for (double t : terms) sum += static_cast<double>(static_cast<int32_t>(t * inverse));
  sum *= quantum;
  const float near = static_cast<float>(sum);
  return std::fabs(static_cast<double>(near)) > std::fabs(sum) ? std::nextafterf(near, 0.0f) : near;
}

template <int kRows, int kColumns>
struct Fragments {
  float (*d)[kColumns][4];
  const float (*a)[4];
  const float (*b)[2];
};

template <int kRows, int kColumns>
void multiply_add(void* const (&lanes)[32]) {
  using Lane = Fragments<kRows, kColumns>;
  const auto of = [&](int lane) -> const Lane& { return *static_cast<const Lane*>(lanes[lane]); };
  for (int lane = 0; lane < 32; ++lane) {
    for (int n = 0; n < kRows * kColumns * 4; ++n) {
      const int i = n / 4 / kColumns, j = n / 4 % kColumns, e = n % 4;
      const int row = lane / 4, column = lane % 4 * 2 + e % 2, lower = e / 2;
      float& d = of(lane).d[i][j][e];
      double terms[9] = {d};
      for (int k = 0; k < 8; ++k) {
        const float x = of(row * 4 + k % 4).a[i][lower + k / 4 * 2], y = of(column * 4 + k % 4).b[j][k / 4];
        terms[k + 1] = static_cast<double>(tf32_part(x)) * tf32_part(y);
      }
      d = truncated_sum(terms);
    }
  }
}

}  // namespace emulated

template <int kRows, int kColumns>
inline void multiply_add(float (&d)[kRows][kColumns][4], const float (&a)[kRows][4], const float (&b)[kColumns][2]) {
  emulated::Fragments<kRows, kColumns> mine = {d, a, b};
  lk_emulation::warp_together(&mine, &emulated::multiply_add<kRows, kColumns>);
}
#endif

}  // namespace lk
