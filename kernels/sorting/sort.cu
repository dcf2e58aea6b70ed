// Bytes: 16 per pair and launch. Launches for n pairs, with k = log2(n / 4096): 1 + k in tiles and, for each of 1 to k
// strides, one for every four of them: 21 for a million. Bound: L2 or memory, shared memory in tiles, by the launches
// for few.
#include "../skeletons/sort.cuh"

LK_KERNEL(sort_tiles, lk_sort_args) { lk::sort_tile(a); }
LK_KERNEL(sort_steps, lk_sort_args, 256) { lk::sort_step(a); }
