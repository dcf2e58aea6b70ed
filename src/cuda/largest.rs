//! Host half of kernels/sorting/largest.cuh.

use std::ffi::c_void;

use super::{Device, Result, align_up, bytes_of, rows};

/// Up to this many are found by a sweep each.
const FEW: u64 = 16;
/// Threads that gather and sort more.
const THREADS: u32 = 512;

/// Rows of numbers on the device.
#[derive(Clone, Copy)]
pub struct Rows {
    values: *const c_void,
    dtype: i32,
    rows: u64,
    columns: u64,
}

impl Rows {
    pub fn new(values: *const c_void, dtype: i32, rows: u64, columns: u64) -> Rows {
        Rows { values, dtype, rows, columns }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct LargestArgs {
    values: *const c_void,
    found: *mut c_void,
    rows: u64,
    columns: u64,
    k: u64,
    dtype: i32,
}

/// Bytes of what [`run`] leaves: for each row, the indices of its k largest as u32.
pub fn workspace_size(rows: u64, k: u64) -> u64 {
    align_up(rows.saturating_mul(k).saturating_mul(4).min(u64::MAX / 2))
}

/// Writes the indices to `found`.
pub fn run(dev: &dyn Device, from: &Rows, k: u64, found: *mut c_void) -> Result<()> {
    let &Rows { values, dtype, rows, columns } = from;
    if rows == 0 {
        return Ok(());
    }
    let args = LargestArgs { values, found, rows, columns, k, dtype };
    // SAFETY: a struct of integers and pointers.
    let bytes = unsafe { bytes_of(&args) };
    if k <= FEW {
        let (grid, block) = rows::shape(rows, columns);
        return dev.launch("largest_few", grid, block, 0, bytes);
    }
    let grid = [rows.min(0x7fff_ffff) as u32, 1, 1];
    dev.launch("largest_many", grid, [THREADS, 1, 1], 0, bytes)
}
