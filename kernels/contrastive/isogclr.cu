// Operations: 2 n^2 d for the statistics and 4 n^2 d for each gradient. Bound: f32 multiply-adds. Memory: the rows
// once per 64 rows of the other side, from L2.
#include "isogclr.cuh"

LK_KERNEL(isogclr_statistics, lk_isogclr_tile_args) { lk::tile_statistics<lk::Isogclr>(a); }

LK_KERNEL(isogclr_step, lk_isogclr_tile_args) {
  const lk::Isogclr loss(a);
  const lk::u64 step = lk::u64(gridDim.x) * blockDim.x;
  for (lk::u64 i = lk::u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.entry.n; i += step) loss.step(i);
}

LK_KERNEL(isogclr_gradients, lk_isogclr_tile_args) { lk::tile_gradients<lk::Isogclr>(a); }
