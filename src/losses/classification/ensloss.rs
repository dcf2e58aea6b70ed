//! l_i = -w_i m_i, m_i = target_i score_i: the slopes w of a loss drawn for this batch, steeper for smaller margins.

use crate::cpu::Cpu;
use crate::cpu::elements::{self, ElementLoss, Operand, Problem};
use crate::cpu::philox::Philox;
use crate::cpu::simd::Simd;
use crate::cpu::sort;
use crate::cpu::storage::read_one;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::ensloss::{Args, Call};
use crate::registry::{Reduction, Result, floats_of};

/// Inputs: scores, target, w.
struct Ensemble;

impl ElementLoss<3, 1> for Ensemble {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [score, target, w]: [S::F; 3]) -> S::F {
        s.neg(s.mul(w, s.mul(target, score)))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [_, target, w]: [S::F; 3]) -> [S::F; 1] {
        [s.neg(s.mul(w, target))]
    }
}

/// Inverse Box-Cox transformation, at most 1; a NaN stays.
fn transform(draw: f32, lambda: f64) -> f32 {
    let d = f64::from(draw);
    let x = if lambda == 0.0 {
        d.exp()
    } else {
        let inside = lambda * d;
        // At and beyond the boundary 0 or infinity.
        let log = if inside <= -1.0 { f64::NEG_INFINITY } else { inside.ln_1p() };
        (log / lambda).exp()
    };
    if x > 1.0 { 1.0 } else { x as f32 }
}

pub fn check(a: &Args) -> Result<()> {
    sort::check("ensloss", a.n, "")
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f32>(a.n).add::<f32>(a.n).add::<u64>(a.n).add::<u64>(a.n).bytes()
}

/// Writes w of every sample; what it takes of the workspace is not needed afterwards.
fn slopes(cpu: &Cpu, call: &Call, room: &mut Workspace, w: &mut [f32]) {
    let n = call.n;
    let sorted = room.take(n, 0.0f32);
    let (pairs, other) = (room.take(n, 0u64), room.take(n, 0u64));
    match call.draws {
        Some(draws) => sorted.copy_from_slice(draws),
        None => Philox::new(call.opts.seed, call.opts.offset).normals(cpu.isa, 0, sorted),
    }
    let lambda = call.opts.box_cox;
    for (i, pair) in pairs.iter_mut().enumerate() {
        *pair = sort::pair(!sort::key(transform(sorted[i], lambda)), i);
    }
    for (x, &pair) in sorted.iter_mut().zip(sort::sort(Some(cpu), pairs, other, 32).iter()) {
        *x = sort::value(!sort::parts(pair).0);
    }
    // SAFETY: sample i is within the checked buffers.
    let at = |input: &crate::registry::Floats, i: usize| unsafe { read_one(input.dtype, input.at(i)) };
    let margin = |i: usize| at(&call.target, i) * at(&call.scores, i);
    for (i, pair) in pairs.iter_mut().enumerate() {
        *pair = sort::pair(sort::key(margin(i)), i);
    }
    for (&x, &pair) in sorted.iter().zip(sort::sort(Some(cpu), pairs, other, 32).iter()) {
        let (key, i) = sort::parts(pair);
        let m = sort::value(key);
        w[i] = if m > 1.0 { x / m } else { x } + 1e-6;
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let fresh = room.take(call.n, 0.0f32);
    if call.saved_in.is_none() {
        slopes(cpu, call, &mut room, fresh);
    }
    let w = call.saved_in.unwrap_or(fresh);
    if let Some(out) = call.saved_out.as_deref_mut() {
        out.copy_from_slice(w);
    }
    if let Some(out) = call.slopes.as_deref_mut() {
        out.iter_mut().zip(w).for_each(|(slope, w)| *slope = -w);
    }
    let problem = Problem {
        n: call.n,
        rows: call.n,
        inputs: [Operand::full(call.scores), Operand::full(call.target), Operand::full(floats_of(w))],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [call.grad_scores],
    };
    elements::run(cpu, &Ensemble, problem);
    Ok(())
}

/// w, the pairs of draws and of margins, and room for sums.
#[cfg(gpu)]
fn places(a: &Args) -> [u64; 4] {
    let w = a.n.saturating_mul(4).div_ceil(256).saturating_mul(256);
    let pairs = crate::cuda::sort::padded(a.n).saturating_mul(8);
    [0, w, w.saturating_add(pairs), w.saturating_add(pairs.saturating_mul(2))]
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::elements::ElementsPlan;
    use crate::cuda::{bytes_of, elements, sort as device_sort};
    use crate::registry::Pass;
    let pass = Pass::from_code(a.pass);
    let reduction = Reduction::from_code(a.opts.reduction);
    let place = |offset: u64| a.workspace.wrapping_byte_add(offset as usize);
    let [_, draws, _, sums] = places(a).map(place);
    let restored = pass == Pass::Backward && !a.saved.is_null();
    if a.n > 0 && !restored {
        let launch = |kernel: &str, count: u64| {
            let grid = [count.div_ceil(1024).clamp(1, 65_536) as u32, 1, 1];
            device.launch(kernel, grid, [256, 1, 1], 0, unsafe { bytes_of(a) })
        };
        launch("ensloss_keys", device_sort::padded(a.n))?;
        // Draws and margins.
        device_sort::run(device, draws.cast(), a.n, 2)?;
        launch("ensloss_match", a.n)?;
    }
    let plan = ElementsPlan {
        n: a.n,
        rows: 1,
        reduction,
        pass,
        loss: a.loss,
        wants_more: !a.slopes.is_null() || !a.saved.is_null(),
        wants_gradient: !a.grad_scores.is_null(),
        workspace: sums,
    };
    Ok(elements::run(device, "ensloss", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let sums = crate::cuda::elements::workspace_size(a.n, Reduction::from_code(a.opts.reduction));
    places(a)[3].saturating_add(sums)
}
