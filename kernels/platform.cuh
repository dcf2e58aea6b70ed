// The one place where nvcc and the emulation differ: LK_KERNEL, LK_DYNAMIC_SHARED and the built-ins.
// A kernel's only parameter is its argument struct `a`, by value, in constant memory.
#pragma once

#ifdef __CUDACC__
#include <cstddef>
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// LK_KERNEL(name, Args, threads, blocks): the largest block it is launched with, 1024 if left out, and how many of them
// should fit a multiprocessor; both bound its registers.
#define LK_KERNEL_4(name, Args, threads, blocks) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args a)
#define LK_KERNEL_3(name, Args, threads) LK_KERNEL_4(name, Args, threads, 1)
#define LK_KERNEL_2(name, Args) LK_KERNEL_3(name, Args, 1024)
#define LK_KERNEL_PICK(name, Args, threads, blocks, which, ...) which
#define LK_KERNEL(...) LK_KERNEL_PICK(__VA_ARGS__, LK_KERNEL_4, LK_KERNEL_3, LK_KERNEL_2, 0)(__VA_ARGS__)
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
