// One tile of a product of matrices in memory, 128 x 128, on tensor cores. Both go to shared memory as they are, some
// strips of the depth ahead; nothing is converted on the way.
//
// f16 and bf16 are multiplied as they are. A factor that comes from f32 arithmetic is in parts that add up to it: three of
// bf16, or two of f16 and a scale (`HalfScale`), so that nothing below 2^-22 of an element is lost, or 2^-38 of the largest.
// f32 is split here into two parts of TF32, unless it holds halves. Tensor cores truncate: but for the products of halves
// with halves, sums go over to f32 arithmetic strip by strip.
//
// Shared memory: P::kStages * P::kStage bytes, dynamic.
#pragma once
#include "../tensor.cuh"

namespace lk {

constexpr int kSide = 128;
constexpr int kPanelBytes = 8192;  // of a strip of one factor: 32 halves or 16 f32 of the depth

struct alignas(8) Pair {
  float x, y;
};

// What is left of a matrix in memory from an element on.
struct Panel {
  const void* data;
  u64 stride;         // from row to row, in elements
  u64 rows, columns;  // both may be more than a tile
};

LK_DEVICE Panel panel(const void* data, int dtype, u64 stride, u64 rows, u64 columns, u64 row, u64 column) {
  const bool any = row < rows && column < columns;
  return {at(data, dtype, any ? row * stride + column : 0), stride, any ? rows - row : 0, any ? columns - column : 0};
}

// What is known of factors of f32.
enum class Words {
  kAny,
  kHalvesB,  // B has nothing but values of f16 or bf16
  kHalves    // nor has A
};

// kDtype of both factors; A may come in parts.
template <int kType, int kPartsOfA = 1, Words kWordsOf = Words::kAny>
struct Product {
  static constexpr int kDtype = kType, kParts = kPartsOfA;
  static constexpr Words kWords = kWordsOf;
  static constexpr bool kFloats = kType == LK_DTYPE_F32, kByStrip = kFloats || kParts > 1;
  static constexpr int kThreads = kByStrip ? 256 : 128;
  static constexpr int kSize = kFloats ? 4 : 2, kPerChunk = 16 / kSize, kStep = 4 * kPerChunk;
  static constexpr int kStages = kByStrip ? 2 : 3, kStage = (kParts + 1) * kPanelBytes;
  // A warp has 64 rows, in blocks of 16, and columns in blocks of 8.
  static constexpr int kRowBlocks = 4, kColumnBlocks = kByStrip ? 4 : 8, kAcross = kSide / 8 / kColumnBlocks;
  using Sum = float[kRowBlocks][kColumnBlocks][4];
  // How many lanes of a block share a row in `each_row`.
  static constexpr int kLanes = 2 * kAcross;
  // Rows of 16 of a warp's part of the sum, in shared memory.
  static constexpr int kStaged = 8 * kColumnBlocks + 8;

  static LK_DEVICE int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static LK_DEVICE int lane_of_row() { return static_cast<int>(threadIdx.x) / 32 % kAcross * 2 + lane() % 2; }
  static LK_DEVICE int warp_row() { return static_cast<int>(threadIdx.x) / 32 / kAcross * 64; }
  static LK_DEVICE int warp_column() { return static_cast<int>(threadIdx.x) / 32 % kAcross * (8 * kColumnBlocks); }
};

// A panel of 128 along one side and a strip of the depth, in shared memory as rows of `kAcross` chunks of 16 bytes: rows of
// the matrix are rows here. Chunks change places within a row so that neither stores nor loads meet in a bank.
template <class P, bool kAlongDepth>
struct PanelPlace {
  static constexpr int kAcross = kAlongDepth ? 4 : kSide / P::kPerChunk;
  static LK_DEVICE int chunk(int row, int chunk) {
    if constexpr (kAlongDepth) return chunk ^ (row / 2 % 4);
    return P::kFloats ? chunk ^ (row % 4 * 2) : chunk ^ (row % 8);
  }
  static LK_DEVICE int bytes(int row, int c) { return row * (kAcross * 16) + chunk(row, c) * 16; }
};

// This thread's chunks of a panel: one place in every few rows.
template <class P, bool kAlongDepth>
struct PanelCopy {
  using Place = PanelPlace<P, kAlongDepth>;
  static constexpr int kDown = P::kThreads / Place::kAcross, kRounds = kPanelBytes / 16 / P::kThreads;
  const unsigned char* from;
  u64 down, step;  // bytes
  u64 left;        // of the depth, from this thread's place
  int fixed;       // of the other side: elements of a chunk, or rounds
  int place;
  bool aligned;

  LK_DEVICE explicit PanelCopy(const Panel& p) {
    const u64 row = threadIdx.x / Place::kAcross, chunk = threadIdx.x % Place::kAcross, column = chunk * P::kPerChunk;
    const u64 columns = p.columns > column ? p.columns - column : 0, rows = p.rows > row ? p.rows - row : 0;
    aligned = aligned16(p.data) && p.stride % P::kPerChunk == 0;
    from = static_cast<const unsigned char*>(p.data) + (row * p.stride + column) * P::kSize;
    down = kDown * p.stride * P::kSize;
    step = P::kStep * (kAlongDepth ? 1 : p.stride) * P::kSize;
    place = Place::bytes(static_cast<int>(row), static_cast<int>(chunk));
    left = kAlongDepth ? columns : rows;
    if constexpr (kAlongDepth) {
      fixed = rows > kRounds * kDown ? kRounds : static_cast<int>((rows + kDown - 1) / kDown);
    } else {
      fixed = columns > P::kPerChunk ? P::kPerChunk : static_cast<int>(columns);
    }
  }

  // Its strip into a panel.
  LK_DEVICE void fetch(unsigned char* panel, u64 part = 0) const {
    const int along = left > P::kPerChunk ? P::kPerChunk : static_cast<int>(left);
    const auto elements = [&](int n) { return kAlongDepth ? (n < fixed ? along : 0) : (static_cast<u64>(n * kDown) < left ? fixed : 0); };
    unsigned char* to = panel + place;
    const unsigned char* at = from + part;
    if (aligned) {
#pragma unroll
      for (int n = 0; n < kRounds; ++n) {
        copy16(to + n * kDown * Place::kAcross * 16, at + n * down, static_cast<unsigned>(elements(n) * P::kSize));
      }
      return;
    }
#pragma unroll 1
    for (int n = 0; n < kRounds; ++n) {
      Vec16 all = {{0, 0, 0, 0}};
#pragma unroll
      for (int e = 0; e < P::kPerChunk; ++e) {
        if (e >= elements(n)) continue;
        if constexpr (P::kFloats) {
          all.w[e] = reinterpret_cast<const uint32_t*>(at + n * down)[e];
        } else {
          all.w[e / 2] |= static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(at + n * down)[e]) << e % 2 * 16;
        }
      }
      *reinterpret_cast<Vec16*>(to + n * kDown * Place::kAcross * 16) = all;
    }
  }
  LK_DEVICE void advance() {
    from += step;
    left = left > P::kStep ? left - P::kStep : 0;
  }
};

// ---- Fragments ----------------------------------------------------------------------------------------

// Words of the 64 rows of a warp, at half q of a strip.
template <class P, bool kAlongDepth>
LK_DEVICE void load_a(uint32_t (&a)[P::kRowBlocks][4], const unsigned char* panel, int q) {
  using Place = PanelPlace<P, kAlongDepth>;
  const int lane = P::lane();
#pragma unroll
  for (int i = 0; i < P::kRowBlocks; ++i) {
    if constexpr (kAlongDepth) {
      load_matrices<false>(a[i], panel + Place::bytes(P::warp_row() + i * 16 + lane % 16, q * 2 + lane / 16));
    } else if constexpr (!P::kFloats) {
      const int depth = q * 16 + lane / 16 * 8 + lane % 8;
      load_matrices<true>(a[i], panel + Place::bytes(depth, P::warp_row() / 8 + i * 2 + lane / 8 % 2));
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int depth = q * 8 + e / 2 * 4 + lane % 4, row = P::warp_row() + i * 16 + e % 2 * 8 + lane / 4;
        a[i][e] = *reinterpret_cast<const uint32_t*>(panel + Place::bytes(depth, row / 4) + row % 4 * 4);
      }
    }
  }
}

// And of its columns.
template <class P, bool kAlongDepth>
LK_DEVICE void load_b(uint32_t (&b)[P::kColumnBlocks][2], const unsigned char* panel, int q) {
  using Place = PanelPlace<P, kAlongDepth>;
  const int lane = P::lane();
#pragma unroll
  for (int j = 0; j < P::kColumnBlocks; j += 2) {
    if constexpr (kAlongDepth || !P::kFloats) {
      uint32_t words[4];
      if constexpr (kAlongDepth) {
        load_matrices<false>(words, panel + Place::bytes(P::warp_column() + (j + lane / 16) * 8 + lane % 8, q * 2 + lane / 8 % 2));
      } else {
        const int depth = q * 16 + lane / 8 % 2 * 8 + lane % 8;
        load_matrices<true>(words, panel + Place::bytes(depth, P::warp_column() / 8 + j + lane / 16));
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) b[j + e / 2][e % 2] = words[e];
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int depth = q * 8 + e % 2 * 4 + lane % 4, column = P::warp_column() + (j + e / 2) * 8 + lane / 4;
        b[j + e / 2][e % 2] = *reinterpret_cast<const uint32_t*>(panel + Place::bytes(depth, column / 4) + column % 4 * 4);
      }
    }
  }
}

// x becomes the nearest in TF32, `rest` what is left of it.
template <int kBlocks, int kWords>
LK_DEVICE void split_words(uint32_t (&x)[kBlocks][kWords], uint32_t (&rest)[kBlocks][kWords]) {
#pragma unroll
  for (int n = 0; n < kBlocks * kWords; ++n) {
    const float whole = __uint_as_float(x[n / kWords][n % kWords]), near = tf32_near(whole);
    x[n / kWords][n % kWords] = __float_as_uint(near);
    rest[n / kWords][n % kWords] = __float_as_uint(whole - near);
  }
}

// ---- Products -----------------------------------------------------------------------------------------

template <class P, bool kAAlongDepth, bool kBAlongDepth>
LK_DEVICE void multiply_strip(const unsigned char* stage, typename P::Sum& sum) {
  const unsigned char* of_b = stage + P::kParts * kPanelBytes;
#pragma unroll (kTensorCores ? 2 : 1)
  for (int q = 0; q < 2; ++q) {
    uint32_t a[P::kRowBlocks][4], b[P::kColumnBlocks][2];
    load_b<P, kBAlongDepth>(b, of_b, q);
#pragma unroll (kTensorCores ? P::kParts : 1)
    for (int part = P::kParts - 1; part > 0; --part) {
      load_a<P, kAAlongDepth>(a, stage + part * kPanelBytes, q);
      multiply_add<P::kDtype>(sum, a, b);
    }
    load_a<P, kAAlongDepth>(a, stage, q);
    if constexpr (P::kFloats && P::kWords != Words::kHalves) {
      uint32_t rest_a[P::kRowBlocks][4], rest_b[P::kColumnBlocks][2];
      split_words(a, rest_a);
      if constexpr (P::kWords == Words::kAny) split_words(b, rest_b);
      multiply_add<P::kDtype>(sum, rest_a, b);
      if constexpr (P::kWords == Words::kAny) multiply_add<P::kDtype>(sum, a, rest_b);
    }
    multiply_add<P::kDtype>(sum, a, b);
  }
}

// sum = A B. A's side is its rows where kAAlongDepth, else its columns; B's likewise. The parts of A are `part` bytes
// apart. All threads of the block; none is at `shared` any more when it returns.
template <class P, bool kAAlongDepth, bool kBAlongDepth>
LK_DEVICE void matrix_product(unsigned char* shared, const Panel& a, const Panel& b, u64 depth, typename P::Sum& sum, u64 part = 0) {
  constexpr int kElements = P::kRowBlocks * P::kColumnBlocks * 4;
  float* all = &sum[0][0][0];
#pragma unroll
  for (int e = 0; e < kElements; ++e) all[e] = 0.0f;
  PanelCopy<P, kAAlongDepth> of_a(a);
  PanelCopy<P, kBAlongDepth> of_b(b);
  u64 left = (depth + P::kStep - 1) / P::kStep, fetched = left;
  int slot = 0, next = 0;
  const auto fetch = [&] {
    if (fetched > 0) {
      unsigned char* stage = shared + next * P::kStage;
#pragma unroll
      for (int n = 0; n < P::kParts; ++n) of_a.fetch(stage + n * kPanelBytes, n * part);
      of_b.fetch(stage + P::kParts * kPanelBytes);
      of_a.advance();
      of_b.advance();
      --fetched;
    }
    end_copies();
    next = next + 1 < P::kStages ? next + 1 : 0;
  };
#pragma unroll
  for (int s = 0; s < P::kStages - 1; ++s) fetch();
  for (; left > 0; --left) {
    await_copies<P::kStages - 2>();
    __syncthreads();  // this strip is there, and nobody is at the one before, where the next goes
    fetch();
    const unsigned char* stage = shared + slot * P::kStage;
    slot = slot + 1 < P::kStages ? slot + 1 : 0;
    if constexpr (!P::kByStrip) {
      multiply_strip<P, kAAlongDepth, kBAlongDepth>(stage, sum);
    } else {
      typename P::Sum of_strip = {};
      multiply_strip<P, kAAlongDepth, kBAlongDepth>(stage, of_strip);
      const float* own = &of_strip[0][0][0];
#pragma unroll
      for (int e = 0; e < kElements; ++e) all[e] += own[e];
    }
  }
  await_copies<0>();
  __syncthreads();
}

// Elements of a chunk from element i on of `count`.
LK_DEVICE int left_of(u64 count, u64 i) { return count - i < 8 ? static_cast<int>(count - i) : 8; }

// body(row, chunks) for rows of a tile of which `rows` x `columns` exist, each by two lanes of one or more warps:
// chunks(each) calls each(column, left, x[8]) for some of the row's runs of 8, of which `left` exist. Row and column are
// from the tile's first. All threads of the block, through shared memory; with a barrier at the end.
template <class P, class Body>
LK_DEVICE void each_row(unsigned char* shared, const typename P::Sum& sum, u64 rows, u64 columns, Body body) {
  const int lane = P::lane();
  float* staged = reinterpret_cast<float*>(shared) + static_cast<int>(threadIdx.x) / 32 * (16 * P::kStaged);
#pragma unroll 1
  for (int block = 0; block < P::kRowBlocks; ++block) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < P::kRowBlocks; ++i) {
      if (i != block) continue;
#pragma unroll
      for (int j = 0; j < P::kColumnBlocks; ++j) {
        float* to = staged + lane / 4 * P::kStaged + j * 8 + lane % 4 * 2;
        *reinterpret_cast<Pair*>(to) = {sum[i][j][0], sum[i][j][1]};
        *reinterpret_cast<Pair*>(to + 8 * P::kStaged) = {sum[i][j][2], sum[i][j][3]};
      }
    }
    __syncwarp();
    const int row = P::warp_row() + block * 16 + lane / 2;
    if (static_cast<u64>(row) >= rows) continue;
    body(row, [&](auto each) {
#pragma unroll 1
      for (int c = lane % 2 * 8; c < 8 * P::kColumnBlocks; c += 16) {
        const int column = P::warp_column() + c;
        if (static_cast<u64>(column) >= columns) break;
        float x[8];
        load8(staged, LK_DTYPE_F32, static_cast<u64>(lane / 2 * P::kStaged + c), x);
        each(column, left_of(columns, static_cast<u64>(column)), x);
      }
    });
  }
  __syncthreads();
}

// The first `left` of a chunk whose first element is number i, then 0.
LK_DEVICE void get_chunk(const void* p, int dtype, u64 i, int left, float (&x)[8]) {
  if (left == 8 && aligned16(at(p, dtype, i))) {
    load8(p, dtype, i, x);
    return;
  }
#pragma unroll
  for (int e = 0; e < 8; ++e) x[e] = e < left ? load1(p, dtype, i + e) : 0.0f;
}

// Writes the first `left` of a chunk whose first element is number i.
LK_DEVICE void put_chunk(void* p, int dtype, u64 i, int left, const float (&x)[8]) {
  if (left == 8 && aligned16(at(p, dtype, i))) {
    store8(p, dtype, i, x);
    return;
  }
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    if (e < left) store1(p, dtype, i + e, x[e]);
  }
}

// A power of two that takes numbers up to `bound` into the range of f16, with room for sums of two, and its inverse.
struct HalfScale {
  float times, undo;
  LK_DEVICE explicit HalfScale(float bound) : times(1.0f), undo(1.0f) {
    if (!(bound > 0.0f) || bound == infinity()) return;
    int power = static_cast<int>(__float_as_uint(bound) >> 23) - 126;  // bound < 2^power
    power = power < -110 ? -110 : power > 124 ? 124 : power;
    times = __uint_as_float(static_cast<uint32_t>(127 + 14 - power) << 23);
    undo = __uint_as_float(static_cast<uint32_t>(127 + power - 14) << 23);
  }
};

// Takes from x what a half of this type can hold.
LK_DEVICE void take_halves(int dtype, float (&x)[8], float (&halves)[8]) {
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    halves[e] = dtype == LK_DTYPE_F16 ? half_bits_to_float(float_to_half_bits(x[e])) : bfloat_bits_to_float(float_to_bfloat_bits(x[e]));
    x[e] = halves[e] == infinity() || halves[e] == -infinity() ? 0.0f : x[e] - halves[e];
  }
}

// Parts of a factor from f32 arithmetic.
template <int kDtype>
constexpr int kFactorParts = kDtype == LK_DTYPE_F32 ? 1 : kDtype == LK_DTYPE_F16 ? 2 : 3;

// Writes a chunk of it, whose parts are `part` elements apart.
template <int kDtype>
LK_DEVICE void put_parts(void* p, u64 i, u64 part, int left, float (&x)[8]) {
  if constexpr (kDtype == LK_DTYPE_F32) {
    put_chunk(p, LK_DTYPE_F32, i, left, x);
  } else {
#pragma unroll
    for (int n = 0; n < kFactorParts<kDtype>; ++n) {
      float halves[8];
      take_halves(kDtype, x, halves);
      put_chunk(p, kDtype, i + n * part, left, halves);
    }
  }
}

}  // namespace lk
