//! Host half of kernels/skeletons/rows.cuh: losses on rows of logits with one label each.

use std::ffi::c_void;
use std::ptr;

use super::reduce::{self, ReduceArgs};
use super::{Device, Result, align_up};
use crate::registry::{Pass, Reduction};

/// Constants over all rows at the start of the workspace: the normaliser, then the sum of class weights.
const HEADER_BYTES: u64 = 256;

/// What a call wants, beside the kernel's own arguments.
#[derive(Clone, Copy, Debug)]
pub struct RowsPlan {
    pub rows: u64,
    pub classes: u64,
    pub dtype: i32,
    pub reduction: Reduction,
    pub pass: Pass,
    /// Device pointer; null = not wanted.
    pub loss: *mut f32,
    /// Outputs beside the loss, or what backward can use.
    pub wants_more: bool,
    pub wants_gradient: bool,
    /// Null = every row counts.
    pub labels: *const i64,
    pub ignore_index: i64,
    /// Weights of the mean by label, null = 1 each.
    pub class_weights: *const c_void,
    /// The kernel reads the sum of `class_weights` from the header.
    pub needs_weight_sum: bool,
    pub workspace: *mut c_void,
}

/// Bytes of workspace for a call of any pass. `row_constants`: the loss may set `needs_weight_sum`.
pub fn workspace_size(rows: u64, classes: u64, reduction: Reduction, row_constants: bool) -> u64 {
    let scratch =
        reduce::scratch_bytes(rows).max(if row_constants { reduce::scratch_bytes(classes) } else { 0 });
    let losses = if reduction == Reduction::None { 0 } else { rows.saturating_mul(4) };
    if losses == 0 && !row_constants {
        return 0;
    }
    HEADER_BYTES.saturating_add(losses.div_ceil(256).saturating_mul(256)).saturating_add(align_up(scratch))
}

/// Launches `kernel` with `args`, and before and after it the sums over rows that the reduction takes.
pub fn run(dev: &dyn Device, kernel: &str, args: &[u8], plan: &RowsPlan) -> Result<()> {
    let p = plan;
    let reduced = p.reduction != Reduction::None;
    let wants_loss = p.pass.forward() && !p.loss.is_null();
    let wants_gradient = p.pass.backward() && p.wants_gradient;
    let wants_more = p.pass.forward() && p.wants_more;
    if !wants_loss && !wants_gradient && !wants_more {
        return Ok(());
    }
    let at = |offset: u64| p.workspace.wrapping_byte_add(offset as usize);
    let losses_bytes = if reduced { align_up(p.rows * 4) } else { 0 };
    let (normaliser, weight_sum) = (at(0).cast::<f64>(), at(8).cast::<f64>());
    let (losses, scratch) = (at(HEADER_BYTES), at(HEADER_BYTES + losses_bytes).cast::<f64>());
    let labels = ReduceArgs {
        n: p.rows,
        labels: p.labels,
        class_weights: p.class_weights,
        classes: p.classes,
        ignore_index: p.ignore_index,
        weights_dtype: p.dtype,
        ..Default::default()
    };
    if p.rows > 0 {
        // Gradients are scaled as they are written, so they need the normaliser first.
        if p.reduction == Reduction::Mean && wants_gradient && !p.labels.is_null() {
            reduce::run(dev, &ReduceArgs { weight_out: normaliser, ..labels }, scratch)?;
        }
        if p.needs_weight_sum && !p.class_weights.is_null() {
            let sum = ReduceArgs {
                n: p.classes,
                values: p.class_weights,
                values_kind: p.dtype,
                sum_out: weight_sum,
                ..Default::default()
            };
            reduce::run(dev, &sum, scratch)?;
        }
        let (grid, block) = shape(p.rows, p.classes);
        dev.launch(kernel, grid, block, 0, args)?;
    }
    if reduced && wants_loss {
        let total = ReduceArgs { n: p.rows, values: losses.cast(), loss_out: p.loss, ..Default::default() };
        let total = match p.reduction {
            Reduction::Mean | Reduction::BatchMean if p.labels.is_null() => {
                ReduceArgs { divisor: p.rows.max(1) as f64, ..total }
            }
            Reduction::Mean if wants_gradient && p.rows > 0 => ReduceArgs { divisor_in: normaliser, ..total },
            Reduction::Mean => ReduceArgs { values: losses.cast(), loss_out: p.loss, ..labels },
            _ => ReduceArgs { divisor: 1.0, ..total },
        };
        reduce::run(
            dev,
            &ReduceArgs { values: if p.rows == 0 { ptr::null() } else { total.values }, ..total },
            scratch,
        )?;
    }
    Ok(())
}

/// Grid and block: part of a warp for narrow rows, a warp up to 1024 classes, a block beyond. Wide rows
/// get large blocks so that few rows are under way and the second sweep still finds them in L2.
pub fn shape(rows: u64, classes: u64) -> ([u32; 3], [u32; 3]) {
    let per_row = match classes {
        0..=1024 => classes.div_ceil(16).next_power_of_two().clamp(4, 32),
        1025..=4096 => 128,
        4097..=16384 => 256,
        16385..=32768 => 512,
        _ => 1024,
    };
    // Several rows share a block only where each has at most a warp; a block is whole warps.
    let rows_per_block =
        if per_row > 32 { 1 } else { (256 / per_row).min(rows.next_power_of_two().max(32 / per_row)) };
    let blocks = rows.div_ceil(rows_per_block).clamp(1, 0x7fff_ffff);
    ([blocks as u32, 1, 1], [per_row as u32, rows_per_block as u32, 1])
}

/// The [`RowsPlan`] of an `Args` with inputs `logits` and `labels`, options `ignore_index` and `reduction`.
macro_rules! rows_plan {
    ($args:expr) => {
        $crate::cuda::rows::RowsPlan {
            rows: $args.rows,
            classes: $args.classes,
            dtype: $args.dtype,
            reduction: $crate::registry::Reduction::from_code($args.opts.reduction),
            pass: $crate::registry::Pass::from_code($args.pass),
            loss: $args.loss,
            wants_more: !$args.saved.is_null(),
            wants_gradient: !$args.grad_logits.is_null(),
            labels: $args.labels,
            ignore_index: $args.opts.ignore_index,
            class_weights: std::ptr::null(),
            needs_weight_sum: false,
            workspace: $args.workspace,
        }
    };
}
pub(crate) use rows_plan;
