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

    /// Sum less the largest term: exactly `rest` where the label has the largest logit.
    fn excess(&self) -> f32 {
        (f64::from(self.rest) + (f64::from(self.own) - 1.0)) as f32
    }

    /// -log p_y = lse - z_y, without cancellation.
    #[inline(always)]
    pub fn neg_log_prob<S: Simd>(&self, s: S, own_logit: f32) -> f32 {
        (self.max - own_logit) + s.reduce_max(math::ln_1p(s, s.splat(self.excess())))
    }

    /// p_y and 1 - p_y.
    pub fn own_prob(&self) -> (f64, f64) {
        let sum = self.sum();
        (f64::from(self.own) / sum, f64::from(self.rest) / sum)
    }
}

/// Running maximum and sum of exponentials over the blocks of a row. The label's own term is left out of
/// both: added and taken away again it would cost the digits of a small rest.
pub struct Accumulator<S: Simd> {
    s: S,
    label: usize,
    /// Largest logit so far other than the label's.
    max: f32,
    /// Sum of exp(z_k - about).
    rest: f64,
    about: f32,
}

/// How far a logit may lie above `about` before the block is done again.
const HEADROOM: f32 = 8.0;

impl<S: Simd> Accumulator<S> {
    #[inline(always)]
    pub fn new(s: S, label: usize) -> Self {
        Accumulator { s, label, max: f32::NEG_INFINITY, rest: 0.0, about: f32::NEG_INFINITY }
    }

    /// `start`: index of the block's first value in the row.
    ///
    /// After the first block, maximum and exponentials are taken in one sweep, about the largest logit so
    /// far: the loads are then hidden behind arithmetic. A block that tops it by much is swept again.
    #[inline(always)]
    pub fn add(&mut self, start: usize, block: &[f32]) {
        let own = self.label.wrapping_sub(start);
        if self.about == f32::NEG_INFINITY {
            self.refer_to(self.top(block, own));
        }
        let (mut top, mut sum) = self.sweep(block, own);
        if top > self.about + HEADROOM {
            self.refer_to(top);
            (top, sum) = self.sweep(block, own);
        }
        // Also when it is NaN.
        self.max = if top <= self.max { self.max } else { top };
        self.rest += f64::from(sum);
    }

    #[inline(always)]
    fn top(&self, block: &[f32], own: usize) -> f32 {
        let s = self.s;
        let top = rows::fold_without(
            s,
            block,
            own,
            f32::NEG_INFINITY,
            [s.splat(f32::NEG_INFINITY); 4],
            // A NaN may get lost here; the sum finds it.
            #[inline(always)]
            |acc, z, _| s.max(acc, z),
        );
        s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])))
    }

    fn refer_to(&mut self, about: f32) {
        if self.rest != 0.0 {
            self.rest *= f64::from(self.about - about).exp();
        }
        self.about = about;
    }

    /// Largest logit and sum of exponentials of a block, without the label's.
    #[inline(always)]
    fn sweep(&self, block: &[f32], own: usize) -> (f32, f32) {
        let s = self.s;
        if self.about == f32::NEG_INFINITY {
            return (f32::NEG_INFINITY, 0.0); // nothing but -inf so far: no term yet
        }
        let about = s.splat(self.about);
        let low = s.splat(f32::NEG_INFINITY);
        let acc = rows::fold_without(
            s,
            block,
            own,
            f32::NEG_INFINITY,
            [(low, s.zero()); 4],
            #[inline(always)]
            |(top, sum), z, _| (s.max(top, z), s.add(sum, math::exp_softmax(s, s.sub(z, about)))),
        );
        let top = s.max(s.max(acc[0].0, acc[1].0), s.max(acc[2].0, acc[3].0));
        let sum = s.add(s.add(acc[0].1, acc[1].1), s.add(acc[2].1, acc[3].1));
        (s.reduce_max(top), s.reduce_add(sum))
    }

    /// `own_logit`: as the row's blocks had it.
    #[inline(always)]
    pub fn finish(mut self, own_logit: f32) -> SoftmaxStats {
        let s = self.s;
        // NaN if either is.
        let max = if self.max > own_logit || self.max.is_nan() { self.max } else { own_logit };
        if max == f32::NEG_INFINITY {
            return SoftmaxStats { max: f32::NAN, rest: f32::NAN, own: f32::NAN };
        }
        if self.about != max {
            self.refer_to(max);
        }
        let own = s.reduce_max(math::exp_softmax(s, s.splat(own_logit - max)));
        SoftmaxStats { max, rest: self.rest as f32, own }
    }
}

/// Statistics of a row of plain logits.
#[inline(always)]
pub fn stats<S: Simd>(s: S, row: &Row, label: usize) -> SoftmaxStats {
    if row.len <= S::LANES {
        return stats_of_vector(s, row, label);
    }
    let mut acc = Accumulator::new(s, label);
    row.blocks(
        s,
        #[inline(always)]
        |start, block| acc.add(start, block),
    );
    acc.finish(row.get(label))
}

/// [`stats`] of a row that fits one vector, with a single exponential.
#[inline(always)]
fn stats_of_vector<S: Simd>(s: S, row: &Row, label: usize) -> SoftmaxStats {
    let mut stats = SoftmaxStats::zeroed();
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            // SAFETY: the block is the row, no longer than a vector.
            let z = unsafe { s.load_partial(block.as_ptr(), block.len(), f32::NEG_INFINITY) };
            let max = s.reduce_max(z);
            let terms = math::exp_softmax(s, s.sub(z, s.splat(max)));
            let own = s.and(s.first_n(label + 1), s.not(s.first_n(label)));
            let rest = s.reduce_add(s.select(own, s.zero(), terms));
            // Beside the term there are only zeros.
            let own = s.reduce_add(s.select(own, terms, s.zero()));
            stats = SoftmaxStats { max, rest, own };
        },
    );
    if stats.max == f32::NEG_INFINITY {
        stats = SoftmaxStats { max: f32::NAN, rest: f32::NAN, own: f32::NAN };
    }
    stats
}
