//! l = (1 - x)^gamma, x = (2 I + smooth) / (2 I + 2 alpha (P - I) + 2 beta (T - I) + smooth) of sums over the
//! pixels of a class.

use crate::cpu::Cpu;
use crate::cpu::maps::{self, Activation, MapLoss, Maps, Pixels, Target};
use crate::cpu::reduction::Upstream;
use crate::cpu::simd::Simd;
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::dice_loss::{Args, Call, Options};
use crate::registry::{Error, Reduction, Result};

/// I, P - I and T - I: so taken, nothing cancels in the loss of a good prediction.
const SUMS: usize = 3;
/// d loss / dI and d loss / dP.
const FACTORS: usize = 2;
/// Values per class of `saved`; the last is for CUDA, which marks images with a label out of range.
const SAVED: usize = 4;

#[derive(Clone, Copy)]
struct DiceLoss {
    squared: bool,
}

impl MapLoss<SUMS, FACTORS> for DiceLoss {
    const AFFINE: bool = true;

    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sums: &mut [S::F; SUMS], x: &Pixels<S>) {
        let (false_positive, false_negative) =
            if self.squared { (s.sub(x.p, x.t), s.sub(x.t, x.p)) } else { (s.sub(s.splat(1.0), x.t), x.q) };
        sums[0] = s.mul_add(x.p, x.t, sums[0]);
        sums[1] = s.mul_add(x.p, false_positive, sums[1]);
        sums[2] = s.mul_add(x.t, false_negative, sums[2]);
    }

    fn usual(&self) -> bool {
        !self.squared
    }

    #[inline(always)]
    fn add_labelled<S: Simd, const USUAL: bool>(
        &self,
        s: S,
        sums: &mut [S::F; SUMS],
        x: &Pixels<S>,
        own: S::M,
    ) {
        sums[0] = s.add(sums[0], s.only(own, x.p));
        let others = s.only(s.not(own), x.p);
        sums[1] = if USUAL { s.add(sums[1], others) } else { s.mul_add(x.p, s.sub(x.p, x.t), sums[1]) };
        sums[2] = s.add(sums[2], s.only(own, x.q));
    }

    #[inline(always)]
    fn slope<S: Simd>(&self, s: S, [of_i, of_p]: &[S::F; FACTORS], x: &Pixels<S>) -> S::F {
        let rest = if self.squared { s.mul(*of_p, s.add(x.p, x.p)) } else { *of_p };
        s.mul_add(*of_i, x.t, rest)
    }
}

/// From the sums of a class: the loss, and how it changes with I and P.
struct Overlap {
    loss: f64,
    of_i: f64,
    of_p: f64,
}

impl Overlap {
    fn new(o: &Options, [i, false_positives, false_negatives]: [f64; SUMS]) -> Overlap {
        let n = 2.0 * i + o.smooth;
        let missed = 2.0 * (o.alpha * false_positives + o.beta * false_negatives);
        let d = n + missed;
        let distance = missed / d; // 1 - x
        let (loss, slope) = if o.gamma == 1.0 {
            (distance, -1.0)
        } else if distance <= 0.0 {
            (0.0, 0.0)
        } else {
            (distance.powf(o.gamma), -o.gamma * distance.powf(o.gamma - 1.0))
        };
        let of_i = slope * (2.0 * missed + 2.0 * n * (o.alpha + o.beta)) / (d * d);
        Overlap { loss, of_i, of_p: -2.0 * slope * o.alpha * n / (d * d) }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (o, batch, classes) = (call.opts, call.batch, call.classes);
    let maps = Maps {
        images: batch,
        classes,
        pixels: call.pixels,
        pred: call.pred,
        activation: Activation::from_code(o.activation),
        target: match (call.labels, call.target) {
            (Some(labels), _) => Target::Labels { labels, ignore: o.ignore_index },
            (None, Some(target)) => Target::Map(target),
            (None, None) => Target::Nothing,
        },
    };
    let loss = DiceLoss { squared: o.squared != 0 };
    let mut workspace = Workspace::new(std::mem::take(&mut call.workspace));
    // Backward starts from what forward can save, so both take the sums as f32.
    let sums = match call.saved_in {
        Some(saved) => {
            let sums = workspace.take(batch * classes * SUMS, 0.0);
            let rows = sums.chunks_exact_mut(SUMS).zip(saved.chunks_exact(SAVED));
            rows.for_each(|(sums, saved)| sums.iter_mut().zip(saved).for_each(|(a, &b)| *a = f64::from(b)));
            sums
        }
        None => {
            let sums = maps::sums(cpu, &loss, &maps, &mut workspace, call.grad_pred);
            sums.iter_mut().for_each(|sum| *sum = f64::from(*sum as f32));
            sums
        }
    };
    if let Some(saved) = &mut call.saved_out {
        saved.fill(0.0);
        let rows = saved.chunks_exact_mut(SAVED).zip(sums.chunks_exact(SUMS));
        rows.for_each(|(saved, sums)| saved.iter_mut().zip(sums).for_each(|(a, &b)| *a = b as f32));
    }
    let factors = workspace.take(batch * classes * FACTORS, 0.0f32);
    let groups = if o.batch != 0 { 1 } else { batch };
    let reduction = Reduction::from_code(o.reduction);
    let first = usize::from(o.include_background == 0 && classes > 1);
    let counted = groups * (classes - first);
    let scale = if reduction == Reduction::Mean { 1.0 / counted.max(1) as f64 } else { 1.0 };
    let upstream = Upstream::new(call.grad_loss, reduction, scale);
    let mut total = 0.0;
    for group in 0..groups {
        for class in 0..classes {
            let images = if o.batch != 0 { 0..batch } else { group..group + 1 };
            let place = group * classes + class;
            let mut value = 0.0;
            if class >= first {
                let sum = images.clone().fold([0.0; SUMS], |sum: [f64; SUMS], image| {
                    std::array::from_fn(|j| sum[j] + sums[(image * classes + class) * SUMS + j])
                });
                let overlap = Overlap::new(o, sum);
                value = overlap.loss;
                let upstream = upstream.of(place);
                for image in images {
                    let at = (image * classes + class) * FACTORS;
                    factors[at] = (upstream * overlap.of_i) as f32;
                    factors[at + 1] = (upstream * overlap.of_p) as f32;
                }
            }
            total += value;
            if let (Some(loss), Reduction::None) = (&mut call.loss, reduction) {
                loss[place] = value as f32;
            }
        }
    }
    if let Some(loss) = &mut call.loss
        && reduction != Reduction::None
    {
        loss[0] = (total * scale) as f32;
    }
    if let Some(gradient) = call.grad_pred {
        maps::gradient(cpu, &loss, &maps, factors, gradient, call.saved_in.is_none());
    }
    Ok(())
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let factors = a.batch.saturating_mul(a.classes).saturating_mul(FACTORS as u64);
    maps::workspace_size(Size::default().add::<f32>(factors), a.batch, a.classes, a.pixels, SUMS as u64)
        .bytes()
}

pub fn check(a: &Args) -> Result<()> {
    maps::check_classes("dice_loss", a.classes)?;
    // Without data only sizes are asked for.
    if a.pred.is_null() {
        return Ok(());
    }
    let fail = |text: &str| Err(Error::argument(format!("dice_loss: argument {text}")));
    match (a.labels.is_null(), a.target.is_null()) {
        (true, true) => fail("'labels' is NULL and so is 'target', expected one of them"),
        (false, false) => fail("'target' is given beside 'labels', expected NULL for one of them"),
        _ => Ok(()),
    }
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let o = &a.opts;
    let groups = if o.batch != 0 { 1 } else { a.batch };
    let background = u64::from(o.include_background == 0 && a.classes > 1);
    let plan = cuda::maps::MapsPlan {
        images: a.batch,
        classes: a.classes,
        pixels: a.pixels,
        sums: SUMS as u64,
        factors: FACTORS as u64,
        pass: Pass::from_code(a.pass),
        reduction: Reduction::from_code(o.reduction),
        values: groups * a.classes,
        divisor: (groups * (a.classes - background)) as f64,
        loss: a.loss,
        wants_saved: !a.saved.is_null(),
        wants_gradient: !a.grad_pred.is_null(),
        restored: a.pass == Pass::Backward as i32 && !a.saved.is_null(),
        workspace: a.workspace,
    };
    Ok(cuda::maps::run(device, cuda::maps::kernels!("dice_loss"), unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::maps::workspace_size(a.batch, a.classes, a.pixels, SUMS as u64, FACTORS as u64)
}
