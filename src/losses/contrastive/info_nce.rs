//! l_i = logsumexp_j S_ij - S_i,y_i, S = a^ b^' / temperature; W_ij = s_i (P_ij - [j = y_i]).

use crate::cpu::Cpu;
use crate::cpu::parallel::Cells;
use crate::cpu::reduction::{self, Upstream};
use crate::cpu::tiles::{Contrast, Directions, Embeddings, Similarities, Smoothing, contrast_size};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{Device, contrast, contrast::ContrastPlan};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::info_nce::{Args, Call};
use crate::registry::{Error, Reduction, Result};

/// Rows must fit: what declarations cannot say. The query of sizes has no pointers to look at.
pub fn check(a: &Args) -> Result<()> {
    let offset = a.opts.row_offset as u64;
    if a.positives.is_null() && !a.a.is_null() && offset.checked_add(a.n).is_none_or(|end| end > a.m) {
        return Err(Error::argument(format!(
            "info_nce: option 'row_offset' is {offset} with {} rows of 'a', expected at most m ({}) with them, or \
             'positives'",
            a.n, a.m
        )));
    }
    Ok(())
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let size = Embeddings::size(Embeddings::size(Size::default(), a.n, a.d), a.m, a.d);
    let size = contrast_size(size, Directions::Rows, a.n, a.m, a.d);
    size.add::<f32>(a.n.saturating_mul(a.d)).add::<f32>(a.m.saturating_mul(a.d)).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Call { n, m, d, .. } = *call;
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let normalize = call.opts.normalize != 0;
    let a = Embeddings::new(cpu, &[call.a], normalize, &mut work);
    let b = Embeddings::new(cpu, &[call.b], normalize, &mut work);
    let alpha = 1.0 / call.opts.temperature;
    let (positives, offset) = (call.positives, call.opts.row_offset as usize);
    let positive = |row: usize| positives.map_or(row + offset, |p| p[row] as usize);
    let similarities = Similarities::new(a.matrix(), b.matrix(), alpha as f32);
    let contrast = Contrast::new(similarities, Directions::Rows, n, positive);
    let wants_gradients = call.pass.backward() && (call.grad_a.is_some() || call.grad_b.is_some());
    let mut kept = contrast.keep(call.saved_in, wants_gradients, &mut work);

    let reduction = Reduction::from_code(call.opts.reduction);
    let factor = if reduction == Reduction::Mean { 1.0 / n.max(1) as f64 } else { 1.0 };
    if !kept.is_restored() {
        let lse = call.lse.as_deref_mut().map(Cells::new);
        let (losses, total) = reduction::losses(call.loss.as_deref_mut(), reduction);
        let sum = contrast.forward(cpu, &mut kept, &mut work, &|i, anchor| {
            if let Some(lse) = lse {
                lse.set(i, anchor.log_sum() as f32);
            }
            if let Some(losses) = losses {
                losses.set(i, anchor.loss() as f32);
            }
            anchor.loss()
        });
        if let Some(total) = total {
            total[0] = (sum * factor) as f32;
        }
    }
    if let Some(saved) = call.saved_out.as_deref_mut() {
        kept.save(saved);
    }
    if !wants_gradients {
        return Ok(());
    }
    let mut grad_a = call.grad_a.map(|_| work.take(n * d, 0.0f32));
    let mut grad_b = call.grad_b.map(|_| work.take(m * d, 0.0f32));
    let upstream = Upstream::new(call.grad_loss, reduction, factor);
    let scale = |i: usize| upstream.of(i) as f32;
    let targets = (grad_a.as_deref_mut(), grad_b.as_deref_mut());
    contrast.gradients(cpu, &kept, &mut work, &scale, Smoothing::default(), targets);
    if let Some(g) = grad_a {
        a.write_gradients(cpu, g, alpha, &[(n, call.grad_a)]);
    }
    if let Some(g) = grad_b {
        b.write_gradients(cpu, g, alpha, &[(m, call.grad_b)]);
    }
    Ok(())
}

#[cfg(gpu)]
fn plan(a: &Args) -> ContrastPlan {
    ContrastPlan {
        directions: contrast::Directions::Rows,
        n: a.n,
        m: a.m,
        d: a.d,
        dtype: a.dtype,
        a: a.a,
        b: a.b,
        normalize: a.opts.normalize != 0,
        alpha: 1.0 / a.opts.temperature,
        scale: std::ptr::null(),
        positives: a.positives,
        offset: a.opts.row_offset as u64,
        smoothing: 0.0,
        reduction: Reduction::from_code(a.opts.reduction),
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        lse: a.lse,
        saved: a.saved,
        grad_loss: a.grad_loss,
        grad_a: a.grad_a,
        grad_b: a.grad_b,
        grad_scale: std::ptr::null_mut(),
        workspace: a.workspace,
        flags: a.device_flags,
    }
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    Ok(contrast::run(device, &plan(a))?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    contrast::workspace_size(&plan(a))
}
