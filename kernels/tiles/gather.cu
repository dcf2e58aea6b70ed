// Gradients of rows from a tile of dloss/dS: G = W Y^ or W' X^, in parts of the depth so that few rows still fill the GPU.
// Operations: 2 per element of the tile and column of Y. Bound: tensor cores, three products of TF32 for f32, two for f16,
// three of bf16, whose W comes in parts. The tile lies in L2.
#include "../skeletons/matrix_product.cuh"

// Mirrored by src/cuda/tiles.rs.
struct lk_gather_args {
  const void* tile;       // [parts][tile_rows][tile_stride]: dloss/dS times the units of both sides
  const void* values;     // [depth][stride]: the side that is summed over
  const float* unit;      // [owners]: is taken out again; NULL = 1
  float* parts;           // [count][owners][d]
  float* gradient;        // [owners][d]
  uint64_t tile_rows, tile_columns, tile_stride, d, stride;
  int32_t columns_own;    // the gradient is that of the columns' side
  int32_t count;
  int32_t first;          // the gradient has nothing yet
  int32_t padding;
};

namespace lk {

LK_DEVICE u64 gather_owners(const lk_gather_args& a) { return a.columns_own ? a.tile_columns : a.tile_rows; }
LK_DEVICE u64 gather_depth(const lk_gather_args& a) { return a.columns_own ? a.tile_rows : a.tile_columns; }

template <class P>
LK_DEVICE void gather(const lk_gather_args& a) {
  LK_DYNAMIC_SHARED(unsigned char, shared);
  const PartOf part(gather_depth(a), static_cast<u64>(a.count), blockIdx.z);
  const u64 i0 = u64(blockIdx.y) * kSide, j0 = u64(blockIdx.x) * kSide, owners = gather_owners(a);
  const u64 depth = part.start < part.end ? part.end - part.start : 0, apart = a.tile_rows * a.tile_stride * P::kSize;
  const Panel values = panel(a.values, P::kDtype, a.stride, part.end, a.d, part.start, j0);
  typename P::Sum sum;
  if (a.columns_own) {
    const Panel tile = panel(a.tile, P::kDtype, a.tile_stride, part.end, a.tile_columns, part.start, i0);
    matrix_product<P, false, false>(shared, tile, values, depth, sum, apart);
  } else {
    const Panel tile = panel(a.tile, P::kDtype, a.tile_stride, a.tile_rows, part.end, i0, part.start);
    matrix_product<P, true, false>(shared, tile, values, depth, sum, apart);
  }
  float* out = a.parts + blockIdx.z * owners * a.d;
  each_row<P>(shared, sum, owners - i0, a.d - j0, [&](int row, auto chunks) {
    const u64 owner = i0 + row;
    const float unit = a.unit ? 1.0f / a.unit[owner] : 1.0f;
    chunks([&](int column, int left, float (&x)[8]) {
#pragma unroll
      for (int e = 0; e < 8; ++e) x[e] *= unit;
      put_chunk(out, LK_DTYPE_F32, owner * a.d + j0 + column, left, x);
    });
  });
}

}  // namespace lk

LK_KERNEL(tiles_gather_f32, lk_gather_args, 256, 1) { lk::gather<lk::Product<LK_DTYPE_F32>>(a); }
LK_KERNEL(tiles_gather_tf32, lk_gather_args, 256, 1) { lk::gather<lk::Product<LK_DTYPE_F32, 1, lk::Words::kHalvesB>>(a); }
LK_KERNEL(tiles_gather_bf16, lk_gather_args, 256, 1) { lk::gather<lk::Product<LK_DTYPE_BF16, 3>>(a); }

LK_KERNEL(tiles_add, lk_gather_args, 256) {
  using lk::u64;
  const u64 n = lk::gather_owners(a) * a.d, step = u64(gridDim.x) * blockDim.x;
  for (u64 e = u64(blockIdx.x) * blockDim.x + threadIdx.x; e < n; e += step) {
    float sum = a.first ? 0.0f : a.gradient[e];
    for (int z = 0; z < a.count; ++z) sum += a.parts[z * n + e];
    a.gradient[e] = sum;
  }
}
