//! Host half of kernels/skeletons/select.cuh.

use std::ffi::c_void;

use super::{Device, Result, align_up, bytes_of};
use crate::registry::DType;

const MAX_BLOCKS: u64 = 1024;
const THREADS: u32 = 256;
/// Elements that are worth a block.
const LEAST: u64 = 2048;
/// Bytes of a `SelectState`.
const STATE: u64 = (2048 + MAX_BLOCKS) * 8 + 48;

#[repr(C)]
#[derive(Clone, Copy)]
struct SelectArgs {
    values: [*const c_void; 2],
    states: *mut c_void,
    n: u64,
    k: u64,
    each: u64,
    dtype: i32,
    magnitude: i32,
}

/// Takes `k` of `n` floats of each of one or two buffers.
#[derive(Clone, Copy)]
pub struct Selection {
    pub values: [*const c_void; 2],
    pub n: u64,
    pub k: u64,
    pub dtype: i32,
    /// The largest magnitudes, NaN first; else the smallest values, NaN last.
    pub magnitude: bool,
    /// The key of the last one is wanted.
    pub needs_key: bool,
}

/// Bytes of the states, which kernels read afterwards.
pub fn workspace_size(buffers: u64) -> u64 {
    align_up(buffers * STATE)
}

/// Leaves a state per buffer in `states`.
pub fn run(dev: &dyn Device, selection: &Selection, states: *mut c_void) -> Result<()> {
    let Selection { values, n, k, dtype, magnitude, needs_key } = *selection;
    let each = n.div_ceil(MAX_BLOCKS).max(LEAST).div_ceil(LEAST) * LEAST;
    let args = SelectArgs { values, states, n, k, each, dtype, magnitude: i32::from(magnitude) };
    let buffers = if values[1].is_null() { 1 } else { 2 };
    let launch = |kernel: &str, blocks: u32, threads: u32| {
        // SAFETY: a struct of integers and pointers.
        dev.launch(kernel, [blocks, buffers, 1], [threads, 1, 1], 0, unsafe { bytes_of(&args) })
    };
    let blocks = n.div_ceil(each) as u32;
    launch("select_start", 1, THREADS)?;
    if k == 0 || (k == n && !needs_key) {
        return Ok(());
    }
    for _ in 0..if DType::from_code(dtype) == Some(DType::F32) { 3 } else { 2 } {
        launch("select_count", blocks, THREADS)?;
        launch("select_step", 1, MAX_BLOCKS as u32)?;
    }
    if k == n {
        return Ok(());
    }
    launch("select_ties", blocks, THREADS)?;
    launch("select_end", 1, MAX_BLOCKS as u32)
}
