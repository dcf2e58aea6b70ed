//! l = -(1/n) sum nu_k p_k log p_k + kl_weight KL(q, tau), q_k the mean of p_k over the pixels.

use crate::cpu::Cpu;
use crate::cpu::maps::{self, Activation, MapLoss, Maps, Pixels, Target};
use crate::cpu::reduction::Upstream;
use crate::cpu::simd::Simd;
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::source_free_adaptation::{Args, Call, Options};
use crate::registry::{Reduction, Result};

/// Of p and of p log p.
const SUMS: usize = 2;
/// d loss / dp = a log p + b.
const FACTORS: usize = 2;

#[derive(Clone, Copy)]
struct Adaptation;

/// log p, but 0 where p is: their product is.
#[inline(always)]
fn log_p<S: Simd>(s: S, x: &Pixels<S>) -> S::F {
    s.select(s.eq(x.p, s.zero()), s.zero(), x.log_p)
}

impl MapLoss<SUMS, FACTORS> for Adaptation {
    const LOGS: bool = true;

    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sums: &mut [S::F; SUMS], x: &Pixels<S>) {
        sums[0] = s.add(sums[0], x.p);
        sums[1] = s.mul_add(x.p, log_p(s, x), sums[1]);
    }

    #[inline(always)]
    fn slope<S: Simd>(&self, s: S, [a, b]: &[S::F; FACTORS], x: &Pixels<S>) -> S::F {
        s.mul_add(*a, log_p(s, x), *b)
    }
}

/// nu_k is this over tau_k, or simply this.
fn weight(o: &Options, prior: &[f32]) -> f64 {
    match o.class_weighting {
        0 => 1.0 / prior.iter().map(|&tau| 1.0 / f64::from(tau)).sum::<f64>(),
        _ => 1.0 / prior.len() as f64,
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (o, batch, classes) = (call.opts, call.batch, call.classes);
    let maps = Maps {
        images: batch,
        classes,
        pixels: call.pixels,
        pred: call.logits,
        activation: Activation::Softmax,
        target: Target::Nothing,
    };
    let pixels = call.pixels.max(1) as f64;
    let mut workspace = Workspace::new(std::mem::take(&mut call.workspace));
    // Backward starts from the ratios that forward can save, so both take them as f32.
    let sums = match call.saved_in {
        Some(saved) => {
            let sums = workspace.take(batch * classes * SUMS, 0.0);
            sums.chunks_exact_mut(SUMS).zip(saved).for_each(|(sum, &q)| sum[0] = f64::from(q));
            sums
        }
        None => {
            let sums = maps::sums(cpu, &Adaptation, &maps, &mut workspace, None);
            for sum in sums.chunks_exact_mut(SUMS) {
                sum[0] = f64::from((sum[0] / pixels) as f32);
                sum[1] /= pixels;
            }
            sums
        }
    };
    if let Some(saved) = &mut call.saved_out {
        saved.iter_mut().zip(sums.chunks_exact(SUMS)).for_each(|(q, sum)| *q = sum[0] as f32);
    }
    let factors = workspace.take(batch * classes * FACTORS, 0.0f32);
    let reduction = Reduction::from_code(o.reduction);
    let scale = if reduction == Reduction::Mean { 1.0 / batch.max(1) as f64 } else { 1.0 };
    let upstream = Upstream::new(call.grad_loss, reduction, scale);
    let mut total = 0.0;
    for image in 0..batch {
        let prior = &call.prior[image * classes..][..classes];
        let weight = weight(o, prior);
        let upstream = upstream.of(image) / pixels;
        let mut value = 0.0;
        for (k, &tau) in prior.iter().enumerate() {
            let place = image * classes + k;
            let (q, p_log_p, tau) = (sums[place * SUMS], sums[place * SUMS + 1], f64::from(tau));
            let nu = if o.class_weighting == 0 { weight / tau } else { weight };
            let log_ratio = if q == 0.0 && o.reverse == 0 { 0.0 } else { (q / tau).ln() };
            let (divergence, slope) =
                if o.reverse != 0 { (-tau * log_ratio, -tau / q) } else { (q * log_ratio, log_ratio + 1.0) };
            if call.pixels > 0 {
                value += o.kl_weight * divergence - nu * p_log_p;
            }
            factors[place * FACTORS] = (-upstream * nu) as f32;
            factors[place * FACTORS + 1] = (upstream * (o.kl_weight * slope - nu)) as f32;
        }
        total += value;
        if let (Some(loss), Reduction::None) = (&mut call.loss, reduction) {
            loss[image] = value as f32;
        }
    }
    if let Some(loss) = &mut call.loss
        && reduction != Reduction::None
    {
        loss[0] = (total * scale) as f32;
    }
    if let Some(gradient) = call.grad_logits {
        maps::gradient(cpu, &Adaptation, &maps, factors, gradient, false);
    }
    Ok(())
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let factors = a.batch.saturating_mul(a.classes).saturating_mul(FACTORS as u64);
    maps::workspace_size(Size::default().add::<f32>(factors), a.batch, a.classes, a.pixels, SUMS as u64)
        .bytes()
}

pub fn check(a: &Args) -> Result<()> {
    maps::check_classes("source_free_adaptation", a.classes)
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = cuda::maps::MapsPlan {
        images: a.batch,
        classes: a.classes,
        pixels: a.pixels,
        sums: SUMS as u64,
        factors: FACTORS as u64,
        pass: Pass::from_code(a.pass),
        reduction: Reduction::from_code(a.opts.reduction),
        values: a.batch,
        divisor: a.batch as f64,
        loss: a.loss,
        wants_saved: !a.saved.is_null(),
        wants_gradient: !a.grad_logits.is_null(),
        restored: a.pass == Pass::Backward as i32 && !a.saved.is_null(),
        workspace: a.workspace,
    };
    let kernels = cuda::maps::kernels!("source_free_adaptation");
    Ok(cuda::maps::run(device, kernels, unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::maps::workspace_size(a.batch, a.classes, a.pixels, SUMS as u64, FACTORS as u64)
}
