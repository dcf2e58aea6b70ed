//! `average` logits: a softmax of their mean.

use super::Ensemble;
use super::lanes::LanesOfLogits;
use crate::cpu::narrow::LaneLoss;
use crate::cpu::row::{Block, Row, RowOut, fold, fold_without, map_into, short};
use crate::cpu::row_sets::RowSetLoss;
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{LARGEST, NO_LABEL, Odds};
use crate::cpu::softmax_entropy::index_of;
use crate::cpu::storage::{self, BLOCK, Scratch, read_one};
use std::ops::Range;

pub struct OfLogits<'a>(pub(super) Ensemble<'a>);

/// A class that logits are counted from, in each model by itself: what a model adds to all of them does not blur their
/// differences.
pub struct Reference {
    class: Option<usize>,
    /// Its logits in the first models; zeros without a class.
    logits: [f32; KEPT],
}

/// Logits of more models are read again.
const KEPT: usize = 32;

pub struct Averaged {
    reference: Reference,
    odds: Odds,
}

impl OfLogits<'_> {
    fn get(&self, m: usize, r: usize, k: usize) -> f32 {
        let all = &self.0;
        assert!(m < all.models && r < all.rows && k < all.classes);
        // SAFETY: within the checked buffer.
        unsafe {
            read_one(all.logits.dtype, all.logits.row(m * all.rows + r).add(k * all.logits.dtype.size()))
        }
    }

    fn reference(&self, r: usize, class: Option<usize>) -> Reference {
        let mut logits = [0.0; KEPT];
        for (m, logit) in logits.iter_mut().enumerate().take(self.0.models) {
            *logit = class.map_or(0.0, |k| self.get(m, r, k));
        }
        Reference { class, logits }
    }

    /// Mean over models of z_a - z_b.
    fn lead(&self, r: usize, a: usize, b: usize) -> f64 {
        let differences =
            (0..self.0.models).map(|m| f64::from(self.get(m, r, a)) - f64::from(self.get(m, r, b)));
        differences.sum::<f64>() / self.0.models as f64
    }

    /// Mean logits of classes `start..start + n` less that of the reference, or their exponentials.
    ///
    /// # Safety
    /// `to` has room for them in groups of four vectors.
    #[inline(always)]
    unsafe fn block<S: Simd>(
        &self,
        s: S,
        r: usize,
        (start, n): (usize, usize),
        reference: &Reference,
        exponentials: bool,
        to: *mut f32,
    ) {
        let Ensemble { models, rows, logits, .. } = self.0;
        let share = s.splat((1.0 / models as f64) as f32);
        for k in (0..n).step_by(4 * S::LANES) {
            let mut mean = [s.zero(); 4];
            for m in 0..models {
                let about = match reference.class {
                    Some(k) if m >= KEPT => self.get(m, r, k),
                    _ => reference.logits[m.min(KEPT - 1)],
                };
                let about = s.splat(about);
                // SAFETY: within the checked buffer.
                let z = unsafe {
                    let from = logits.row(m * rows + r).add((start + k) * logits.dtype.size());
                    storage::ahead(from, (4 * S::LANES).min(n - k) * logits.dtype.size());
                    Block::new(logits.dtype, from, n - k).four(s, 0, NO_LABEL, 0.0)
                };
                for v in 0..4 {
                    mean[v] = s.add(mean[v], s.sub(z[v], about));
                }
            }
            for mean in &mut mean {
                *mean = s.mul(*mean, share);
            }
            if exponentials {
                mean = s.softmax_terms(mean);
            }
            for v in 0..4 {
                // SAFETY: there is room.
                unsafe { s.store(to.add(k + v * S::LANES), mean[v]) };
            }
        }
    }
}

impl RowSetLoss<1> for OfLogits<'_> {
    type State = Averaged;

    /// One sweep: the first block gives the reference. A block with means far above it shows by its sum, and gives
    /// another.
    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, [row]: &[Row; 1]) -> Averaged {
        let label = self.0.labels[r] as usize;
        let mut scratch = Scratch::<BLOCK>::new();
        let (mut reference, mut rest) = (self.reference(r, None), 0.0);
        // Short enough for sums in f32.
        let short = short::<S>();
        for start in (0..self.0.classes).step_by(short) {
            let n = short.min(self.0.classes - start);
            // For the gradient the terms are kept: it need not read all models again.
            let to = if row.cache.is_null() { scratch.ptr() } else { row.cache_at(start) };
            let own = label.wrapping_sub(start);
            let (mut seeks, mut sought) = (reference.class.is_none(), false);
            loop {
                // SAFETY: the cache has room for the row, the scratch for a block.
                let block = unsafe {
                    self.block(s, r, (start, n), &reference, !seeks, to);
                    std::slice::from_raw_parts_mut(to, n)
                };
                if seeks {
                    (seeks, sought) = (false, true);
                    if let Some(k) = largest(s, block, own) {
                        let new = start + k;
                        if let Some(old) = reference.class {
                            let shift = (-self.lead(r, new, old)).exp();
                            rest *= shift;
                            if !row.cache.is_null() {
                                scale(s, row.cache_at(0), start, shift as f32);
                            }
                        }
                        reference = self.reference(r, Some(new));
                    }
                    continue;
                }
                let sum = fold_without(
                    s,
                    block,
                    own,
                    0.0,
                    [s.zero(); 4],
                    #[inline(always)]
                    |acc, term| s.add(acc, term),
                );
                let sum = s.reduce_add(s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3])));
                seeks = sum > LARGEST && !sought;
                if !seeks {
                    rest += f64::from(sum);
                    break;
                }
            }
        }
        let odds = match reference.class {
            Some(k) => match self.lead(r, label, k) {
                f64::INFINITY => Odds::new(s, 0.0, f32::NAN),
                lead => Odds::new(s, lead, rest as f32),
            },
            // No other class with a finite mean: the label has it all, unless there is a NaN.
            None => {
                let nan = (0..self.0.models).any(|m| !self.get(m, r, label).is_finite())
                    || (self.0.classes > 1 && !(rest < f64::INFINITY));
                Odds::new(s, 0.0, if nan { f32::NAN } else { 0.0 })
            }
        };
        Averaged { reference, odds }
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(LanesOfLogits(&self.0))
    }

    fn done_in_lanes(&self, rows: Range<usize>, left: u32) {
        self.0.spread(rows, left);
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, _r: usize, state: &Averaged) -> f32 {
        state.odds.neg_log_prob(s) as f32
    }

    /// dl/dz^m_k = (p_k - delta_ky) / models: the same for all.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &Averaged,
        [row]: &[Row; 1],
        scale_by: f32,
        _out: &[Option<RowOut>; 1],
    ) {
        let Ensemble { models, rows, classes, labels, ref gradients, stream, .. } = self.0;
        let Some(gradients) = gradients else { return };
        let factor = f64::from(scale_by) / models as f64;
        let mut scratch = Scratch::<BLOCK>::new();
        let cached = !row.cache.is_null();
        // A row at a time if it is there, or a block.
        let n = if cached { classes } else { BLOCK };
        for start in (0..classes).step_by(n) {
            let n = n.min(classes - start);
            // SAFETY: the cache holds the row, the scratch a block.
            let block = unsafe {
                let from = if cached { row.cache_at(0) } else { scratch.ptr() };
                if !cached {
                    self.block(s, r, (start, n), &state.reference, true, from);
                }
                scale(s, from, n, (factor * state.odds.share) as f32);
                std::slice::from_raw_parts_mut(from, n)
            };
            if let Some(own) = block.get_mut((labels[r] as usize).wrapping_sub(start)) {
                *own = (-factor * state.odds.others) as f32;
            }
            for m in 0..models {
                // SAFETY: within rows that only the block with sample r writes.
                unsafe {
                    let to = gradients.row(m * rows + r).add(start * gradients.dtype.size());
                    storage::write(s, gradients.dtype, block.as_ptr(), to, n, stream);
                }
            }
        }
        s.fence();
    }
}

/// Multiplies `n` values.
#[inline(always)]
fn scale<S: Simd>(s: S, values: *mut f32, n: usize, factor: f32) {
    let factor = s.splat(factor);
    // SAFETY: the caller's.
    unsafe {
        map_into(
            s,
            values,
            values,
            n,
            #[inline(always)]
            |x, _| s.mul(factor, x),
        );
    }
}

/// Where the largest value of a block is but for element `own`, which is lost; none if there is nothing but -inf. One
/// of the others may be NaN.
#[inline(always)]
fn largest<S: Simd>(s: S, block: &mut [f32], own: usize) -> Option<usize> {
    if let Some(own) = block.get_mut(own) {
        *own = f32::NEG_INFINITY;
    }
    let low = f32::NEG_INFINITY;
    let top = fold(
        s,
        block,
        low,
        [s.splat(low); 4],
        #[inline(always)]
        |top, z, _| s.max(top, z),
    );
    let top = s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])));
    // SAFETY: the block, which is read in place.
    let block = unsafe { Row::of_floats(block.as_ptr(), block.len(), std::ptr::null_mut()) };
    let at = index_of(s, &block, top, 0);
    (top > low && at < block.len).then_some(at)
}
