// Bytes per voxel: rows 1 read, 8 written, 8 read and written again; each envelope 8 read at least twice, 8 written,
// 16 of its own; the last one writes 4. Bound: memory along y and z, where neighbouring threads have neighbouring
// lines; one division per parabola that enters an envelope.
#include "distance_transform.cuh"

LK_KERNEL(distance_transform_rows, lk_distance_transform_args) { lk::distance_rows(a); }
LK_KERNEL(distance_transform_columns, lk_distance_transform_args) { lk::distance_columns(a); }
LK_KERNEL(distance_transform_depth, lk_distance_transform_args) { lk::distance_depth(a); }
