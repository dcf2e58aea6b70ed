//! Launches of kernels/basics/ctc_loss.cu.

use crate::cuda::reduce::{self, ReduceArgs};
use crate::cuda::rows::shape;
use crate::cuda::{Device, Result, bytes_of};
use crate::registry::entries::ctc_loss::Args;
use crate::registry::{Pass, Reduction};

/// Parts of the workspace (kernels/basics/ctc_loss.cuh): losses first, then what the kernels share, then the
/// reduction's scratch. Offset of the latter, and bytes of all.
pub fn layout(a: &Args) -> (u64, u64) {
    let n = a.max_label.saturating_add(1);
    let row = n.saturating_mul(6);
    let segment = match a.time.saturating_mul(row).saturating_mul(8) {
        0..=0x80000 => a.time,
        _ => a.time.isqrt() + 1,
    };
    let rows = segment.saturating_add(a.time.div_ceil(segment)).saturating_add(2);
    let kept = rows.saturating_mul(row);
    let samples = a.time.saturating_mul(a.batch);
    let parts = [
        a.batch.saturating_mul(4),
        samples.saturating_mul(8),
        a.batch.saturating_mul(4),
        a.batch.saturating_mul(n).saturating_mul(4),
        a.batch.saturating_mul(n).saturating_mul(4),
        samples.saturating_mul(n).saturating_mul(4),
        a.batch.saturating_mul(kept).saturating_mul(8),
    ];
    let scratch =
        parts.iter().fold(0u64, |at, part| at.saturating_add(part.div_ceil(256).saturating_mul(256)));
    (scratch, scratch.saturating_add(reduce::scratch_bytes(a.batch)))
}

pub fn run(device: &dyn Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let wants_loss = pass.forward() && !a.loss.is_null();
    let wants_gradient = pass.backward() && !a.grad_logits.is_null();
    let wants_saved = pass.forward() && !a.saved.is_null();
    // SAFETY: a struct of integers, floats and pointers.
    let args = unsafe { bytes_of(a) };
    if a.batch > 0 {
        let (grid, block) = shape(a.time * a.batch, a.classes);
        let restored = !pass.forward() && !a.saved.is_null();
        if !restored && (wants_loss || wants_gradient || wants_saved) {
            device.launch("ctc_loss_rows", grid, block, 0, args)?;
        }
        if wants_loss || wants_gradient {
            // A step needs one for each label; what is done for many frames at once, some warps.
            let threads = (a.max_label + 1).next_multiple_of(32).clamp(128, 1024) as u32;
            device.launch("ctc_loss", [a.batch as u32, 1, 1], [threads, 1, 1], 0, args)?;
        }
        if wants_gradient {
            device.launch("ctc_loss_gradient", grid, block, 0, args)?;
        }
    }
    let reduction = Reduction::from_code(a.opts.reduction);
    if wants_loss && reduction != Reduction::None {
        let scratch = a.workspace.wrapping_byte_add(layout(a).0 as usize).cast();
        let total = ReduceArgs {
            n: a.batch,
            values: if a.batch == 0 { std::ptr::null() } else { a.workspace },
            loss_out: a.loss,
            divisor: if reduction == Reduction::Mean { a.batch.max(1) as f64 } else { 1.0 },
            ..Default::default()
        };
        reduce::run(device, &total, scratch)?;
    }
    Ok(())
}
