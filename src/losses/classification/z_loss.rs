//! l = softplus(a (b - u_y)) / a,  u = (z - mean) / std of the row.

use crate::cpu::rows::{self, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::{Cpu, simd::Simd};
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
        let (mut sum, mut squares) = ([s.d_zero(); 4], [s.d_zero(); 4]);
        row.blocks(s, #[inline(always)] |_, block| {
            // Lanes beyond the end see the shift itself and add nothing.
            sum = rows::fold(s, block, shift, sum, #[inline(always)] |acc, z, _| s.d_add(acc, s.sub(z, about)));
            squares = rows::fold(s, block, shift, squares, #[inline(always)] |acc, z, _| {
                let d = s.sub(z, about);
                s.d_mul_add(acc, d, d)
            });
        });
        let n = row.len as f64;
        let mean = rows::total(s, sum) / n;
        let variance = (rows::total(s, squares) / n - mean * mean).max(0.0);
        // max() drops a NaN; a non-finite row must stay one.
        let std = if mean.is_finite() { variance.sqrt() } else { f64::NAN };
        Moments { shift, mean: mean as f32, std: std as f32 }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, m: &Moments, row: &Row, label: usize) -> f32 {
        let x = self.a * (self.b - self.score(m, row, label));
        ((x.max(0.0) + (-x.abs()).exp().ln_1p()) / self.a) as f32
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
