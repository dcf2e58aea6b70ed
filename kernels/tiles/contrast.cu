// Operations: 2 n m d for the statistics of rows, again for those of columns; 2 n m d for dloss/dS, and as many for each
// gradient (gather.cu). Bound: tensor cores (f32: three
// products of TF32, f16: one). Memory: the rows once per 128 of the
// other side, from L2.
#include "contrast.cuh"

LK_KERNEL(contrast_statistics_f32, lk_contrast_args, 256, 1) { lk::tile_statistics<lk::Contrast, lk::OfFloats>(a); }
LK_KERNEL(contrast_statistics_tf32, lk_contrast_args, 256, 1) { lk::tile_statistics<lk::Contrast, lk::OfHalves>(a); }
LK_KERNEL(contrast_statistics_bf16, lk_contrast_args, 128, 2) { lk::tile_statistics<lk::Contrast, lk::OfBfloats>(a); }

LK_KERNEL(contrast_finish, lk_contrast_args, 256) { lk::tile_finish<lk::Contrast>(a); }

LK_KERNEL(contrast_between, lk_contrast_args) {
  const lk::u64 anchors = a.directions == lk::kBoth ? a.rows + a.columns : a.rows;
  const lk::Contrast contrast(a);
  for (lk::u64 i = lk::u64(blockIdx.x) * blockDim.x + threadIdx.x; i < anchors; i += lk::u64(gridDim.x) * blockDim.x) {
    contrast.between(i);
  }
}

LK_KERNEL(contrast_weights_f32, lk_contrast_args, 256, 1) { lk::tile_weights<lk::Contrast, lk::OfFloats>(a); }
LK_KERNEL(contrast_weights_tf32, lk_contrast_args, 256, 1) { lk::tile_weights<lk::Contrast, lk::OfHalves>(a); }
LK_KERNEL(contrast_weights_bf16, lk_contrast_args, 128, 2) { lk::tile_weights<lk::Contrast, lk::OfBfloats>(a); }
