// Runs CUDA C++ kernels as host C++17, one fibre per CUDA thread, so that they can be tested without a GPU.
//
// Blocks run one after another on the calling thread; within a block a thread runs until it waits at a
// barrier or a warp operation. Everything lives in thread-local state: host threads may launch at once.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static thread_local
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x, y, z;
};

namespace lk_emulation {

// What a launch reports; the numbers are known to src/cuda/emulator.rs.
enum Status : int { kOk = 0, kBadLaunch = 1, kDivergentBarrier = 2, kWarpMaskMismatch = 3, kOutOfMemory = 4 };

struct Builtins {
  dim3 thread, block, block_dim, grid_dim;
  unsigned char* shared;
};
// __thread rather than thread_local: no initialisation wrapper at each use.
extern __thread Builtins builtins;

using Body = void (*)(const void* args);
int launch(dim3 grid, dim3 block, size_t shared_bytes, Body body, const void* args);

void block_barrier();
// Hands every lane of `mask` the value of its `source` lane; with no bytes it is a warp barrier.
void warp_exchange(uint32_t mask, int source, void* value, size_t bytes);
// Once all 32 lanes are here, `work` is done once, on what each of them has at `place`.
using WarpWork = void (*)(void* const (&places)[32]);
void warp_together(void* place, WarpWork work);
int lane();

template <class T>
inline T shuffle(uint32_t mask, T value, int source) {
  static_assert(sizeof(T) <= 64, "a shuffled value is too large");
  warp_exchange(mask, source, &value, sizeof(T));
  return value;
}

}  // namespace lk_emulation

#define threadIdx (lk_emulation::builtins.thread)
#define blockIdx (lk_emulation::builtins.block)
#define blockDim (lk_emulation::builtins.block_dim)
#define gridDim (lk_emulation::builtins.grid_dim)

inline void __syncthreads() { lk_emulation::block_barrier(); }
inline void __syncwarp(uint32_t mask = 0xffffffffu) { lk_emulation::warp_exchange(mask, 0, nullptr, 0); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}

// A shuffle past the edge of its segment of `width` lanes returns the lane's own value, as on the device.
template <class T>
inline T __shfl_sync(uint32_t mask, T value, int source, int width = 32) {
  return lk_emulation::shuffle(mask, value, (lk_emulation::lane() & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32) {
  const int lane = lk_emulation::lane(), source = lane ^ bits;
  return lk_emulation::shuffle(mask, value, source / width > lane / width ? lane : source);
}
template <class T>
inline T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
  const int lane = lk_emulation::lane(), source = lane + static_cast<int>(delta);
  return lk_emulation::shuffle(mask, value, source / width != lane / width ? lane : source);
}
template <class T>
inline T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
  const int lane = lk_emulation::lane(), source = lane - static_cast<int>(delta);
  return lk_emulation::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source);
}

// Host threads may share a flag word, so these are real atomics.
template <class T>
inline T atomicOr(T* p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }
template <class T>
inline T atomicAnd(T* p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }
template <class T>
inline T atomicAdd(T* p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
template <class T>
inline T atomicExch(T* p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }
template <class T>
inline T atomicCAS(T* p, T expected, T v) {
  __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <class T>
inline T atomicMax(T* p, T v) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  return old;
}
template <class T>
inline T atomicMin(T* p, T v) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (v < old && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
  return old;
}

inline float __expf(float x) { return ::expf(x); }
inline float __logf(float x) { return ::logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float rsqrtf(float x) { return 1.0f / ::sqrtf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32); }
inline uint32_t __float_as_uint(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
inline float __uint_as_float(uint32_t u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}
inline int64_t __double_as_longlong(double x) {
  int64_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
inline double __longlong_as_double(int64_t u) {
  double x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}
template <class T>
inline T __ldg(const T* p) { return *p; }

// The launch entry copies the arguments: a kernel's parameter is by value on the device as well.
#define LK_KERNEL(name, Args, ...)                                                                       \
  static void lk_body_##name(const Args& a);                                                             \
  static void lk_call_##name(const void* args) { lk_body_##name(*static_cast<const Args*>(args)); }      \
  extern "C" int lk_emulated_##name(unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,     \
                                    unsigned bz, size_t shared_bytes, const void* args) {                \
    Args copy;                                                                                           \
    std::memcpy(&copy, args, sizeof copy);                                                               \
    return lk_emulation::launch({gx, gy, gz}, {bx, by, bz}, shared_bytes, &lk_call_##name, &copy);       \
  }                                                                                                      \
  static void lk_body_##name(const Args& a)

#define LK_DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(lk_emulation::builtins.shared)
