// Bytes: 16 per pair and launch. Launches for n pairs, with k = log2(n / 1024): 1 + k in tiles and k (k + 1) / 2 single
// steps, 66 for a million. Bound: L2 or memory, by the launches for few.
#include "../skeletons/sort.cuh"

LK_KERNEL(sort_tiles, lk_sort_args) { lk::sort_tile(a); }
LK_KERNEL(sort_steps, lk_sort_args) { lk::sort_step(a); }
