// Bytes: few, the row once from memory and k - 1 times from cache; many, the row two to nine times for each 1024 of k.
// Split: a group of threads per row, or a block that counts, gathers and sorts in shared memory. Bound: memory for
// the smallest k, else L2 and the sort.
#include "largest.cuh"

LK_KERNEL(largest_few, lk_largest_args) { lk::largest_few(a); }
LK_KERNEL(largest_many, lk_largest_args, 512) { lk::largest_many(a); }
