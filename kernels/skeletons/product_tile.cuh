// One tile of a matrix product, 64 or 128 rows by 64 columns, by 256 threads, in f32: fused multiply-adds, or tensor
// cores where the operands let them be as exact. Sums over 64 of the depth at a time, added up in order: rounding grows
// with the root of the depth / 64.
//
// A and B are operands: rows i and columns j of the tile (from 0) at depth p, and 0 beyond the edges. They are `Matrix`,
// something else with  load<kAlongDepth>(i, p, float (&x)[4]),  or a functor a(i, p). kAlongDepth says that elements lie
// side by side along the depth rather than along i: runs of 4 are loaded that way. The next strip is on its way while
// this one is multiplied.
#pragma once
#include "../tensor.cuh"

namespace lk {

constexpr int kTile = 64, kTallTile = 128, kDepth = 16, kMicro = 4, kTileThreads = 256;

// What a thread gets of a tile: rows side by side, and columns in runs of 4 side by side. A row belongs to kAcross
// neighbouring lanes. In the tall tile a warp reads few different addresses for its 4 x 8 products.
template <int kRows>
struct TileOf {
  static constexpr bool kTall = kRows == kTallTile;
  static constexpr int kAcross = kTall ? 8 : 16, kRuns = kTall ? 2 : 1, kColumns = kMicro * kRuns;
  using Sum = float[kMicro][kColumns];
  static LK_DEVICE int row(int i = 0) { return static_cast<int>(threadIdx.x) / kAcross * kMicro + i; }
  static LK_DEVICE int column(int j = 0) {
    return static_cast<int>(threadIdx.x) % kAcross * kMicro + j % kMicro + j / kMicro * (kTile / 2);
  }
};
using TallTile = TileOf<kTallTile>;

// What is known of the operands.
enum class Operands {
  kFloats,       // nothing: no tensor cores
  kHalves,       // f16 or bf16, or 0
  kFloatsHalves  // B only; A goes in two parts
};

template <int kRows>
struct Strips {
  float a[kDepth][kRows + 8];
  float b[kDepth][kTile + 8];
};

// Where in a strip row or column i is at some depth. With the padding of 8 neither stores of runs along the depth nor
// loads of fragments for tensor cores meet in a bank.
LK_DEVICE int strip_place(int depth, int i) { return i ^ (depth / 4 % 4 * 8); }

template <int kRows>
union alignas(16) ProductMemory {
  Strips<kRows> strips[2];
  float out[kRows][kTile + 4];
};
using ProductShared = ProductMemory<kTile>;

struct alignas(16) Floats4 {
  float v[4];
};
LK_DEVICE const float (&four(const float* p))[4] { return reinterpret_cast<const Floats4*>(p)->v; }

// ---- Operands -----------------------------------------------------------------------------------------

// Four elements from `from` on, of which `left` exist.
LK_DEVICE void load_run(const void* from, int dtype, u64 left, float (&x)[4]) {
  if (left >= 4 && (reinterpret_cast<uintptr_t>(from) & (4 * element_size(dtype) - 1)) == 0) {
    if (dtype == LK_DTYPE_F32) {
      const Floats4 values = *static_cast<const Floats4*>(from);
#pragma unroll
      for (int j = 0; j < 4; ++j) x[j] = values.v[j];
      return;
    }
    struct alignas(8) Words {
      uint32_t w[2];
    };
    const Words words = *static_cast<const Words*>(from);
#pragma unroll
    for (int j = 0; j < 2; ++j) word_to_floats(words.w[j], dtype, x[2 * j], x[2 * j + 1]);
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) x[j] = static_cast<u64>(j) < left ? load1(from, dtype, j) : 0.0f;
}

// Writes the first `left` of four.
LK_DEVICE void put_run(float* to, const Floats4& x, u64 left) {
  if (left >= 4 && aligned16(to)) {
    *reinterpret_cast<Floats4*>(to) = x;
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (static_cast<u64>(j) < left) to[j] = x.v[j];
  }
}

// Part of a matrix of `rows` x `columns`, `stride` elements from row to row, from row `row` and column `column` on.
struct Matrix {
  const void* data;
  int dtype;
  u64 stride, rows, columns, row, column;

  template <bool kAlongDepth>
  LK_DEVICE void load(int i, u64 p, float (&x)[4]) const {
    const u64 r = row + (kAlongDepth ? static_cast<u64>(i) : p), c = column + (kAlongDepth ? p : static_cast<u64>(i));
    const u64 left = r < rows && c < columns ? columns - c : 0;
    load_run(at(data, dtype, left ? r * stride + c : 0), dtype, left, x);
  }
};

template <bool kAlongDepth, class M>
LK_DEVICE auto fetch(const M& m, int i, u64 p, float (&x)[4], int) -> decltype(m.template load<kAlongDepth>(i, p, x)) {
  m.template load<kAlongDepth>(i, p, x);
}
template <bool kAlongDepth, class M>
LK_DEVICE void fetch(const M& m, int i, u64 p, float (&x)[4], long) {
#pragma unroll
  for (int j = 0; j < 4; ++j) x[j] = kAlongDepth ? m(i, p + j) : m(i + j, p);
}

// This thread's share of a strip: runs along the depth of one i each, or along i at one depth. Neighbours read
// neighbouring memory.
template <bool kAlongDepth, int kRows>
struct Share {
  static constexpr int kRuns = kRows / kTile;
  float x[kRuns][4];

  static LK_DEVICE int i(int run) {
    const int t = static_cast<int>(threadIdx.x);
    return (kAlongDepth ? t / 4 : t % 16 * 4) + run * kTile;
  }
  static LK_DEVICE int depth() { return kAlongDepth ? static_cast<int>(threadIdx.x) % 4 * 4 : static_cast<int>(threadIdx.x) / 16; }

  template <class M>
  LK_DEVICE void get(const M& m, u64 p) {
#pragma unroll
    for (int run = 0; run < kRuns; ++run) fetch<kAlongDepth>(m, i(run), p + depth(), x[run], 0);
  }
  LK_DEVICE void put(float (&strip)[kDepth][kRows + 8]) const {
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const int place = strip_place(depth(), i(run));
      if constexpr (kAlongDepth) {
#pragma unroll
        for (int j = 0; j < 4; ++j) strip[depth() + j][place] = x[run][j];
      } else {
        *reinterpret_cast<Floats4*>(&strip[depth()][place]) = {{x[run][0], x[run][1], x[run][2], x[run][3]}};
      }
    }
  }
};

// ---- Products -----------------------------------------------------------------------------------------

// Has `multiply` add the product of a strip of a and b to `part`, which is added to `sum` every 64 of the depth. All
// threads of the block; none is at `shared` any more when it returns.
template <bool kAAlongDepth, bool kBAlongDepth, int kRows, class A, class B, int kParts, class Multiply>
LK_DEVICE void product_strips(
    ProductMemory<kRows>& shared, const A& a, const B& b, u64 depth, float (&sum)[kParts], Multiply multiply) {
  if (depth == 0) return;
  Share<kAAlongDepth, kRows> of_a;
  Share<kBAlongDepth, kTile> of_b;
  of_a.get(a, 0);
  of_b.get(b, 0);
  of_a.put(shared.strips[0].a);
  of_b.put(shared.strips[0].b);
  __syncthreads();
  float part[kParts] = {};
  int now = 0;
  for (u64 p = 0;;) {
    const u64 next = p + kDepth;
    const bool more = next < depth;
    if (more) {
      of_a.get(a, next);
      of_b.get(b, next);
    }
    multiply(shared.strips[now], part);
    if (next % 64 == 0 || !more) {
#pragma unroll
      for (int e = 0; e < kParts; ++e) {
        sum[e] += part[e];
        part[e] = 0.0f;
      }
    }
    if (!more) break;
    now ^= 1;
    of_a.put(shared.strips[now].a);
    of_b.put(shared.strips[now].b);
    __syncthreads();
    p = next;
  }
  __syncthreads();
}

// Of a warp, which has 32 rows: how many warps lie side by side, and its blocks of 8 columns.
template <int kRows>
struct WarpTile {
  static constexpr int kAcross = kTileThreads / kRows, kBlocks = kTile / kAcross / 8;
  static LK_DEVICE int row() { return static_cast<int>(threadIdx.x) / 32 / kAcross * 32; }
  static LK_DEVICE int column() { return static_cast<int>(threadIdx.x) / 32 % kAcross * (kTile / kAcross); }
};

template <bool kSplit, int kRows>
LK_DEVICE void multiply_strips(const Strips<kRows>& strips, float (&part)[2][WarpTile<kRows>::kBlocks][4]) {
  constexpr int kBlocks = WarpTile<kRows>::kBlocks;
  const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
  const int row = WarpTile<kRows>::row() + g, column = WarpTile<kRows>::column() + g;
#pragma unroll
  for (int q = 0; q < kDepth; q += 8) {
    float a[2][4], rest[2][4], b[kBlocks][2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int depth = q + t + e / 2 * 4;
        const float x = strips.a[depth][strip_place(q + e / 2 * 4, row + i * 16 + e % 2 * 8)];
        a[i][e] = kSplit ? tf32_part(x) : x;
        rest[i][e] = kSplit ? tf32_rest(x) : 0.0f;
      }
    }
#pragma unroll
    for (int j = 0; j < kBlocks; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) b[j][e] = strips.b[q + t + e * 4][strip_place(q + e * 4, column + j * 8)];
    }
    if (kSplit) multiply_add(part, rest, b);
    multiply_add(part, a, b);
  }
}

// Adds the products to `sum`. All threads of the block.
template <bool kAAlongDepth, bool kBAlongDepth, int kRows, class A, class B>
LK_DEVICE void product_tile(
    ProductMemory<kRows>& shared, const A& a, const B& b, u64 depth, typename TileOf<kRows>::Sum& sum,
    Operands operands = Operands::kFloats) {
  using Mine = TileOf<kRows>;
  constexpr int kColumns = Mine::kColumns, kParts = kMicro * kColumns;
  if (!kTensorCores || operands == Operands::kFloats) {
    product_strips<kAAlongDepth, kBAlongDepth>(
        shared, a, b, depth, reinterpret_cast<float(&)[kParts]>(sum),
        [&](const Strips<kRows>& strips, float(&part)[kParts]) {
#pragma unroll
          for (int q = 0; q < kDepth; ++q) {
            const auto& left = four(&strips.a[q][strip_place(q, Mine::row())]);
#pragma unroll
            for (int run = 0; run < Mine::kRuns; ++run) {
              const auto& right = four(&strips.b[q][strip_place(q, Mine::column(run * kMicro))]);
#pragma unroll
              for (int e = 0; e < kMicro * kMicro; ++e) {
                float& to = part[e / kMicro * kColumns + run * kMicro + e % kMicro];
                to = fmaf(left[e / kMicro], right[e % kMicro], to);
              }
            }
          }
        });
    return;
  }
  float all[kParts] = {};
  const bool split = operands == Operands::kFloatsHalves;
  using Warp = WarpTile<kRows>;
  product_strips<kAAlongDepth, kBAlongDepth>(
      shared, a, b, depth, all, [&](const Strips<kRows>& strips, float(&part)[kParts]) {
        auto& fragments = reinterpret_cast<float(&)[2][Warp::kBlocks][4]>(part);
        split ? multiply_strips<true>(strips, fragments) : multiply_strips<false>(strips, fragments);
      });
  // From the warps' layout to that of the threads.
  const int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int e = 0; e < kParts; ++e) {
    const int i = Warp::row() + e / (4 * Warp::kBlocks) * 16 + e % 4 / 2 * 8 + g;
    const int j = Warp::column() + e / 4 % Warp::kBlocks * 8 + 2 * t + e % 2;
    shared.out[i][j] = all[e];
  }
  __syncthreads();
#pragma unroll
  for (int e = 0; e < kParts; ++e) {
    sum[e / kColumns][e % kColumns] += shared.out[Mine::row(e / kColumns)][Mine::column(e % kColumns)];
  }
  __syncthreads();
}

// each(row, column, i, j) for the elements of this thread's part sum[i][j] of a tile of kRows x 64 that lie within a
// matrix of `rows` x `columns`; the tile's first is at `row`, `column`.
template <int kRows = kTile, class Each>
LK_DEVICE void each_of_tile(u64 row, u64 column, u64 rows, u64 columns, Each each) {
  using Mine = TileOf<kRows>;
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < Mine::kColumns; ++j) {
      const u64 r = row + Mine::row(i), c = column + Mine::column(j);
      if (r < rows && c < columns) each(r, c, i, j);
    }
  }
}

// each(row, column, left, i, x) for its runs of 4 columns, of which `left` exist.
template <int kRows, class Each>
LK_DEVICE void each_run_of_tile(
    u64 row, u64 column, u64 rows, u64 columns, const typename TileOf<kRows>::Sum& sum, Each each) {
  using Mine = TileOf<kRows>;
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int run = 0; run < Mine::kRuns; ++run) {
      const u64 r = row + Mine::row(i), c = column + Mine::column(run * kMicro);
      const float* x = &sum[i][run * kMicro];
      if (r < rows && c < columns) each(r, c, columns - c, i, Floats4{{x[0], x[1], x[2], x[3]}});
    }
  }
}

}  // namespace lk
