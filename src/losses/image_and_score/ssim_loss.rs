//! 1 - l cs of local means and variances, in terms of the sum and the difference of the images: with
//! u = m_d^2 / D1 and e = v_d / D2, l = 1 - u and cs = 1 - e.

use crate::cpu::Cpu;
use crate::cpu::simd::Simd;
use crate::cpu::windows::{self, Images, Moments, WindowLoss};
use crate::cpu::workspace::Workspace;
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::ssim_loss::{Args, Call};
use crate::registry::{Error, Reduction, Result};

struct SsimLoss {
    c1: f32,
    c2: f32,
}

struct Terms<S: Simd> {
    /// 1 / D1, 1 / D2.
    inverse: [S::F; 2],
    u: S::F,
    e: S::F,
}

impl SsimLoss {
    #[inline(always)]
    fn terms<S: Simd>(&self, s: S, m: &Moments<S>) -> Terms<S> {
        let half = s.splat(0.5);
        let square = s.mul(m.mean_difference, m.mean_difference);
        let means = s.mul_add(m.mean_sum, m.mean_sum, square);
        let variances = s.add(m.variance_sum, m.variance_difference);
        let inverse = [
            s.recip(s.mul_add(half, means, s.splat(self.c1))),
            s.recip(s.mul_add(half, variances, s.splat(self.c2))),
        ];
        Terms { inverse, u: s.mul(square, inverse[0]), e: s.mul(m.variance_difference, inverse[1]) }
    }
}

impl WindowLoss for SsimLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, m: &Moments<S>) -> S::F {
        let Terms { u, e, .. } = self.terms(s, m);
        s.mul_add(s.sub(s.splat(1.0), u), e, u)
    }

    #[inline(always)]
    fn slopes<S: Simd>(&self, s: S, m: &Moments<S>) -> Moments<S> {
        let Terms { inverse, u, e } = self.terms(s, m);
        let (one, two, half) = (s.splat(1.0), s.splat(2.0), s.splat(0.5));
        let (of_means, of_variances) = (s.mul(s.sub(one, e), inverse[0]), s.mul(s.sub(one, u), inverse[1]));
        Moments {
            mean_sum: s.neg(s.mul(s.mul(of_means, u), m.mean_sum)),
            mean_difference: s.mul(s.mul(of_means, s.sub(two, u)), m.mean_difference),
            variance_sum: s.mul(of_variances, s.mul(e, s.splat(-0.5))),
            variance_difference: s.mul(of_variances, s.sub(one, s.mul(half, e))),
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let o = call.opts;
    let (batch, channels) = (call.batch, call.channels);
    let images = Images {
        planes: batch * channels,
        height: call.height,
        width: call.width,
        window: o.window as usize,
        sigma: o.sigma,
        pred: call.pred,
        target: call.target,
    };
    let stabiliser = |k: f64| (k * o.data_range * k * o.data_range) as f32;
    let loss = SsimLoss { c1: stabiliser(o.k1), c2: stabiliser(o.k2) };
    let reduction = Reduction::from_code(o.reduction);
    let scale = if reduction == Reduction::Mean { 1.0 / batch.max(1) as f64 } else { 1.0 };
    let values = (images.positions() * channels) as f64;
    let grad_loss = call.grad_loss;
    let factor = |plane: usize| {
        let upstream =
            grad_loss.map_or(1.0, |g| if reduction == Reduction::None { g[plane / channels] } else { g[0] });
        (f64::from(upstream) * scale / values) as f32
    };
    let (mut total, mut of_image) = (0.0, 0.0);
    let workspace = Workspace::new(std::mem::take(&mut call.workspace));
    windows::run(
        cpu,
        &loss,
        &images,
        workspace,
        [call.grad_pred, call.grad_target],
        &factor,
        |plane, sum| {
            of_image += sum / values;
            if (plane + 1) % channels > 0 {
                return;
            }
            total += of_image;
            if let Some(ssim) = &mut call.ssim {
                ssim[plane / channels] = (1.0 - of_image) as f32;
            }
            if let (Some(loss), Reduction::None) = (&mut call.loss, reduction) {
                loss[plane / channels] = of_image as f32;
            }
            of_image = 0.0;
        },
    );
    if let Some(loss) = &mut call.loss
        && reduction != Reduction::None
    {
        loss[0] = (total * scale) as f32;
    }
    Ok(())
}

pub fn cpu_workspace(a: &Args) -> u64 {
    windows::workspace_size(a.batch.saturating_mul(a.channels), a.height, a.width, a.opts.window as u64)
}

pub fn check(a: &Args) -> Result<()> {
    let window = a.opts.window;
    if window % 2 == 0 {
        return Err(Error::option(format!("ssim_loss: option 'window' is {window}, expected an odd number")));
    }
    for (name, side) in [("height", a.height), ("width", a.width)] {
        if side < window as u64 {
            return Err(Error::argument(format!(
                "ssim_loss: argument '{name}' is {side}, expected at least {window} (option 'window')"
            )));
        }
    }
    Ok(())
}

#[cfg(gpu)]
fn plan(a: &Args) -> cuda::windows::WindowsPlan {
    cuda::windows::WindowsPlan {
        batch: a.batch,
        channels: a.channels,
        height: a.height,
        width: a.width,
        window: a.opts.window as u64,
        pass: Pass::from_code(a.pass),
        reduction: Reduction::from_code(a.opts.reduction),
        loss: a.loss,
        wants_values: !a.loss.is_null() || !a.ssim.is_null(),
        wants_gradient: !a.grad_pred.is_null() || !a.grad_target.is_null(),
        workspace: a.workspace,
    }
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let kernels = ["ssim_loss_prepare", "ssim_loss_positions", "ssim_loss_finish", "ssim_loss_gradient"];
    Ok(cuda::windows::run(device, kernels, unsafe { bytes_of(a) }, &plan(a))?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    plan(a).workspace_size()
}
