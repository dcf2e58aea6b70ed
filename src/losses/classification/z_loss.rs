//! l = softplus(a (b - u_y)) / a,  u = (z - mean) / std of the row.

use crate::cpu::rows::{self, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::{Cpu, simd::Simd, simd::math};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, rows::rows_plan};
#[cfg(gpu)]
use crate::registry::{Reduction, entries::z_loss::Args};
use crate::registry::Result;
use crate::registry::entries::z_loss::Call;
use bytemuck::{Pod, Zeroable};

struct ZLoss {
    a: f64,
    b: f64,
}

/// Moments about the row's first logit, so that a large common offset costs no accuracy.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Moments {
    shift: f32,
    mean: f32,
    std: f32,
}

impl ZLoss {
    /// Standardised score of the label; 0 for a constant row.
    fn score(&self, m: &Moments, row: &Row, label: usize) -> f64 {
        if m.std == 0.0 {
            return 0.0;
        }
        (f64::from(row.get(label)) - f64::from(m.shift) - f64::from(m.mean)) / f64::from(m.std)
    }
}

impl RowLoss for ZLoss {
    type Stats = Moments;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, _label: usize) -> Moments {
        let shift = row.get(0);
        let about = s.splat(shift);
        let mut sums = [(s.d_zero(), s.d_zero()); 4];
        row.blocks(
            s,
            #[inline(always)]
            |_, block| {
                sums = rows::fold(
                    s,
                    block,
                    shift, // lanes beyond the end add nothing
                    sums,
                    #[inline(always)]
                    |(sum, squares), z, _| {
                        let d = s.sub(z, about);
                        (s.d_add(sum, d), s.d_mul_add(squares, d, d))
                    },
                );
            },
        );
        let n = row.len as f64;
        let mean = rows::total(s, sums.map(|(sum, _)| sum)) / n;
        let variance = (rows::total(s, sums.map(|(_, squares)| squares)) / n - mean * mean).max(0.0);
        // max() drops a NaN; a non-finite row must stay one.
        let std = if mean.is_finite() { variance.sqrt() } else { f64::NAN };
        Moments { shift, mean: mean as f32, std: std as f32 }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, m: &Moments, row: &Row, label: usize) -> f32 {
        let x = self.a * (self.b - self.score(m, row, label));
        let tail = s.reduce_max(math::ln_1p_unit(s, s.splat((-x.abs()).exp() as f32)));
        // Not x.max(0.0), which drops a NaN.
        let hinge = if x < 0.0 { 0.0 } else { x };
        ((hinge + f64::from(tail)) / self.a) as f32
    }

    /// dl/dz_k = -logistic(a (b - u_y)) (delta_ky - 1/C - u_y u_k / C) / std.
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, m: &Moments, row: &Row, label: usize, scale: f32, out: &RowOut) {
        if m.std == 0.0 {
            row.map_to(s, out, #[inline(always)] |_, _| s.splat(0.0));
            return;
        }
        let score = self.score(m, row, label);
        let std = f64::from(m.std);
        let g = f64::from(scale) / (1.0 + (-self.a * (self.b - score)).exp()) / std;
        let classes = row.len as f64;
        // For k other than the label: g/C + (g u_y / (C std)) ((z_k - shift) - mean).
        let (base, slope) = (s.splat((g / classes) as f32), s.splat((g * score / (classes * std)) as f32));
        let (shift, mean) = (s.splat(m.shift), s.splat(m.mean));
        row.map_to(s, out, #[inline(always)] |z, _| s.mul_add(slope, s.sub(s.sub(z, shift), mean), base));
        out.set(label, (-g * (1.0 - 1.0 / classes - score * score / classes)) as f32);
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    rows::run(cpu, &ZLoss { a: call.opts.a, b: call.opts.b }, rows_problem!(call));
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = rows_plan!(a);
    Ok(cuda::rows::run(device, "z_loss", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), false)
}
