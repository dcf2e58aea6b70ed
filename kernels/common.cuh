// What every kernel uses: storage types chosen at run time, reductions in a fixed order; accurate exp by the include.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "exponential.cuh"
#include "platform.cuh"

// As in losskit.h, which kernels do without: it changes with every entry.
enum { LK_DTYPE_F32, LK_DTYPE_F16, LK_DTYPE_BF16 };
enum { LK_REDUCTION_NONE, LK_REDUCTION_MEAN, LK_REDUCTION_SUM, LK_REDUCTION_BATCHMEAN };

namespace lk {

using u64 = uint64_t;

constexpr unsigned kFullMask = 0xffffffffu;
constexpr int kChunk = 8;  // elements of one vector access: 16 bytes of f16/bf16, 32 of f32
constexpr uint32_t kFlagLabel = 1;

constexpr int kPassForward = 0, kPassBackward = 1, kPassBoth = 2;

LK_DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
LK_DEVICE float quiet_nan() { return __uint_as_float(0x7fffffffu); }

// ---- f16 and bf16 -------------------------------------------------------------------------------------

#ifdef __CUDACC__
LK_DEVICE float half_bits_to_float(uint16_t h) { return __half2float(__ushort_as_half(h)); }
LK_DEVICE uint16_t float_to_half_bits(float x) { return __half_as_ushort(__float2half_rn(x)); }
LK_DEVICE uint16_t float_to_bfloat_bits(float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
#else
inline float half_bits_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, rest = h & 0x7fffu;
  if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  // Subnormals as well: 2^-24 times an integer below 2^10, and then exact in f32.
  if (rest < 0x400u) return __uint_as_float(sign | __float_as_uint(static_cast<float>(rest) * 0x1p-24f));
  return __uint_as_float(sign | ((rest << 13) + (112u << 23)));
}
inline uint16_t float_to_half_bits(float x) {
  const uint32_t u = __float_as_uint(x), magnitude = u & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>(u >> 16 & 0x8000u);
  if (magnitude > 0x7f800000u) return 0x7fffu;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and up round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 lines the bits up so that f32 addition itself rounds to nearest even.
    const float aligned = __uint_as_float(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(__float_as_uint(aligned) - 0x3f000000u);
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return sign | static_cast<uint16_t>((rounded - (112u << 23)) >> 13);
}
inline uint16_t float_to_bfloat_bits(float x) {
  const uint32_t u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
  return static_cast<uint16_t>((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}
#endif
LK_DEVICE float bfloat_bits_to_float(uint16_t b) { return __uint_as_float(static_cast<uint32_t>(b) << 16); }

// ---- Memory -------------------------------------------------------------------------------------------

struct alignas(16) Vec16 {
  uint32_t w[4];
};

LK_DEVICE unsigned element_size(int dtype) { return dtype == LK_DTYPE_F32 ? 4u : 2u; }

LK_DEVICE const void* at(const void* p, int dtype, u64 i) {
  return static_cast<const unsigned char*>(p) + i * element_size(dtype);
}
LK_DEVICE void* at(void* p, int dtype, u64 i) { return static_cast<unsigned char*>(p) + i * element_size(dtype); }

LK_DEVICE bool aligned16(const void* p) { return (reinterpret_cast<uintptr_t>(p) & 15u) == 0; }

LK_DEVICE float load1(const void* p, int dtype, u64 i) {
  if (dtype == LK_DTYPE_F32) return static_cast<const float*>(p)[i];
  const uint16_t bits = static_cast<const uint16_t*>(p)[i];
  return dtype == LK_DTYPE_F16 ? half_bits_to_float(bits) : bfloat_bits_to_float(bits);
}

LK_DEVICE void store1(void* p, int dtype, u64 i, float x) {
  if (dtype == LK_DTYPE_F32) {
    static_cast<float*>(p)[i] = x;
  } else {
    static_cast<uint16_t*>(p)[i] = dtype == LK_DTYPE_F16 ? float_to_half_bits(x) : float_to_bfloat_bits(x);
  }
}

// Two in a word, the first in its low half.
#ifdef __CUDACC__
LK_DEVICE void word_to_floats(uint32_t w, int dtype, float& lo, float& hi) {
  if (dtype == LK_DTYPE_F16) {
    __half2_raw raw;
    raw.x = static_cast<uint16_t>(w);
    raw.y = static_cast<uint16_t>(w >> 16);
    const float2 both = __half22float2(__half2(raw));
    lo = both.x;
    hi = both.y;
  } else {
    lo = __uint_as_float(w << 16);
    hi = __uint_as_float(w & 0xffff0000u);
  }
}
LK_DEVICE uint32_t floats_to_word(int dtype, float lo, float hi) {
  if (dtype == LK_DTYPE_F16) {
    const __half2_raw both = __floats2half2_rn(lo, hi);
    return both.x | static_cast<uint32_t>(both.y) << 16;
  }
  const __nv_bfloat162_raw both = __floats2bfloat162_rn(lo, hi);
  return both.x | static_cast<uint32_t>(both.y) << 16;
}
#else
inline void word_to_floats(uint32_t w, int dtype, float& lo, float& hi) {
  const uint16_t first = static_cast<uint16_t>(w), second = static_cast<uint16_t>(w >> 16);
  lo = dtype == LK_DTYPE_F16 ? half_bits_to_float(first) : bfloat_bits_to_float(first);
  hi = dtype == LK_DTYPE_F16 ? half_bits_to_float(second) : bfloat_bits_to_float(second);
}
inline uint32_t floats_to_word(int dtype, float lo, float hi) {
  return dtype == LK_DTYPE_F16 ? float_to_half_bits(lo) | static_cast<uint32_t>(float_to_half_bits(hi)) << 16
                               : float_to_bfloat_bits(lo) | static_cast<uint32_t>(float_to_bfloat_bits(hi)) << 16;
}
#endif

// Eight elements from i on; p + i must be 16-byte aligned.
LK_DEVICE void load8(const void* p, int dtype, u64 i, float (&x)[kChunk]) {
  if (dtype == LK_DTYPE_F32) {
    const Vec16* v = reinterpret_cast<const Vec16*>(static_cast<const float*>(p) + i);
    const Vec16 lo = v[0], hi = v[1];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      x[j] = __uint_as_float(lo.w[j]);
      x[j + 4] = __uint_as_float(hi.w[j]);
    }
    return;
  }
  const Vec16 v = *reinterpret_cast<const Vec16*>(static_cast<const uint16_t*>(p) + i);
#pragma unroll
  for (int j = 0; j < 4; ++j) word_to_floats(v.w[j], dtype, x[2 * j], x[2 * j + 1]);
}

// kOnce: not to be kept in L2, where something else is wanted again.
template <bool kOnce = false>
LK_DEVICE void store16(Vec16* p, const Vec16& v) {
#ifdef __CUDACC__
  if (kOnce) {
    __stcs(reinterpret_cast<uint4*>(p), make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]));
    return;
  }
#endif
  *p = v;
}

template <bool kOnce = false>
LK_DEVICE void store8(void* p, int dtype, u64 i, const float (&x)[kChunk]) {
  if (dtype == LK_DTYPE_F32) {
    Vec16* v = reinterpret_cast<Vec16*>(static_cast<float*>(p) + i);
    Vec16 lo, hi;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      lo.w[j] = __float_as_uint(x[j]);
      hi.w[j] = __float_as_uint(x[j + 4]);
    }
    store16<kOnce>(v, lo);
    store16<kOnce>(v + 1, hi);
    return;
  }
  Vec16 v;
#pragma unroll
  for (int j = 0; j < 4; ++j) v.w[j] = floats_to_word(dtype, x[2 * j], x[2 * j + 1]);
  store16<kOnce>(reinterpret_cast<Vec16*>(static_cast<uint16_t*>(p) + i), v);
}

// f(Storage<dtype>()): loops over many elements are compiled for each storage type, so that they need not ask for it.
template <int kType>
struct Storage {
  static constexpr int dtype = kType;
};
template <class F>
LK_DEVICE void with_storage(int dtype, F f) {
  if (dtype == LK_DTYPE_F32) {
    f(Storage<LK_DTYPE_F32>());
  } else if (dtype == LK_DTYPE_F16) {
    f(Storage<LK_DTYPE_F16>());
  } else {
    f(Storage<LK_DTYPE_BF16>());
  }
}

// Part `index` of `count` of n elements, in whole runs of 64; empty where start >= end.
struct PartOf {
  u64 start, end;
  LK_DEVICE PartOf(u64 n, u64 count, u64 index) {
    const u64 each = (n + count * 64 - 1) / (count * 64) * 64;
    start = index * each;
    end = start + each < n ? start + each : n;
  }
};

// ---- Reductions ---------------------------------------------------------------------------------------

// Any plain struct of 32-bit words.
template <class T>
LK_DEVICE T shuffle_xor(const T& value, int bits) {
#ifdef __CUDACC__
  static_assert(sizeof(T) % 4 == 0, "shuffled values are made of 32-bit words");
  union Words {
    T value;
    uint32_t w[sizeof(T) / 4];
    __device__ Words() {}
  } u;
  u.value = value;
#pragma unroll
  for (unsigned j = 0; j < sizeof(T) / 4; ++j) u.w[j] = __shfl_xor_sync(kFullMask, u.w[j], bits);
  return u.value;
#else
  return __shfl_xor_sync(kFullMask, value, bits);
#endif
}

// Merges over groups of `width` neighbouring lanes; every lane gets the result. The lower lane is always
// the left operand, so that all of them, and every run, compute the same bits. Needs the whole warp.
template <class T, class Merge>
LK_DEVICE T reduce_lanes(T value, int width, Merge merge) {
  for (int bits = 1; bits < width; bits <<= 1) {
    const T other = shuffle_xor(value, bits);
    value = threadIdx.x & bits ? merge(other, value) : merge(value, other);
  }
  return value;
}

// Merges over the threads of one row group: blockDim.x threads along x. With one warp or less several
// groups share the block along y; beyond, the block is one group and the result goes through `scratch`
// (32 entries of shared memory, usable again after the next barrier).
template <class T, class Merge>
LK_DEVICE T reduce_group(T value, const T& neutral, T* scratch, Merge merge) {
  if (blockDim.x <= 32) return reduce_lanes(value, static_cast<int>(blockDim.x), merge);
  value = reduce_lanes(value, 32, merge);
  const unsigned lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  if (lane == 0) scratch[threadIdx.x >> 5] = value;
  __syncthreads();
  value = lane < warps ? scratch[lane] : neutral;
  return reduce_lanes(value, 32, merge);
}

}  // namespace lk
