// Bytes: each element once per digit of its keys (three for f32, two for halves), and again if ties must be told
// apart. Split: a grid over the elements with counts in shared memory, then one block over the counts. Bound: memory;
// shared atomics where all elements have one digit; launches for few elements.
#include "../skeletons/select.cuh"

LK_KERNEL(select_start, lk_select_args) { lk::select_start(a); }
LK_KERNEL(select_count, lk_select_args) { lk::select_count(a); }
LK_KERNEL(select_step, lk_select_args) { lk::select_step(a); }
LK_KERNEL(select_ties, lk_select_args) { lk::select_ties(a); }
LK_KERNEL(select_end, lk_select_args) { lk::select_end(a); }
