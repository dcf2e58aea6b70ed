// The one place where nvcc and the emulation differ: LK_KERNEL, LK_DYNAMIC_SHARED and the built-ins.
// A kernel's only parameter is its argument struct `a`, by value, in constant memory.
#pragma once

#ifdef __CUDACC__
#include <cstddef>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// LK_KERNEL(name, Args, threads): the largest block it is launched with, which bounds its registers; 1024 if left out.
#define LK_KERNEL_OF(name, Args, threads, ...) \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args a)
#define LK_KERNEL(...) LK_KERNEL_OF(__VA_ARGS__, 1024, 0)
#define LK_DYNAMIC_SHARED(T, name)                                          \
  extern __shared__ __align__(16) unsigned char lk_dynamic_shared_memory[]; \
  T* name = reinterpret_cast<T*>(lk_dynamic_shared_memory)
#else
#include "emulation/emulation.h"
#endif

#define LK_DEVICE __device__ __forceinline__
// At the start of a block that few threads enter: it stays behind a branch, instead of having each of its instructions
// executed under a condition.
#define LK_UNLIKELY_HERE asm volatile("")
