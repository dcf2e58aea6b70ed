//! Statistics of a softmax row, shared by the losses built on log p_y.

use crate::cpu::rows::{self, Row, RowOut};
use crate::cpu::simd::{Simd, math};
use bytemuck::{Pod, Zeroable};

/// Kept apart so that neither 1 - p_y nor log p_y near 0 suffers from cancellation, and taken about the
/// largest of the other logits: about the label's own, a confident row's terms would be small differences
/// of large numbers.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SoftmaxStats {
    /// Largest logit other than the label's.
    pub top: f32,
    /// Sum over k other than the label of exp(z_k - top).
    pub rest: f32,
    /// The label's logit.
    pub own: f32,
}

impl SoftmaxStats {
    /// With what makes rows without another finite logit, or with an infinite one, come out right.
    fn new(top: f32, rest: f64, own: f32) -> Self {
        if top == f32::NEG_INFINITY {
            return SoftmaxStats { top: own, rest: 0.0, own };
        }
        let rest = if own == f32::INFINITY { f32::NAN } else { rest as f32 };
        SoftmaxStats { top, rest, own }
    }

    pub fn odds(&self) -> Odds {
        Odds::new(f64::from(self.own) - f64::from(self.top), self.rest)
    }
}

/// The label against the rest of a row.
pub struct Odds {
    lead: f64,
    rest: f64,
    /// exp(-|lead|).
    decay: f64,
}

impl Odds {
    /// `lead`: the label's logit less the largest other one; `rest` as in [`SoftmaxStats`].
    pub fn new(lead: f64, rest: f32) -> Self {
        Odds { lead, rest: f64::from(rest), decay: (-lead.abs()).exp() }
    }

    /// -log p_y as the sum of a part that may be large and ln(1 + x) of this x.
    fn parts(&self) -> (f64, f64) {
        if self.lead > 0.0 {
            (0.0, self.rest * self.decay)
        } else {
            (-self.lead, (self.rest - 1.0) + self.decay)
        }
    }

    /// -log p_y = lse - z_y to f32's accuracy.
    #[inline(always)]
    pub fn neg_log_prob<S: Simd>(&self, s: S) -> f64 {
        let (large, x) = self.parts();
        large + f64::from(s.reduce_max(math::ln_1p(s, s.splat(x as f32))))
    }

    /// The same where its rounding would be raised to a power.
    pub fn neg_log_prob_f64(&self) -> f64 {
        let (large, x) = self.parts();
        large + x.ln_1p()
    }

    /// lse less the largest other logit.
    #[inline(always)]
    pub fn log_sum<S: Simd>(&self, s: S) -> f64 {
        let above = if self.lead > 0.0 { self.lead } else { 0.0 };
        above + f64::from(s.reduce_max(math::ln_1p(s, s.splat(self.parts().1 as f32))))
    }

    /// p_y and 1 - p_y.
    pub fn probabilities(&self) -> (f64, f64) {
        if self.lead > 0.0 {
            let x = self.rest * self.decay;
            (1.0 / (1.0 + x), x / (1.0 + x))
        } else {
            let sum = self.rest + self.decay;
            (self.decay / sum, self.rest / sum)
        }
    }

    /// What makes exp(z_k - top) the probability of another class.
    pub fn share(&self) -> f64 {
        if self.rest == 0.0 { 0.0 } else { self.probabilities().1 / self.rest }
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
    pub fn add(&mut self, row: &Row, start: usize, block: &[f32]) {
        let own = self.label.wrapping_sub(start);
        if self.about == f32::NEG_INFINITY {
            self.refer_to(block_max(self.s, block, own));
        }
        let terms = if row.cache.is_null() { std::ptr::null_mut() } else { row.cache_at(start) };
        let (mut top, mut sum) = self.sweep(block, own, terms);
        if top > self.about + HEADROOM {
            self.refer_to(top);
            (top, sum) = self.sweep(block, own, terms);
        }
        if !terms.is_null() {
            row.set_block_value(start, self.about);
        }
        // Also when it is NaN.
        self.max = if top <= self.max { self.max } else { top };
        self.rest += f64::from(sum);
    }

    fn refer_to(&mut self, about: f32) {
        if self.rest != 0.0 {
            self.rest *= f64::from(self.about - about).exp();
        }
        self.about = about;
    }

    /// Largest logit and sum of exponentials of a block, without the label's.
    #[inline(always)]
    fn sweep(&self, block: &[f32], own: usize, terms: *mut f32) -> (f32, f32) {
        let s = self.s;
        if self.about == f32::NEG_INFINITY {
            if !terms.is_null() {
                // SAFETY: the cache has room for the block.
                unsafe { terms.write_bytes(0, block.len()) };
            }
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
            |(top, sum), z, k| {
                let term = math::exp_softmax(s, s.sub(z, about));
                if !terms.is_null() {
                    // SAFETY: the cache has room for the block, rounded up to whole vectors.
                    unsafe { s.store(terms.add(k), term) };
                }
                (s.max(top, z), s.add(sum, term))
            },
        );
        let top = s.max(s.max(acc[0].0, acc[1].0), s.max(acc[2].0, acc[3].0));
        let sum = s.add(s.add(acc[0].1, acc[1].1), s.add(acc[2].1, acc[3].1));
        (s.reduce_max(top), s.reduce_add(sum))
    }

    #[inline(always)]
    pub fn finish(mut self, row: &Row) -> SoftmaxStats {
        if self.about != self.max {
            self.refer_to(self.max);
        }
        row.cached.set(!row.cache.is_null());
        SoftmaxStats::new(self.max, self.rest, row.get(self.label))
    }
}

/// Largest value of a block without element `own`. A NaN may get lost; the sums find it.
#[inline(always)]
fn block_max<S: Simd>(s: S, block: &[f32], own: usize) -> f32 {
    let low = s.splat(f32::NEG_INFINITY);
    let top = rows::fold_without(
        s,
        block,
        own,
        f32::NEG_INFINITY,
        [low; 4],
        #[inline(always)]
        |acc, z, _| s.max(acc, z),
    );
    s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])))
}

/// Largest logit of a row other than the label's. A NaN may get lost; the sums find it.
#[inline(always)]
pub fn row_top<S: Simd>(s: S, row: &Row, label: usize) -> f32 {
    let mut top = f32::NEG_INFINITY;
    row.blocks(
        s,
        #[inline(always)]
        |start, block| top = top.max(block_max(s, block, label.wrapping_sub(start))),
    );
    top
}

/// Sum of exp(x) over a block of x <= 0 without element `own`.
#[inline(always)]
pub fn sum_of_terms<S: Simd>(s: S, block: &[f32], own: usize) -> f64 {
    let sum = rows::fold_without(
        s,
        block,
        own,
        f32::NEG_INFINITY,
        [s.zero(); 4],
        #[inline(always)]
        |acc, x, _| s.add(acc, math::exp_softmax(s, x)),
    );
    f64::from(s.reduce_add(s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3]))))
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
        |start, block| acc.add(row, start, block),
    );
    acc.finish(row)
}

/// Stores `map(exp(z_k - top), k)` for every element of a row of plain logits; what the label's own element
/// gets is unspecified. The terms of the first sweep are used where it kept them.
#[inline(always)]
pub fn map_terms<S: Simd>(s: S, row: &Row, top: f32, out: &RowOut, map: impl Fn(S::F, usize) -> S::F) {
    if !row.cached.get() {
        let about = s.splat(top);
        row.map_to(
            s,
            out,
            #[inline(always)]
            |z, k| map(math::exp_softmax(s, s.sub(z, about)), k),
        );
        return;
    }
    out.blocks(
        s,
        row.len,
        #[inline(always)]
        |start, n, target| {
            let about = row.block_value(start);
            let factor =
                s.splat(if about == top { 1.0 } else { (f64::from(about) - f64::from(top)).exp() as f32 });
            // SAFETY: the first sweep filled the cache of the row.
            unsafe {
                rows::map_into(
                    s,
                    row.cache_at(start),
                    target,
                    n,
                    #[inline(always)]
                    |term, k| map(s.mul(factor, term), start + k),
                );
            }
        },
    );
}

/// Stores `weight exp(z_k - top)`: the gradient of a softmax loss but for the label's own element.
#[inline(always)]
pub fn write_terms<S: Simd>(s: S, row: &Row, top: f32, out: &RowOut, weight: f64) {
    if weight.abs() <= f64::from(f32::MAX) || !weight.is_finite() {
        let weight = s.splat(weight as f32);
        map_terms(
            s,
            row,
            top,
            out,
            #[inline(always)]
            |term, _| s.mul(weight, term),
        );
        return;
    }
    // Too large for one factor, though not for the products; and a term of 0 must not meet an infinity.
    let root = weight.abs().sqrt();
    let (first, second) = (s.splat(root as f32), s.splat((weight / root) as f32));
    map_terms(
        s,
        row,
        top,
        out,
        #[inline(always)]
        |term, _| s.select(s.eq(term, s.zero()), s.zero(), s.mul(s.mul(first, term), second)),
    );
}

/// [`stats`] of a row that fits one vector.
#[inline(always)]
fn stats_of_vector<S: Simd>(s: S, row: &Row, label: usize) -> SoftmaxStats {
    let mut stats = SoftmaxStats::zeroed();
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            let low = s.splat(f32::NEG_INFINITY);
            // SAFETY: the block is the row, no longer than a vector.
            let z = unsafe { s.load_partial(block.as_ptr(), block.len(), f32::NEG_INFINITY) };
            let own = s.and(s.first_n(label + 1), s.not(s.first_n(label)));
            let z = s.select(own, low, z);
            let top = s.reduce_max(z);
            let terms = math::exp_softmax(s, s.sub(z, s.splat(top)));
            stats = SoftmaxStats::new(top, f64::from(s.reduce_add(terms)), row.get(label));
            if !row.cache.is_null() {
                // SAFETY: the cache has room for a vector.
                unsafe { s.store(row.cache_at(0), terms) };
                row.set_block_value(0, top);
                row.cached.set(true);
            }
        },
    );
    stats
}
