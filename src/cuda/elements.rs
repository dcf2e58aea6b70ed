//! Host half of kernels/skeletons/elements.cuh: one loss per element of inputs of the same shape.

use std::ffi::c_void;

use super::reduce::{self, PAIRS, ReduceArgs};
use super::{Device, Result, align_up};
use crate::registry::{Pass, Reduction};

const THREADS: u64 = 256;
/// Up to this many elements one block does everything, and the kernel writes the loss itself.
const ONE_BLOCK: u64 = 16384;
const PER_THREAD: u64 = 8;
/// Enough to fill the largest GPUs; fixed, so that the sums do not depend on the GPU.
const MAX_BLOCKS: u64 = 2048;

/// What a call wants, beside the kernel's own arguments.
#[derive(Clone, Copy, Debug)]
pub struct ElementsPlan {
    pub n: u64,
    /// What reduction batchmean divides by.
    pub rows: u64,
    pub reduction: Reduction,
    pub pass: Pass,
    /// Device pointer; null = not wanted.
    pub loss: *mut f32,
    /// Outputs beside the loss, or what backward can use.
    pub wants_more: bool,
    /// Any of the gradients.
    pub wants_gradient: bool,
    pub workspace: *mut c_void,
}

fn blocks(n: u64) -> u64 {
    if n <= ONE_BLOCK { 1 } else { n.div_ceil(THREADS * PER_THREAD).min(MAX_BLOCKS) }
}

/// Bytes of workspace for a call of any pass.
pub fn workspace_size(n: u64, reduction: Reduction) -> u64 {
    if reduction == Reduction::None || blocks(n) == 1 { 0 } else { align_up(16 * blocks(n)) }
}

/// Launches `kernel` with `args`, then the sum of its blocks' partial losses where there are several.
pub fn run(dev: &dyn Device, kernel: &str, args: &[u8], plan: &ElementsPlan) -> Result<()> {
    let p = plan;
    let wants_loss = p.pass.forward() && !p.loss.is_null();
    let wants_gradient = p.pass.backward() && p.wants_gradient;
    let wants_more = p.pass.forward() && p.wants_more;
    if !wants_loss && !wants_gradient && !wants_more {
        return Ok(());
    }
    let reduced = wants_loss && p.reduction != Reduction::None;
    if p.n == 0 {
        let zero = ReduceArgs { loss_out: p.loss, divisor: 1.0, ..Default::default() };
        return if reduced { reduce::run(dev, &zero, std::ptr::null_mut()) } else { Ok(()) };
    }
    let blocks = blocks(p.n);
    let threads = if blocks == 1 { p.n.div_ceil(PER_THREAD).next_multiple_of(32).min(1024) } else { THREADS };
    dev.launch(kernel, [blocks as u32, 1, 1], [threads as u32, 1, 1], 0, args)?;
    if reduced && blocks > 1 {
        let total = ReduceArgs {
            n: blocks,
            values: p.workspace,
            values_kind: PAIRS,
            loss_out: p.loss,
            divisor: match p.reduction {
                Reduction::Mean => p.n as f64,
                Reduction::BatchMean => p.rows.max(1) as f64,
                _ => 1.0,
            },
            ..Default::default()
        };
        reduce::run(dev, &total, std::ptr::null_mut())?;
    }
    Ok(())
}
