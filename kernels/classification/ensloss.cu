// Bytes: scores and target twice, draws once, the gradient once, and those of two sorts (sorting/sort.cu), which
// outweigh the rest. Split: grids over the samples. Bound: the sorts.
#include "ensloss.cuh"

LK_KERNEL(ensloss_keys, lk_ensloss_args) { lk::ensloss_keys(a); }
LK_KERNEL(ensloss_match, lk_ensloss_args) { lk::ensloss_match(a); }
LK_KERNEL(ensloss, lk_ensloss_args) { lk::ensloss(a); }
