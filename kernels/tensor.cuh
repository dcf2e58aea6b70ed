// Products on tensor cores, each by a whole warp: D += A B with A 16 x K, B K x 8 and D 16 x 8. K is 16 for f16 and bf16;
// for f32, 8: of f32 the leading 11 significant bits are taken (TF32). Products are exact and their sums f32, but truncated.
//
// Lane 4 g + t holds, where (i, j) is row and column, words of 32 bits: an f32, or two halves, whose places k along the
// depth are 2 k and 2 k + 1:
//   A  (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
//   B  (t, g), (t + 4, g)
//   D  (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
// Before compute capability 8.0 the lanes multiply, with each other's words.
#pragma once
#include "common.cuh"

namespace lk {

#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)
constexpr bool kTensorCores = true;
#else
constexpr bool kTensorCores = false;
#endif

// The leading digits of x, as TF32 has them.
LK_DEVICE float tf32_part(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

// x to the nearest in TF32; a NaN stays in x minus it.
LK_DEVICE float tf32_near(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u); }

#ifdef __CUDACC__
// kRows x kColumns such products.
template <int kDtype, int kRows, int kColumns>
LK_DEVICE void multiply_add(float (&d)[kRows][kColumns][4], const uint32_t (&a)[kRows][4], const uint32_t (&b)[kColumns][2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define LK_MMA(shape, type)                                                                                          \
  asm("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "  \
      "{%0, %1, %2, %3};"                                                                                            \
      : "+f"(d[i][j][0]), "+f"(d[i][j][1]), "+f"(d[i][j][2]), "+f"(d[i][j][3])                                       \
      : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]))
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if constexpr (kDtype == LK_DTYPE_F32) {
        LK_MMA("m16n8k8", "tf32");
      } else if constexpr (kDtype == LK_DTYPE_F16) {
        LK_MMA("m16n8k16", "f16");
      } else {
        LK_MMA("m16n8k16", "bf16");
      }
    }
  }
#undef LK_MMA
#else
  const int lane = static_cast<int>(threadIdx.x) % 32, t = lane % 4;
  const auto dot = [](uint32_t x, uint32_t y, float sum) {
    if constexpr (kDtype == LK_DTYPE_F32) return fmaf(__uint_as_float(x), __uint_as_float(y), sum);
    float x0, x1, y0, y1;
    word_to_floats(x, kDtype, x0, x1);
    word_to_floats(y, kDtype, y0, y1);
    return fmaf(x1, y1, fmaf(x0, y0, sum));
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    // As a loop it is a quarter of the code; and these devices are old.
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
      uint32_t x[kRows][2], y[kColumns][2];
#pragma unroll
      for (int n = 0; n < 2 * kRows; ++n) x[n / 2][n % 2] = __shfl_sync(kFullMask, a[n / 2][n % 2 + half * 2], (lane & ~3) + k);
#pragma unroll
      for (int n = 0; n < 2 * kColumns; ++n) y[n / 2][n % 2] = __shfl_sync(kFullMask, b[n / 2][half], (2 * t + n % 2) * 4 + k);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) d[i][j][e] = dot(x[i][e / 2], y[j][e % 2], d[i][j][e]);
        }
      }
    }
  }
#endif
}
#else
namespace emulated {

inline double power_of_two(int n) { return __longlong_as_double(static_cast<int64_t>(1023 + n) << 52); }

// Terms lined up by the largest of them and cut off one bit beyond its last, as the hardware does at worst.
template <int kTerms>
float truncated_sum(const double (&terms)[kTerms]) {
  double plain = 0.0, largest = 0.0;
  for (double t : terms) {
    plain += t;
    largest = largest < std::fabs(t) ? std::fabs(t) : largest;
  }
  if (!(largest > 0x1p-100) || !std::isfinite(plain)) return static_cast<float>(plain);
  const int power = static_cast<int>(__double_as_longlong(largest) >> 52) - 1022;
  const double inverse = power_of_two(25 - power);
  int64_t sum = 0;
  for (double t : terms) sum += static_cast<int32_t>(t * inverse);
  // An f32 towards 0.
  const double whole = static_cast<double>(sum) * power_of_two(power - 25);
  return static_cast<float>(__longlong_as_double(__double_as_longlong(whole) & ~((int64_t{1} << 29) - 1)));
}

template <int kDtype>
constexpr int kDepthOf = kDtype == LK_DTYPE_F32 ? 8 : 16;

// Place k of what the words of four lanes have for one row or column; false if all of it is 0.
template <int kDtype>
bool unpack(const uint32_t (&words)[8], float (&x)[kDepthOf<kDtype>]) {
  bool any = false;
  for (int k = 0; k < 8; ++k) {
    any |= (words[k] & (kDtype == LK_DTYPE_F32 ? 0x7fffe000u : 0x7fff7fffu)) != 0;
    if constexpr (kDtype == LK_DTYPE_F32) {
      x[k] = tf32_part(__uint_as_float(words[k]));
    } else {
      word_to_floats(words[k], kDtype, x[2 * k], x[2 * k + 1]);
    }
  }
  return any;
}

template <int kRows, int kColumns>
struct Fragments {
  float (*d)[kColumns][4];
  const uint32_t (*a)[4];
  const uint32_t (*b)[2];
};

template <int kDtype, int kRows, int kColumns>
void multiply_add(void* const (&lanes)[32]) {
  constexpr int kDepth = kDepthOf<kDtype>;
  using Lane = Fragments<kRows, kColumns>;
  const auto of = [&](int lane) -> const Lane& { return *static_cast<const Lane*>(lanes[lane]); };
  float x[kRows * 16][kDepth], y[kColumns * 8][kDepth];
  bool any_x[kRows * 16], any_y[kColumns * 8];
  bool plain = true;  // nothing that 0 could be multiplied by without giving 0
  uint32_t words[8];
  for (int i = 0; i < kRows * 16; ++i) {
    for (int k = 0; k < 8; ++k) words[k] = of(i % 8 * 4 + k % 4).a[i / 16][i % 16 / 8 + k / 4 * 2];
    any_x[i] = unpack<kDtype>(words, x[i]);
    for (float e : x[i]) plain &= std::isfinite(e);
  }
  for (int j = 0; j < kColumns * 8; ++j) {
    for (int k = 0; k < 8; ++k) words[k] = of(j % 8 * 4 + k % 4).b[j / 8][k / 4];
    any_y[j] = unpack<kDtype>(words, y[j]);
    for (float e : y[j]) plain &= std::isfinite(e);
  }
  for (int i = 0; i < kRows * 16; ++i) {
    for (int j = 0; j < kColumns * 8; ++j) {
      if (plain && !(any_x[i] && any_y[j])) continue;
      float& d = of(i % 8 * 4 + j % 8 / 2).d[i / 16][j / 8][i % 16 / 8 * 2 + j % 2];
      double terms[kDepth + 1] = {d};
      for (int k = 0; k < kDepth; ++k) terms[k + 1] = static_cast<double>(x[i][k]) * y[j][k];
      d = truncated_sum(terms);
    }
  }
}

}  // namespace emulated

template <int kDtype, int kRows, int kColumns>
inline void multiply_add(float (&d)[kRows][kColumns][4], const uint32_t (&a)[kRows][4], const uint32_t (&b)[kColumns][2]) {
  emulated::Fragments<kRows, kColumns> mine = {d, a, b};
  lk_emulation::warp_together(&mine, &emulated::multiply_add<kDtype, kRows, kColumns>);
}
#endif

// ---- Shared memory ------------------------------------------------------------------------------------

// Four matrices of 8 rows of 16 bytes; lane 8 m + r names row r of matrix m. Word m of lane 4 g + t is word t of row g, or,
// kTransposed, halves g of rows 2 t and 2 t + 1.
#ifdef __CUDACC__
template <bool kTransposed>
LK_DEVICE void load_matrices(uint32_t (&words)[4], const unsigned char* row) {
  const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(from) : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(from) : "memory");
  }
}

// 16 bytes to shared memory on their own way, of which `bytes` are read and the others 0.
LK_DEVICE void copy16(unsigned char* to, const unsigned char* from, unsigned bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(static_cast<unsigned>(__cvta_generic_to_shared(to))), "l"(__cvta_generic_to_global(from)), "r"(bytes)
               : "memory");
#else
  Vec16 all = {{0, 0, 0, 0}};
  if (bytes == 16) {
    all = *reinterpret_cast<const Vec16*>(from);
  } else {
    for (unsigned i = 0; i < bytes; i += 2) {
      all.w[i / 4] |= static_cast<uint32_t>(*reinterpret_cast<const uint16_t*>(from + i)) << i % 4 * 8;
    }
  }
  *reinterpret_cast<Vec16*>(to) = all;
#endif
}
// Closes a group of copies; and waits until at most kGroups of this thread's are under way.
LK_DEVICE void end_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int kGroups>
LK_DEVICE void await_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" :: "n"(kGroups) : "memory");
#endif
}
#else
namespace emulated {

struct Matrices {
  uint32_t* words;
  const unsigned char* row;
};

template <bool kTransposed>
void load_matrices(void* const (&lanes)[32]) {
  const auto of = [&](int lane) -> const Matrices& { return *static_cast<const Matrices*>(lanes[lane]); };
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int m = 0; m < 4; ++m) {
      if (kTransposed) {
        uint16_t halves[2];
        for (int n = 0; n < 2; ++n) std::memcpy(&halves[n], of(m * 8 + 2 * t + n).row + 2 * g, 2);
        of(lane).words[m] = halves[0] | static_cast<uint32_t>(halves[1]) << 16;
      } else {
        std::memcpy(&of(lane).words[m], of(m * 8 + g).row + 4 * t, 4);
      }
    }
  }
}

}  // namespace emulated

template <bool kTransposed>
inline void load_matrices(uint32_t (&words)[4], const unsigned char* row) {
  emulated::Matrices mine = {words, row};
  lk_emulation::warp_together(&mine, &emulated::load_matrices<kTransposed>);
}
inline void copy16(unsigned char* to, const unsigned char* from, unsigned bytes) {
  std::memset(to, 0, 16);
  std::memcpy(to, from, bytes);
}
inline void end_copies() {}
template <int kGroups>
inline void await_copies() {}
#endif

}  // namespace lk
