//! Statistics of a softmax row, shared by the losses built on log p_y.

use crate::cpu::rows::{self, Row, RowOut};
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

    /// Sum less the largest term: exactly `rest` where the label has the largest logit.
    fn excess(&self) -> f32 {
        (f64::from(self.rest) + (f64::from(self.own) - 1.0)) as f32
    }

    /// -log p_y = lse - z_y, without cancellation. `below`: max - z_y.
    #[inline(always)]
    pub fn neg_log_prob<S: Simd>(&self, s: S, below: f32) -> f32 {
        below + s.reduce_max(math::ln_1p(s, s.splat(self.excess())))
    }

    /// The same where its rounding would be raised to a power.
    pub fn neg_log_prob_f64(&self, own_logit: f32) -> f64 {
        let excess = f64::from(self.rest) + (f64::from(self.own) - 1.0);
        f64::from(self.max) - f64::from(own_logit) + excess.ln_1p()
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

    /// `own_logit`: as the row's blocks had it.
    #[inline(always)]
    pub fn finish(mut self, row: &Row, own_logit: f32) -> SoftmaxStats {
        let s = self.s;
        // NaN if either is.
        let max = if self.max > own_logit || self.max.is_nan() { self.max } else { own_logit };
        if max == f32::NEG_INFINITY {
            return SoftmaxStats { max: f32::NAN, rest: f32::NAN, own: f32::NAN };
        }
        if self.about != max {
            self.refer_to(max);
        }
        row.cached.set(!row.cache.is_null());
        let own = s.reduce_max(math::exp_softmax(s, s.splat(own_logit - max)));
        SoftmaxStats { max, rest: self.rest as f32, own }
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

/// Largest logit of a row, or NaN if one is.
#[inline(always)]
pub fn row_max<S: Simd>(s: S, row: &Row) -> f32 {
    let mut max = [s.splat(f32::NEG_INFINITY); 4];
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            max = rows::fold(
                s,
                block,
                f32::NEG_INFINITY,
                max,
                #[inline(always)]
                |acc, z, _| s.max_nan(acc, z),
            );
        },
    );
    s.reduce_max(s.max_nan(s.max_nan(max[0], max[1]), s.max_nan(max[2], max[3])))
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
    acc.finish(row, row.get(label))
}

/// Stores `map(exp(z_k - max), k)` for every element of a row of plain logits; what the label's own element
/// gets is unspecified. The terms of the first sweep are used where it kept them.
#[inline(always)]
pub fn map_terms<S: Simd>(s: S, row: &Row, max: f32, out: &RowOut, map: impl Fn(S::F, usize) -> S::F) {
    if !row.cached.get() {
        let about = s.splat(max);
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
                s.splat(if about == max { 1.0 } else { (f64::from(about) - f64::from(max)).exp() as f32 });
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
            if !row.cache.is_null() {
                // SAFETY: the cache has room for a vector.
                unsafe { s.store(row.cache_at(0), terms) };
                row.set_block_value(0, max);
                row.cached.set(true);
            }
        },
    );
    if stats.max == f32::NEG_INFINITY {
        stats = SoftmaxStats { max: f32::NAN, rest: f32::NAN, own: f32::NAN };
    }
    stats
}
