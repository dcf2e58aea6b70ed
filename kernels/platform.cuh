// The one place where nvcc and the emulation differ: LK_KERNEL, LK_DYNAMIC_SHARED and the built-ins.
// A kernel's only parameter is its argument struct `a`, by value, in constant memory.
#pragma once

#ifdef __CUDACC__
#include <cstddef>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Every kernel must be launchable with the largest block.
#define LK_KERNEL(name, Args) extern "C" __global__ void __launch_bounds__(1024) name(const __grid_constant__ Args a)
#define LK_DYNAMIC_SHARED(T, name)                                          \
  extern __shared__ __align__(16) unsigned char lk_dynamic_shared_memory[]; \
  T* name = reinterpret_cast<T*>(lk_dynamic_shared_memory)
#else
#include "emulation/emulation.h"
#endif

#define LK_DEVICE __device__ __forceinline__
