//! Host half of kernels/robust_and_distillation/kernel_alignment.cuh.

use super::by_samples;
use crate::cuda::{Device, align_up, bytes_of};
use crate::registry::entries::kernel_alignment::Args;
use crate::registry::{Pass, Result};

const SIDE: u64 = 64;
/// Samples whose weights for all others are in the workspace at a time.
const STRIP: u64 = 1024;
/// Blocks that norms are summed in.
const BLOCKS: u64 = 256;
/// Norms, value and factors, in f64.
const HEADER: u64 = 256;

/// Mirrors kernels/robust_and_distillation/kernel_alignment.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct AlignmentArgs {
    call: Args,
    header: *mut f64,
    column_parts: *mut f64,
    high: *mut f32,
    low: *mut f32,
    norm_parts: *mut f64,
    products: *mut f64,
    weights: *mut f32,
    column_splits: u64,
    sample_splits: u64,
    parts: u64,
    first: u64,
    count: u64,
    by_samples: i32,
    padding: i32,
}

struct Plan {
    tiles: u64,
    column_splits: u64,
    sample_splits: u64,
    by_samples: bool,
    /// Where the arrays end, in the order of the arguments.
    ends: [u64; 7],
}

impl Plan {
    fn new(a: &Args) -> Plan {
        let columns = a.d.saturating_add(a.k);
        let by_samples = by_samples(a.n, a.d, a.k);
        let column_splits = (512 / columns.div_ceil(32).min(512)).clamp(1, a.n.div_ceil(256).max(1));
        let across = if by_samples { a.n.div_ceil(SIDE) } else { a.d.div_ceil(SIDE) + a.k.div_ceil(SIDE) };
        let tiles = across.saturating_mul(across.saturating_add(1)) / 2;
        let sample_splits = (512 / tiles.clamp(1, 512)).clamp(1, a.n.div_ceil(1024).max(1));
        let parts = if by_samples { tiles } else { BLOCKS };
        let (products, weights) = if by_samples {
            (0, 2u64.saturating_mul(a.n.min(STRIP)).saturating_mul(a.n).saturating_mul(4))
        } else {
            (tiles.saturating_mul(sample_splits).saturating_mul(SIDE * SIDE * 8), 0)
        };
        let sizes = [
            HEADER,
            columns.saturating_mul(column_splits).saturating_mul(16),
            columns.saturating_mul(4),
            columns.saturating_mul(4),
            parts.saturating_mul(24),
            products,
            weights,
        ];
        let mut ends = [0u64; 7];
        let mut end = 0u64;
        for (to, size) in ends.iter_mut().zip(sizes) {
            end = end.saturating_add(align_up(size.min(u64::MAX - 256)));
            *to = end;
        }
        Plan { tiles, column_splits, sample_splits, by_samples, ends }
    }
}

pub fn cuda_workspace(a: &Args) -> u64 {
    Plan::new(a).ends[6]
}

pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let gradients = [(a.grad_a, a.d), (a.grad_b, a.k)];
    let wants_gradient = pass.backward() && a.n > 0 && gradients.iter().any(|(to, _)| !to.is_null());
    let wants_value = pass.forward() && !a.value.is_null();
    if !wants_gradient && !wants_value {
        return Ok(());
    }
    let plan = Plan::new(a);
    let at = |i: usize| a.workspace.wrapping_byte_add(if i == 0 { 0 } else { plan.ends[i - 1] as usize });
    let mut args = AlignmentArgs {
        call: *a,
        header: at(0).cast(),
        column_parts: at(1).cast(),
        high: at(2).cast(),
        low: at(3).cast(),
        norm_parts: at(4).cast(),
        products: at(5).cast(),
        weights: at(6).cast(),
        column_splits: plan.column_splits,
        sample_splits: plan.sample_splits,
        parts: 0,
        first: 0,
        count: 0,
        by_samples: plan.by_samples.into(),
        padding: 0,
    };
    let launch = |args: &AlignmentArgs, kernel: &str, grid: [u64; 2], block: [u32; 3]| {
        // SAFETY: a struct of integers, floats and pointers.
        let bytes = unsafe { bytes_of(args) };
        device.launch(kernel, [grid[0] as u32, grid[1] as u32, 1], block, 0, bytes)
    };
    const ALL: [u32; 3] = [256, 1, 1];
    if a.n > 0 {
        let columns = a.d + a.k;
        launch(&args, "alignment_columns", [columns.div_ceil(32), plan.column_splits], [32, 8, 1])?;
        launch(&args, "alignment_shift", [1, 1], [1024, 1, 1])?;
        let tiles = plan.tiles.min(1 << 20);
        if plan.by_samples {
            args.parts = plan.tiles;
            launch(&args, "alignment_kernels", [tiles, 1], ALL)?;
        } else {
            args.parts = plan.tiles.min(BLOCKS);
            launch(&args, "alignment_products", [tiles, plan.sample_splits], ALL)?;
            launch(&args, "alignment_norms", [args.parts, 1], ALL)?;
        }
    }
    launch(&args, "kernel_alignment", [1, 1], ALL)?;
    if !wants_gradient {
        return Ok(());
    }
    let across = a.d.div_ceil(SIDE) + a.k.div_ceil(SIDE);
    let step = if plan.by_samples { STRIP } else { a.n };
    for first in (0..a.n).step_by(step as usize) {
        args = AlignmentArgs { first, count: step.min(a.n - first), ..args };
        let down = args.count.div_ceil(SIDE);
        if plan.by_samples {
            launch(&args, "alignment_weights", [down, a.n.div_ceil(SIDE).min(1 << 15)], ALL)?;
        }
        launch(&args, "alignment_gradient", [down, across.min(1 << 15)], ALL)?;
    }
    Ok(())
}
