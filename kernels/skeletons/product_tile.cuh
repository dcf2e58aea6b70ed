// One 64 x 64 tile of a matrix product by 256 threads, in f32: fused multiply-adds, or tensor cores where the operands
// let them be as exact. Sums over 64 of the depth at a time, added up in order: rounding grows with the root of the
// depth / 64.
//
// A and B are functors: a(i, p) and b(j, p) give elements of the tile's rows i and columns j (0 .. 63) at depth p, and
// 0 beyond the edges. kAlongDepth says that elements of one row lie side by side along the depth rather than along the
// row index: threads then load so that neighbours read neighbours. Thread (ty, tx) of 16 x 16 gets rows 4 ty .. and
// columns 4 tx .. + 3.
#pragma once
#include "../tensor.cuh"

namespace lk {

constexpr int kTile = 64, kDepth = 16, kMicro = 4, kTileThreads = 256;
constexpr int kStripPad = kTile + 8;  // the fragments of tensor cores fall into different banks

// What is known of the operands.
enum class Operands {
  kFloats,       // nothing: no tensor cores
  kHalves,       // f16 or bf16, or 0
  kFloatsHalves  // B only; A goes in two parts
};

union ProductShared {
  struct {
    float a[kDepth][kStripPad];
    float b[kDepth][kStripPad];
  } strips;
  float out[kTile][kTile + 4];
};

template <bool kAlongDepth, class M>
LK_DEVICE void load_strip(float (&to)[kDepth][kStripPad], const M& m, u64 p) {
#pragma unroll
  for (int n = 0; n < kTile * kDepth / kTileThreads; ++n) {
    const int e = static_cast<int>(threadIdx.x) + n * kTileThreads;
    const int depth = kAlongDepth ? e % kDepth : e / kTile, i = kAlongDepth ? e / kDepth : e % kTile;
    to[depth][i] = m(i, p + depth);
  }
}

// Has `multiply` add the product of strips of a and b to `part`, which is added to `sum` every 64 of the depth. All
// threads of the block.
template <bool kAAlongDepth, bool kBAlongDepth, class A, class B, int kParts, class Multiply>
LK_DEVICE void product_strips(
    ProductShared& shared, const A& a, const B& b, u64 depth, float (&sum)[kParts], Multiply multiply) {
  float part[kParts] = {};
  for (u64 p = 0; p < depth; p += kDepth) {
    load_strip<kAAlongDepth>(shared.strips.a, a, p);
    load_strip<kBAlongDepth>(shared.strips.b, b, p);
    __syncthreads();
    multiply(part);
    __syncthreads();
    if ((p / kDepth + 1) % 4 != 0 && p + kDepth < depth) continue;
#pragma unroll
    for (int e = 0; e < kParts; ++e) {
      sum[e] += part[e];
      part[e] = 0.0f;
    }
  }
}

// Each warp has 32 rows and 16 columns.
template <bool kSplit>
LK_DEVICE void multiply_strips(const ProductShared& shared, float (&part)[2][2][4]) {
  const int warp = static_cast<int>(threadIdx.x) / 32, g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
  const int row = warp / 4 * 32 + g, column = warp % 4 * 16 + g;
#pragma unroll
  for (int q = 0; q < kDepth; q += 8) {
    float a[2][4], rest[2][4], b[2][2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float x = shared.strips.a[q + t + e / 2 * 4][row + i * 16 + e % 2 * 8];
        a[i][e] = kSplit ? tf32_part(x) : x;
        rest[i][e] = kSplit ? tf32_rest(x) : 0.0f;
      }
#pragma unroll
      for (int e = 0; e < 2; ++e) b[i][e] = shared.strips.b[q + t + e * 4][column + i * 8];
    }
    if (kSplit) multiply_add(part, rest, b);
    multiply_add(part, a, b);
  }
}

// Adds the products to `sum`. All threads of the block.
template <bool kAAlongDepth, bool kBAlongDepth, class A, class B>
LK_DEVICE void product_tile(
    ProductShared& shared, const A& a, const B& b, u64 depth, float (&sum)[kMicro][kMicro],
    Operands operands = Operands::kFloats) {
  const int row = static_cast<int>(threadIdx.x) / 16 * kMicro, column = static_cast<int>(threadIdx.x) % 16 * kMicro;
  constexpr int kParts = kMicro * kMicro;
  if (!kTensorCores || operands == Operands::kFloats) {
    product_strips<kAAlongDepth, kBAlongDepth>(
        shared, a, b, depth, reinterpret_cast<float(&)[kParts]>(sum), [&](float(&part)[kParts]) {
#pragma unroll
          for (int q = 0; q < kDepth; ++q) {
#pragma unroll
            for (int e = 0; e < kParts; ++e) {
              part[e] = fmaf(shared.strips.a[q][row + e / kMicro], shared.strips.b[q][column + e % kMicro], part[e]);
            }
          }
        });
    return;
  }
  float all[kParts] = {};
  const bool split = operands == Operands::kFloatsHalves;
  product_strips<kAAlongDepth, kBAlongDepth>(shared, a, b, depth, all, [&](float(&part)[kParts]) {
    auto& fragments = reinterpret_cast<float(&)[2][2][4]>(part);
    split ? multiply_strips<true>(shared, fragments) : multiply_strips<false>(shared, fragments);
  });
  // From the warps' layout to that of the threads.
  const int warp = static_cast<int>(threadIdx.x) / 32, g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int e = 0; e < kParts; ++e) {
    const int i = warp / 4 * 32 + e / 8 * 16 + e % 4 / 2 * 8 + g, j = warp % 4 * 16 + e / 4 % 2 * 8 + 2 * t + e % 2;
    shared.out[i][j] = all[e];
  }
  __syncthreads();
#pragma unroll
  for (int e = 0; e < kParts; ++e) sum[e / kMicro][e % kMicro] += shared.out[row + e / kMicro][column + e % kMicro];
  __syncthreads();
}

// each(row, column, i, j) for the elements of this thread's part sum[i][j] of a tile that lie within a matrix of
// `rows` x `columns`; the tile's first is at `row`, `column`.
template <class Each>
LK_DEVICE void each_of_tile(u64 row, u64 column, u64 rows, u64 columns, Each each) {
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const u64 r = row + threadIdx.x / 16 * kMicro + i, c = column + threadIdx.x % 16 * kMicro + j;
      if (r < rows && c < columns) each(r, c, i, j);
    }
  }
}

}  // namespace lk
