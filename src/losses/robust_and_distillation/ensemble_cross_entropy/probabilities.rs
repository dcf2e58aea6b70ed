//! `average` probabilities: l = -log of the mean over models of p_y.

use super::Ensemble;
use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_sets::RowSetLoss;
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{self, SoftmaxStats};
use crate::cpu::storage::{BLOCK, Scratch};

pub struct OfProbabilities<'a>(pub(super) Ensemble<'a>);

/// Statistics of more models are found anew for the gradient.
const KEPT: usize = 16;

pub struct Mixed {
    kept: [SoftmaxStats; KEPT],
    /// -log of the sum over models of p_y.
    neg_log_sum: f64,
    loss: f64,
}

impl OfProbabilities<'_> {
    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, m: usize, r: usize) -> SoftmaxStats {
        let mut scratch = Scratch::<BLOCK>::new();
        // SAFETY: within the checked buffer.
        let row =
            unsafe { Row::new(&self.0.logits, m * self.0.rows + r, scratch.ptr(), std::ptr::null_mut(), 0) };
        softmax::stats(s, &row, self.0.labels[r] as usize)
    }
}

impl RowSetLoss<1> for OfProbabilities<'_> {
    type State = Mixed;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, _rows: &[Row; 1]) -> Mixed {
        let none = SoftmaxStats { top: 0.0, rest: 0.0, own: 0.0 };
        let mut kept = [none; KEPT];
        // Sum of exp(least - nll) about the smallest so far, and of 1 - p_y.
        let (mut least, mut sum, mut others) = (f64::INFINITY, 0.0, 0.0);
        for m in 0..self.0.models {
            let stats = self.stats(s, m, r);
            if m < KEPT {
                kept[m] = stats;
            }
            let odds = stats.odds(s);
            let nll = odds.neg_log_prob_f64();
            others += odds.others;
            if nll < least {
                sum = sum * (nll - least).exp() + 1.0;
                least = nll;
            } else if nll.is_nan() {
                sum = f64::NAN;
            } else if nll < f64::INFINITY {
                sum += (least - nll).exp();
            }
        }
        let models = self.0.models as f64;
        let neg_log_sum = if sum.is_nan() { sum } else { least - sum.ln() };
        // Models that are sure of the label differ from 1 by little.
        let mean = others / models;
        let loss = if mean < 0.5 { -(-mean).ln_1p() } else { neg_log_sum + models.ln() };
        Mixed { kept, neg_log_sum, loss }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &Mixed) -> f32 {
        state.loss as f32
    }

    /// dl/dz^m_k = h_m (p^m_k - delta_ky), h_m = p^m_y / sum of p_y.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &Mixed,
        _rows: &[Row; 1],
        scale: f32,
        _out: &[Option<RowOut>; 1],
    ) {
        let (mut read, mut write) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        for m in 0..self.0.models {
            let stats = if m < KEPT { state.kept[m] } else { self.stats(s, m, r) };
            let odds = stats.odds(s);
            let part = f64::from(scale) * (state.neg_log_sum - odds.neg_log_prob_f64()).exp();
            // SAFETY: within the checked buffers; only the block with sample r writes its rows.
            unsafe {
                let none = std::ptr::null_mut();
                let row = Row::new(&self.0.logits, m * self.0.rows + r, read.ptr(), none, 0);
                let Some(gradients) = &self.0.gradients else { return };
                let out = RowOut::new(gradients, m * self.0.rows + r, write.ptr());
                softmax::write_terms(s, &row, stats.top, part * odds.share, &out);
                out.set(self.0.labels[r] as usize, (-part * odds.others) as f32);
            }
        }
    }
}
