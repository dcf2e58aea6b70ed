// Bytes: 5 per sample, with equal mass those of a sort (sorting/sort.cu) besides. Split: a grid over the samples with
// counts in shared memory, or a block for each range of sorted samples. Bound: the counts' atomics.
#include "expected_calibration_error.cuh"

LK_KERNEL(expected_calibration_error_clear, lk_expected_calibration_error_args) { lk::calibration_clear(a); }
LK_KERNEL(expected_calibration_error_count, lk_expected_calibration_error_args) { lk::calibration_count(a); }
LK_KERNEL(expected_calibration_error_keys, lk_expected_calibration_error_args) { lk::calibration_keys(a); }
LK_KERNEL(expected_calibration_error_ranges, lk_expected_calibration_error_args) { lk::calibration_ranges(a); }
LK_KERNEL(expected_calibration_error, lk_expected_calibration_error_args) { lk::calibration_value(a); }
