//! l_i = logsumexp_{j != i} S_ij - S_i,partner over z = [a; b], S = z^ z^' / temperature;
//! dS_ij = s_i (P_ij - [j = partner]), and dz^ = (dS + dS') z^.

use crate::cpu::Cpu;
use crate::cpu::reduction::{self, Upstream};
use crate::cpu::tiles::{Contrast, Directions, Embeddings, Similarities, Smoothing, contrast_size};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{Device, contrast, contrast::ContrastPlan};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::nt_xent::{Args, Call};
use crate::registry::{Reduction, Result};

pub fn cpu_workspace(a: &Args) -> u64 {
    let rows = a.n.saturating_mul(2);
    let size = Embeddings::size(Size::default(), rows, a.d);
    let size = contrast_size(size, Directions::Mirror, rows, rows, a.d);
    size.add::<f32>(rows.saturating_mul(a.d)).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Call { n, d, .. } = *call;
    let rows = 2 * n;
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let z = Embeddings::new(cpu, &[call.a, call.b], call.opts.normalize != 0, &mut work);
    let alpha = 1.0 / call.opts.temperature;
    let partner = |row: usize| if row < n { row + n } else { row - n };
    let similarities = Similarities::symmetric(z.matrix(), alpha as f32);
    let contrast = Contrast::new(similarities, Directions::Mirror, rows, partner);
    let wants_gradients = call.pass.backward() && (call.grad_a.is_some() || call.grad_b.is_some());
    let mut kept = contrast.keep(call.saved_in, wants_gradients, &mut work);

    let reduction = Reduction::from_code(call.opts.reduction);
    let factor = if reduction == Reduction::Mean { 1.0 / rows.max(1) as f64 } else { 1.0 };
    if !kept.is_restored() {
        let (losses, total) = reduction::losses(call.loss.as_deref_mut(), reduction);
        let sum = contrast.forward(cpu, &mut kept, &mut work, &|i, anchor| {
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
    let gradients = work.take(rows * d, 0.0f32);
    let upstream = Upstream::new(call.grad_loss, reduction, factor);
    let scale = |i: usize| upstream.of(i) as f32;
    contrast.gradients(cpu, &kept, &mut work, &scale, Smoothing::default(), (Some(gradients), None));
    z.write_gradients(cpu, gradients, alpha, &[(n, call.grad_a), (n, call.grad_b)]);
    Ok(())
}

#[cfg(gpu)]
fn plan(a: &Args) -> ContrastPlan {
    ContrastPlan {
        directions: contrast::Directions::Mirror,
        n: a.n,
        m: a.n,
        d: a.d,
        dtype: a.dtype,
        a: a.a,
        b: a.b,
        normalize: a.opts.normalize != 0,
        alpha: 1.0 / a.opts.temperature,
        scale: std::ptr::null(),
        positives: std::ptr::null(),
        offset: 0,
        smoothing: 0.0,
        reduction: Reduction::from_code(a.opts.reduction),
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        lse: std::ptr::null_mut(),
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
