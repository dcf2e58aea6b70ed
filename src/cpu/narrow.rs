//! Rows no longer than a vector: as many of them as a vector has lanes at a time, so that what follows from a
//! row's statistics is computed for all of them at once.

use crate::cpu::row::lane;
use crate::cpu::rows::{RowLoss, Sweep};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::OddsLanes;
use crate::cpu::storage::{Scratch, load_some, read_one, store_some};

/// The mathematics of a softmax loss on rows in lanes.
pub trait LaneLoss {
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>) -> RowLanes<S>;
}

pub struct RowLanes<S: Simd> {
    pub loss: S::F,
    /// The gradient is this times exp(z_k - top) ...
    pub factor: S::F,
    /// ... but for the label's own element.
    pub own: S::F,
}

/// -log p_y as such.
pub struct NegLogProb;

impl LaneLoss for NegLogProb {
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>) -> RowLanes<S> {
        RowLanes { loss: odds.neg_log_prob(s), factor: odds.share, own: s.neg(odds.others) }
    }
}

/// Lanes of the widest vector.
const WIDEST: usize = 16;

/// One value per row, and how a vector reads and writes them.
#[repr(C, align(64))]
struct Lanes([f32; WIDEST]);

impl Lanes {
    #[inline(always)]
    fn vector<S: Simd>(&self, s: S) -> S::F {
        const { assert!(S::LANES <= WIDEST) };
        // SAFETY: there is room for a vector.
        unsafe { s.load(self.0.as_ptr()) }
    }

    #[inline(always)]
    fn of<S: Simd>(s: S, v: S::F) -> Lanes {
        const { assert!(S::LANES <= WIDEST) };
        let mut lanes = Lanes([0.0; WIDEST]);
        // SAFETY: there is room for a vector.
        unsafe { s.store(lanes.0.as_mut_ptr(), v) };
        lanes
    }
}

impl<L: RowLoss> Sweep<'_, L> {
    /// Sum of the losses of `count <= LANES` rows from `first` on, and a bit for each that is left to do in the
    /// ordinary way: those with values out of the ordinary.
    #[inline(always)]
    pub fn narrow<S: Simd>(&self, s: S, loss: &impl LaneLoss, first: usize, count: usize) -> (f64, u32) {
        let (n, low) = (self.logits.columns, s.splat(f32::NEG_INFINITY));
        assert!(n <= S::LANES && count <= S::LANES && first + count <= self.labels.len());
        let mut terms = Scratch::<{ WIDEST * WIDEST }>::new();
        let terms = terms.ptr();
        // What is not filled in stays out of the ordinary.
        let [mut top, mut rest, mut own] = [const { Lanes([f32::NAN; WIDEST]) }; 3];
        let mut left = 0;
        for i in 0..count {
            let label = self.labels[first + i];
            if self.ignore_index == Some(label) {
                self.clear(first + i);
                continue;
            }
            left |= 1 << i;
            let label = label as usize;
            // SAFETY: the row and the label in it are checked.
            unsafe {
                let row = self.logits.row(first + i);
                let z = load_some(s, self.logits.dtype, row, n, f32::NEG_INFINITY);
                let z = s.select(lane(s, label), low, z);
                let saved = self.saved_in.map(|saved| &saved[3 * (first + i)..][..2]);
                top.0[i] = if let Some(saved) = saved { saved[0] } else { s.reduce_max(z) };
                let term = math::exp_softmax(s, s.sub(z, s.splat(top.0[i])));
                rest.0[i] = if let Some(saved) = saved { saved[1] } else { s.reduce_add(term) };
                own.0[i] = read_one(self.logits.dtype, row.add(label * self.logits.dtype.size()));
                s.store(terms.add(i * S::LANES), term);
            }
        }
        let odds = OddsLanes::new(s, top.vector(s), rest.vector(s), own.vector(s));
        let RowLanes { loss, factor, own: own_gradient } = loss.rows(s, &odds);
        let done = s.mask_bits(odds.ordinary);
        let losses = Lanes::of(s, loss);
        let (factor, own_gradient) = (Lanes::of(s, factor), Lanes::of(s, own_gradient));
        for i in (0..count).filter(|i| done >> i & 1 == 1) {
            let r = first + i;
            if let Some(all) = self.losses {
                all.set(r, losses.0[i]);
            }
            if let Some(saved) = self.saved_out {
                [top.0[i], rest.0[i], own.0[i]]
                    .iter()
                    .enumerate()
                    .for_each(|(k, &v)| saved.set(3 * r + k, v));
            }
            if let Some(gradients) = &self.grad_logits {
                let scale = self.scale_of(r);
                // SAFETY: row r is within the checked buffers, and only this block writes it.
                unsafe {
                    let g = s.mul(s.splat(scale * factor.0[i]), s.load(terms.add(i * S::LANES)));
                    let own = s.splat(scale * own_gradient.0[i]);
                    let g = s.select(lane(s, self.labels[r] as usize), own, g);
                    store_some(s, gradients.dtype, gradients.row(r), n, g);
                }
            }
        }
        let sum = s.d_sum(s.d_add(s.d_zero(), s.select(odds.ordinary, loss, s.zero())));
        (if self.want_loss { sum } else { 0.0 }, left & !done)
    }
}
