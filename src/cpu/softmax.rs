//! Statistics of a softmax row, shared by the losses built on log p_y.

use crate::cpu::rows::{self, Row};
use crate::cpu::simd::{Simd, math};
use bytemuck::{Pod, Zeroable};

/// Kept apart so that neither 1 - p_y nor log p_y near 0 suffers from cancellation.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SoftmaxStats {
    /// Largest logit m.
    pub max: f32,
    /// Sum over k other than the label of exp(z_k - m).
    pub rest: f32,
    /// exp(z_y - m).
    pub own: f32,
}

impl SoftmaxStats {
    pub fn sum(&self) -> f64 {
        f64::from(self.rest) + f64::from(self.own)
    }

    pub fn log_sum_exp(&self) -> f64 {
        f64::from(self.max) + self.sum().ln()
    }

    /// -log p_y = lse - z_y.
    pub fn neg_log_prob(&self, own_logit: f32) -> f64 {
        if self.own == 1.0 {
            f64::from(self.rest).ln_1p()
        } else {
            f64::from(self.max) - f64::from(own_logit) + self.sum().ln()
        }
    }

    /// p_y and 1 - p_y.
    pub fn own_prob(&self) -> (f64, f64) {
        let sum = self.sum();
        (f64::from(self.own) / sum, f64::from(self.rest) / sum)
    }
}

/// Running maximum and sum of exponentials over the blocks of a row.
pub struct Accumulator<S: Simd> {
    max: f32,
    sum: f64,
    s: S,
}

impl<S: Simd> Accumulator<S> {
    #[inline(always)]
    pub fn new(s: S) -> Self {
        Accumulator { max: f32::NEG_INFINITY, sum: 0.0, s }
    }

    #[inline(always)]
    pub fn add(&mut self, block: &[f32]) {
        let s = self.s;
        let low = s.splat(f32::NEG_INFINITY);
        let top = rows::fold(s, block, f32::NEG_INFINITY, [low; 4], #[inline(always)] |acc, z, _| s.max(acc, z));
        let top = s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])));
        let max = if top > self.max || top.is_nan() { top } else { self.max };
        if max == f32::NEG_INFINITY {
            return; // nothing but -inf so far: no term yet
        }
        let about = s.splat(max);
        let sums =
            rows::fold(s, block, f32::NEG_INFINITY, [s.d_zero(); 4], #[inline(always)] |acc, z, _| s.d_add(acc, math::exp(s, s.sub(z, about))));
        let before = if self.sum == 0.0 { 0.0 } else { self.sum * f64::from(self.max - max).exp() };
        self.sum = before + rows::total(s, sums);
        self.max = max;
    }

    /// `own_logit`: as the row's blocks had it.
    #[inline(always)]
    pub fn finish(self, own_logit: f32) -> SoftmaxStats {
        let s = self.s;
        if self.max == f32::NEG_INFINITY {
            return SoftmaxStats { max: f32::NAN, rest: f32::NAN, own: f32::NAN };
        }
        // The same function as in the sum, so that the label's own term comes out exactly.
        let own = s.reduce_max(math::exp(s, s.splat(own_logit - self.max)));
        let rest = self.sum - f64::from(own);
        SoftmaxStats { max: self.max, rest: if rest < 0.0 { 0.0 } else { rest as f32 }, own }
    }
}

/// Statistics of a row of plain logits.
#[inline(always)]
pub fn stats<S: Simd>(s: S, row: &Row, label: usize) -> SoftmaxStats {
    let mut acc = Accumulator::new(s);
    row.blocks(s, #[inline(always)] |_, block| acc.add(block));
    acc.finish(row.get(label))
}
