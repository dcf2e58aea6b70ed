// Operations: 2 n^2 d each for the statistics, dloss/dS and the gradients (kernels/tiles/gather.cu). Bound:
// tensor cores (f32: three
// products of TF32, f16: one). Memory: the rows once per 128 of the other side, from L2.
#include "isogclr.cuh"

LK_KERNEL(isogclr_statistics_f32, lk_isogclr_tile_args, 256, 1) { lk::tile_statistics<lk::Isogclr, lk::OfFloats>(a); }
LK_KERNEL(isogclr_statistics_tf32, lk_isogclr_tile_args, 256, 1) { lk::tile_statistics<lk::Isogclr, lk::OfHalves>(a); }
LK_KERNEL(isogclr_statistics_bf16, lk_isogclr_tile_args, 128, 2) { lk::tile_statistics<lk::Isogclr, lk::OfBfloats>(a); }

LK_KERNEL(isogclr_finish, lk_isogclr_tile_args, 256) { lk::tile_finish<lk::Isogclr>(a); }

LK_KERNEL(isogclr_step, lk_isogclr_tile_args) {
  const lk::Isogclr loss(a);
  const lk::u64 step = lk::u64(gridDim.x) * blockDim.x;
  for (lk::u64 i = lk::u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.entry.n; i += step) loss.step(i);
}

LK_KERNEL(isogclr_weights_f32, lk_isogclr_tile_args, 256, 1) { lk::tile_weights<lk::Isogclr, lk::OfFloats>(a); }
LK_KERNEL(isogclr_weights_tf32, lk_isogclr_tile_args, 256, 1) { lk::tile_weights<lk::Isogclr, lk::OfHalves>(a); }
LK_KERNEL(isogclr_weights_bf16, lk_isogclr_tile_args, 128, 2) { lk::tile_weights<lk::Isogclr, lk::OfBfloats>(a); }
