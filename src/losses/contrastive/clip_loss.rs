//! 1/2 [mean_i (lse_i - (1 - e) S_ii - e mean_j S_ij) + the same over columns], S = scale a^ b^';
//! W_ij = g/(2n) (P^row_ij + P^col_ij - 2 (1 - e) [i = j] - 2 e/n), dscale = sum_ij W_ij a^_i . b^_j.

use crate::cpu::Cpu;
use crate::cpu::tiles::{Contrast, Directions, Embeddings, Similarities, Smoothing, contrast_size};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{Device, contrast, contrast::ContrastPlan};
#[cfg(gpu)]
use crate::registry::Pass;
#[cfg(gpu)]
use crate::registry::Reduction;
use crate::registry::Result;
use crate::registry::entries::clip_loss::{Args, Call};

pub fn cpu_workspace(a: &Args) -> u64 {
    let size = Embeddings::size(Embeddings::size(Size::default(), a.n, a.d), a.n, a.d);
    let size = contrast_size(size, Directions::Both, a.n, a.n, a.d);
    let gradients = a.n.saturating_mul(a.d);
    size.add::<f32>(gradients).add::<f32>(gradients).add::<f64>(a.d).add::<f64>(a.d).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Call { n, d, .. } = *call;
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let normalize = call.opts.normalize != 0;
    let a = Embeddings::new(cpu, &[call.a], normalize, &mut work);
    let b = Embeddings::new(cpu, &[call.b], normalize, &mut work);
    let scale = call.scale[0];
    let similarities = Similarities::new(a.matrix(), b.matrix(), scale);
    let contrast = Contrast::new(similarities, Directions::Both, n, |row| row);
    let wants_scale = call.grad_scale.is_some();
    let wants_gradients =
        call.pass.backward() && (call.grad_a.is_some() || call.grad_b.is_some() || wants_scale);
    let mut kept = contrast.keep(call.saved_in, wants_gradients, &mut work);

    let smoothing = call.opts.label_smoothing;
    let count = n as f64;
    if !kept.is_restored() {
        let sum = contrast.forward(cpu, &mut kept, &mut work, &|_, anchor| anchor.loss());
        let mut loss = sum / (2.0 * count);
        if smoothing > 0.0 {
            // e (S_ii - mean_j S_ij), whose mean is the same over rows and columns.
            let own: f64 = kept.own().iter().copied().map(f64::from).sum();
            let (sum_a, sum_b) = (a.sum(cpu, &mut work), b.sum(cpu, &mut work));
            let all: f64 = sum_a.iter().zip(sum_b.iter()).map(|(x, y)| x * y).sum();
            loss += smoothing * (own - f64::from(scale) * all / count) / count;
        }
        if let Some(out) = call.loss.as_deref_mut() {
            out[0] = loss as f32;
        }
    }
    if let Some(saved) = call.saved_out.as_deref_mut() {
        kept.save(saved);
    }
    if !wants_gradients {
        return Ok(());
    }
    // The gradient of scale is sum_i a^_i . (W b^)_i: also that of a is then needed.
    let mut grad_a = (call.grad_a.is_some() || wants_scale).then(|| work.take(n * d, 0.0f32));
    let mut grad_b = call.grad_b.map(|_| work.take(n * d, 0.0f32));
    let weight = f64::from(call.grad_loss.map_or(1.0, |g| g[0])) / (2.0 * count);
    let smoothed = Smoothing { taken: smoothing, each: (2.0 * weight * smoothing / count) as f32 };
    let targets = (grad_a.as_deref_mut(), grad_b.as_deref_mut());
    contrast.gradients(cpu, &kept, &mut work, &|_| weight as f32, smoothed, targets);
    if let (Some(out), Some(g)) = (call.grad_scale.as_deref_mut(), &grad_a) {
        out[0] = a.dot(cpu, g) as f32;
    }
    if let Some(g) = grad_a {
        a.write_gradients(cpu, g, f64::from(scale), &[(n, call.grad_a)]);
    }
    if let Some(g) = grad_b {
        b.write_gradients(cpu, g, f64::from(scale), &[(n, call.grad_b)]);
    }
    Ok(())
}

#[cfg(gpu)]
fn plan(a: &Args) -> ContrastPlan {
    ContrastPlan {
        directions: contrast::Directions::Both,
        n: a.n,
        m: a.n,
        d: a.d,
        dtype: a.dtype,
        a: a.a,
        b: a.b,
        normalize: a.opts.normalize != 0,
        alpha: 1.0,
        scale: a.scale,
        positives: std::ptr::null(),
        offset: 0,
        smoothing: a.opts.label_smoothing,
        reduction: Reduction::Mean,
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        lse: std::ptr::null_mut(),
        saved: a.saved,
        grad_loss: a.grad_loss,
        grad_a: a.grad_a,
        grad_b: a.grad_b,
        grad_scale: a.grad_scale,
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
