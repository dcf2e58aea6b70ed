// Floor of neighbors: 2 operations a pair and dimension and some 4 to compare, so bound by arithmetic; of memory
// the points once a block of 64 rows, which mostly finds them in L2, and k values a row. Split: blocks of 64 rows.
#include "../skeletons/neighbors.cuh"

LK_KERNEL(neighbors_limits, lk_neighbors_limits_args) { lk::neighbors_find_limits(a); }

LK_KERNEL(neighbors, lk_neighbors_args, 256) { lk::neighbors_kernel(a); }
