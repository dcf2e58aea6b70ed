// Bytes: each element of the output read from one of two rows and written once, whole sectors of both where the mask
// alternates. Split: grid-stride, 8 elements a thread, whatever their rows. Bound: memory.
#include "coordinate_shuffle.cuh"

LK_KERNEL(coordinate_shuffle, lk_coordinate_shuffle_args) { lk::coordinate_shuffle(a); }
