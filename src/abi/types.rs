//! Numbers of the interface. Plain integers rather than C enums: their size is fixed, and an unknown value
//! is an error message, not undefined behaviour.

#![allow(non_camel_case_types)]

/// Outcome of a call. Anything but LK_STATUS_OK leaves the outputs as they were.
pub type lk_status = i32;

/// The call did what was asked.
pub const LK_STATUS_OK: lk_status = 0;
/// A pointer, size, stride or dtype is not as it must be.
pub const LK_STATUS_INVALID_ARGUMENT: lk_status = 1;
/// An option is out of its range, or the options struct is of an unknown version.
pub const LK_STATUS_INVALID_OPTION: lk_status = 2;
/// A label or other index is out of range.
pub const LK_STATUS_INVALID_LABEL: lk_status = 3;
/// The workspace is missing or smaller than lk_<name>_workspace_size says.
pub const LK_STATUS_WORKSPACE_TOO_SMALL: lk_status = 4;
/// The entry does not exist on this device, or the library was built without it.
pub const LK_STATUS_UNSUPPORTED: lk_status = 5;
/// The CUDA driver is missing or reported an error.
pub const LK_STATUS_CUDA: lk_status = 6;
/// A defect of the library.
pub const LK_STATUS_INTERNAL: lk_status = 7;

/// Storage type of float buffers.
pub type lk_dtype = i32;

/// Single precision.
pub const LK_DTYPE_F32: lk_dtype = 0;
/// IEEE half precision.
pub const LK_DTYPE_F16: lk_dtype = 1;
/// bfloat16: the upper half of an f32.
pub const LK_DTYPE_BF16: lk_dtype = 2;

/// Value of `reduction` options.
pub type lk_reduction = i32;

/// One value per row or element.
pub const LK_REDUCTION_NONE: lk_reduction = 0;
/// Their mean over what is counted.
pub const LK_REDUCTION_MEAN: lk_reduction = 1;
/// Their sum.
pub const LK_REDUCTION_SUM: lk_reduction = 2;
/// Their sum over the number of rows; for entries that say so.
pub const LK_REDUCTION_BATCHMEAN: lk_reduction = 3;
