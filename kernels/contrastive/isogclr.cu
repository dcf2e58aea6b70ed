// Operations: 2 n^2 d each for the statistics, dloss/dS and the gradients (kernels/tiles/gather.cu). Bound: multiply-adds;
// f16 and bf16 on tensor cores. Memory: the rows once per 64 or 128 of the other side, from L2.
#include "isogclr.cuh"

LK_KERNEL(isogclr_statistics, lk_isogclr_tile_args, lk::kTileThreads, 2) { lk::tile_statistics<lk::Isogclr>(a); }

LK_KERNEL(isogclr_finish, lk_isogclr_tile_args, lk::kTileThreads) { lk::tile_finish<lk::Isogclr>(a); }

LK_KERNEL(isogclr_step, lk_isogclr_tile_args) {
  const lk::Isogclr loss(a);
  const lk::u64 step = lk::u64(gridDim.x) * blockDim.x;
  for (lk::u64 i = lk::u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.entry.n; i += step) loss.step(i);
}

LK_KERNEL(isogclr_weights, lk_isogclr_tile_args, lk::kTileThreads, 2) { lk::tile_weights<lk::Isogclr>(a); }
