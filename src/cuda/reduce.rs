//! Deterministic sums in f64 (kernels/reductions): the loss of `mean` and `sum`, and the normaliser.

use std::ffi::c_void;
use std::ptr;

use super::{Device, Result, bytes_of};

/// Up to this many entries one block sums them all: a second launch would cost more.
const ONE_BLOCK: u64 = 16384;
const PER_BLOCK: u64 = 8192;
const MAX_BLOCKS: u64 = 512;

/// `values_kind` of partial sums that another kernel left as pairs (value, weight) of f64.
pub const PAIRS: i32 = 3;
pub const F32: i32 = 0;
pub const F16: i32 = 1;
pub const BF16: i32 = 2;

/// Mirrors kernels/reductions/reduce.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ReduceArgs {
    pub n: u64,
    pub values: *const c_void,
    pub labels: *const i64,
    pub class_weights: *const c_void,
    pub classes: u64,
    pub ignore_index: i64,
    pub partials: *mut f64,
    pub sum_out: *mut f64,
    pub weight_out: *mut f64,
    pub loss_out: *mut f32,
    pub divisor_in: *const f64,
    pub divisor: f64,
    pub values_kind: i32,
    pub weights_dtype: i32,
}

impl Default for ReduceArgs {
    fn default() -> Self {
        ReduceArgs {
            n: 0,
            values: ptr::null(),
            labels: ptr::null(),
            class_weights: ptr::null(),
            classes: 0,
            ignore_index: 0,
            partials: ptr::null_mut(),
            sum_out: ptr::null_mut(),
            weight_out: ptr::null_mut(),
            loss_out: ptr::null_mut(),
            divisor_in: ptr::null(),
            divisor: 0.0,
            values_kind: F32,
            weights_dtype: F32,
        }
    }
}

fn blocks(n: u64) -> u64 {
    if n <= ONE_BLOCK { 1 } else { n.div_ceil(PER_BLOCK).min(MAX_BLOCKS) }
}

/// Bytes of scratch that `run` needs for its partial sums.
pub fn scratch_bytes(n: u64) -> u64 {
    if blocks(n) == 1 { 0 } else { 16 * blocks(n) }
}

/// Sums `args` in one launch, or in two by way of `scratch` (`scratch_bytes` long). With n = 0 the
/// outputs still get their zeros.
pub fn run(dev: &dyn Device, args: &ReduceArgs, scratch: *mut f64) -> Result<()> {
    let launch = |args: &ReduceArgs, blocks: u64, threads: u64| {
        // SAFETY: a struct of integers, floats and pointers.
        let bytes = unsafe { bytes_of(args) };
        dev.launch("reduce", [blocks as u32, 1, 1], [threads as u32, 1, 1], 0, bytes)
    };
    let blocks = blocks(args.n);
    if blocks == 1 {
        return launch(args, 1, args.n.next_multiple_of(32).clamp(32, 1024));
    }
    launch(&ReduceArgs { partials: scratch, ..*args }, blocks, 256)?;
    let rest =
        ReduceArgs { n: blocks, values: scratch.cast(), values_kind: PAIRS, labels: ptr::null(), ..*args };
    launch(&rest, 1, blocks.next_multiple_of(32))
}
