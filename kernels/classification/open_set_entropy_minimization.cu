// Bytes: both rows once for the selection, the adapted one once more for its gradient, which goes to memory once.
// Split: skeletons/row_sets.cuh and rows.cuh. Bound: memory; one exponential per element and sweep.
#include "open_set_entropy_minimization.cuh"

LK_KERNEL(open_set_entropy_minimization_select, lk_open_set_entropy_minimization_args) {
  lk::row_sets_kernel<lk::OpenSetSelect>(a);
}
LK_KERNEL(open_set_entropy_minimization_gradient, lk_open_set_entropy_minimization_args) { lk::open_set_gradient(a); }
