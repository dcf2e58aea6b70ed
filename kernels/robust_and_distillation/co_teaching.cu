// Bytes: those of the selection (selection/select.cu) for both networks, then each loss read twice, a byte and a
// gradient written once. Split: grid-stride, 8 samples a thread, one network a row of blocks. Bound: memory, or
// launches for a batch of the usual size.
#include "co_teaching.cuh"

LK_KERNEL(co_teaching, lk_co_teaching_args) { lk::co_teaching(a); }
LK_KERNEL(co_teaching_sums, lk_co_teaching_args) { lk::co_teaching_sums(a); }
