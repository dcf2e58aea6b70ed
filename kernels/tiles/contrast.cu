// Operations: 2 n m d for the statistics of rows, again for those of columns; 4 n m d for each gradient. Bound: f32
// multiply-adds. Memory: the rows once per 64 rows of the other side, from L2.
#include "contrast.cuh"

LK_KERNEL(contrast_statistics, lk_contrast_args) { lk::tile_statistics<lk::Contrast>(a); }

LK_KERNEL(contrast_between, lk_contrast_args) {
  const lk::u64 anchors = a.directions == lk::kBoth ? a.rows + a.columns : a.rows;
  const lk::Contrast contrast(a);
  for (lk::u64 i = lk::u64(blockIdx.x) * blockDim.x + threadIdx.x; i < anchors; i += lk::u64(gridDim.x) * blockDim.x) {
    contrast.between(i);
  }
}

LK_KERNEL(contrast_gradients, lk_contrast_args) { lk::tile_gradients<lk::Contrast>(a); }
