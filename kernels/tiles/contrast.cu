// Operations: 2 n m d for the statistics of rows, again for those of columns; 2 n m d for dloss/dS, and as many for each
// gradient (gather.cu). Bound: multiply-adds; f16 and bf16 on tensor cores. Memory: the rows once per 64 or 128 of the
// other side, from L2.
#include "contrast.cuh"

LK_KERNEL(contrast_statistics, lk_contrast_args, lk::kTileThreads, 2) { lk::tile_statistics<lk::Contrast>(a); }

LK_KERNEL(contrast_finish, lk_contrast_args, lk::kTileThreads) { lk::tile_finish<lk::Contrast>(a); }

LK_KERNEL(contrast_between, lk_contrast_args) {
  const lk::u64 anchors = a.directions == lk::kBoth ? a.rows + a.columns : a.rows;
  const lk::Contrast contrast(a);
  for (lk::u64 i = lk::u64(blockIdx.x) * blockDim.x + threadIdx.x; i < anchors; i += lk::u64(gridDim.x) * blockDim.x) {
    contrast.between(i);
  }
}

LK_KERNEL(contrast_weights, lk_contrast_args, lk::kTileThreads, 2) { lk::tile_weights<lk::Contrast>(a); }
