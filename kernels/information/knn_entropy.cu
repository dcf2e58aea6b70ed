// Bytes: 4 a point, one logarithm each; one block. Neighbours: neighbors/neighbors.cu.
#include "knn_entropy.cuh"

LK_KERNEL(knn_entropy_value, lk_knn_entropy_value_args) { lk::knn_entropy_value(a); }
