// Bytes: the row once from memory, its gradient once to memory; the second sweep finds the row in L2.
// Split: skeletons/row_sets.cuh. Bound: memory; one exponential per element and sweep.
#include "correctness_aware_calibration.cuh"

LK_KERNEL(correctness_aware_calibration, lk_correctness_aware_calibration_args) {
  lk::row_sets_kernel<lk::CorrectnessAwareCalibration>(a);
}
