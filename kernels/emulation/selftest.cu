// What the emulation promises, as kernels: run by the tests of src/cuda, not part of the CUDA build.
#include "../philox.cuh"
#include "../tensor.cuh"

struct lk_selftest_args {
  uint64_t* out;
  uint64_t n;
};

// Index arithmetic and by-value arguments.
LK_KERNEL(selftest_indices, lk_selftest_args) {
  const uint64_t block = blockIdx.x + gridDim.x * (blockIdx.y + uint64_t(gridDim.y) * blockIdx.z);
  const uint64_t thread = threadIdx.x + blockDim.x * (threadIdx.y + uint64_t(blockDim.y) * threadIdx.z);
  const uint64_t i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  if (i < a.n) a.out[i] = i * i;
}

// Reverses each block through static shared memory, then through dynamic.
LK_KERNEL(selftest_reverse, lk_selftest_args) {
  __shared__ uint32_t fixed[1024];
  LK_DYNAMIC_SHARED(uint64_t, dynamic);
  const unsigned t = threadIdx.x, last = blockDim.x - 1;
  for (unsigned round = 0; round < 3; ++round) {
    fixed[t] = blockIdx.x * 10000 + t + round;
    __syncthreads();
    dynamic[t] = fixed[last - t];
    __syncthreads();
    a.out[blockIdx.x * blockDim.x + t] = dynamic[last - t] + dynamic[0];
    __syncthreads();
  }
}

// Every kind of shuffle, on 4 and on 8 bytes, with part of the warps gone on another way.
LK_KERNEL(selftest_shuffles, lk_selftest_args) {
  const unsigned t = threadIdx.x, lane = t & 31;
  uint64_t value = t;
  if (t / 32 % 2 == 0) {
    double sum = t;
    for (int bits = 16; bits > 0; bits >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
    value = static_cast<uint64_t>(sum);
  } else {
    const uint32_t down = __shfl_down_sync(0xffffffffu, t, 3u), up = __shfl_up_sync(0xffffffffu, t, 5u, 16);
    const uint32_t all = __shfl_sync(0xffffffffu, t, 7), segment = __shfl_xor_sync(0xffffffffu, t, 8, 8);
    value = down + 1000ull * up + 1000000ull * all + 1000000000ull * segment;
    if (lane < 16) value += __shfl_xor_sync(0x0000ffffu, lane, 1) * 1000000000000ull;
    __syncwarp();
  }
  __syncthreads();
  a.out[blockIdx.x * blockDim.x + t] = value;
}

// out[32][8]: the product of a(i, k) = 1 + i + 100 k and b(k, j) = 1 + j k, with n added to what a has, by one warp.
LK_KERNEL(selftest_tensor, lk_selftest_args) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  float d[2][1][4] = {};
  uint32_t x[2][4], y[1][2];
  for (int e = 0; e < 8; ++e) {
    const int i = e / 4 * 16 + e % 2 * 8 + g, k = e % 4 / 2 * 4 + t;
    x[e / 4][e % 4] = __float_as_uint(static_cast<float>(1 + i + 100 * k) + static_cast<float>(a.n) / 8.0f);
  }
  for (int e = 0; e < 2; ++e) y[0][e] = __float_as_uint(static_cast<float>(1 + g * (t + 4 * e)));
  lk::multiply_add<LK_DTYPE_F32>(d, x, y);
  for (int e = 0; e < 8; ++e) {
    const int i = e / 4 * 16 + e % 4 / 2 * 8 + g, j = 2 * t + e % 2;
    a.out[i * 8 + j] = static_cast<uint64_t>(8.0f * d[e / 4][0][e % 4]);
  }
}

// Wrong in five ways, by n: all must end as errors, not as hangs.
LK_KERNEL(selftest_divergent, lk_selftest_args) {
  if (a.n == 0 && threadIdx.x % 2) __syncthreads();
  if (a.n == 1 && threadIdx.x == 5) return;
  if (a.n == 1) __syncthreads();
  if (a.n == 2 && threadIdx.x != 9) __syncwarp();
  if (a.n == 3) __shfl_sync(threadIdx.x % 2 ? 0xffffffffu : 0x7fffffffu, threadIdx.x, 0);
  if (a.n == 4) {
    float d[1][1][4] = {};
    const uint32_t x[1][4] = {}, y[1][2] = {};
    threadIdx.x % 32 ? lk::multiply_add<LK_DTYPE_F32>(d, x, y) : __syncwarp();
  }
  if (a.n > 4) a.out[threadIdx.x] = threadIdx.x;
}

// Word, uniform and normal number of draw i, with seed 0x1234567890abcdef and offset n.
LK_KERNEL(selftest_philox, lk_selftest_args) {
  const uint64_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const lk::Philox from = {0x1234567890abcdefull, a.n};
  float pair[2];
  lk::philox_normals(from.word(i & ~1ull), from.word(i | 1), pair[0], pair[1]);
  a.out[3 * i] = from.word(i);
  a.out[3 * i + 1] = __float_as_uint(lk::philox_uniform(from.word(i)));
  a.out[3 * i + 2] = __float_as_uint(pair[i & 1]);
}
