// Operations: batch count n multiply-adds. Bytes: states and points once per 128 of the other from the caches, overlaps once
// for each part. Split: tiles of 128 x 128, and parts of the depth. Bound: tensor cores, three products of TF32 for f32.
#include "../skeletons/overlaps.cuh"

LK_KERNEL(overlaps_f32, lk_overlaps, 256, 1) { lk::overlap_tile<LK_DTYPE_F32>(a); }
LK_KERNEL(overlaps_f16, lk_overlaps, 128, 2) { lk::overlap_tile<LK_DTYPE_F16>(a); }
LK_KERNEL(overlaps_bf16, lk_overlaps, 128, 2) { lk::overlap_tile<LK_DTYPE_BF16>(a); }
