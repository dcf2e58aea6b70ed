//! Short rows: as many of them as a vector has lanes at a time, a row in each, so that statistics, what follows
//! from them and gradients are computed for all of them at once.

use crate::cpu::rows::{RowLoss, Sweep};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::OddsLanes;
use crate::cpu::storage::{self, Scratch, load_typed};
use crate::registry::{DType, Floats};

/// The mathematics of a softmax loss on rows in lanes.
pub trait LaneLoss {
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>) -> RowLanes<S>;

    /// Whether `rows` reads [`OddsLanes::spread`].
    fn wants_spread(&self) -> bool {
        false
    }

    /// What loss and gradient of a row with this label are multiplied by.
    fn weight(&self, _label: usize) -> f32 {
        1.0
    }
}

pub struct RowLanes<S: Simd> {
    pub loss: S::F,
    /// The gradient is this times exp(z_k - top) ...
    pub factor: S::F,
    /// ... less this ...
    pub offset: S::F,
    /// ... but for the label's own element.
    pub own: S::F,
    /// Rows that came out as accurate as one by one.
    pub ordinary: S::M,
}

/// -log p_y as such.
pub struct NegLogProb;

impl LaneLoss for NegLogProb {
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>) -> RowLanes<S> {
        RowLanes {
            loss: odds.neg_log_prob(s),
            factor: odds.share,
            offset: s.zero(),
            own: s.neg(odds.others),
            ordinary: odds.ordinary,
        }
    }
}

/// Lanes of the widest vector.
const WIDEST: usize = 16;

/// Longest row that goes into lanes: one much longer fills vectors of its own, and an f32 sum has no use for more
/// terms.
const LONGEST: usize = 64;

/// Whether rows of `n` logits go into lanes.
pub fn fits<S: Simd>(n: usize) -> bool {
    S::LANES > 1 && n <= LONGEST
}

/// Values of `LANES` rows, one row after the other or one class after the other.
type Tile = Scratch<{ (LONGEST + 1) * WIDEST }>;

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

/// `count` rows of `n` values by class: at `k LANES`, value `k` of each.
///
/// # Safety
/// The rows are within `from`; both tiles have room for `LANES` rows of `n`, and a vector more.
#[inline(always)]
unsafe fn by_class<S: Simd>(s: S, from: &Floats, first: usize, count: usize, rows: *mut f32, tile: *mut f32) {
    let n = from.columns;
    unsafe {
        if from.stride == n || count == 1 {
            copy(s, from.dtype, from.row(first), count * n, rows);
        } else {
            // What is written beyond a row's end is the next one's.
            for i in 0..count {
                copy(s, from.dtype, from.row(first + i), n, rows.add(i * n));
            }
        }
        rows.add(count * n).write_bytes(0, (S::LANES - count) * n + S::LANES);
        for k in (0..n).step_by(S::LANES) {
            s.transpose(rows.add(k), n, tile.add(k * S::LANES), S::LANES);
        }
    }
}

/// Converts `n` values to f32.
///
/// # Safety
/// Both are in bounds, `to` with a vector more.
#[inline(always)]
unsafe fn copy<S: Simd>(s: S, dtype: DType, from: *const u8, n: usize, to: *mut f32) {
    for k in (0..n).step_by(S::LANES) {
        unsafe { s.store(to.add(k), load_typed(s, dtype, from.add(k * dtype.size()), S::LANES.min(n - k))) };
    }
}

impl<L: RowLoss> Sweep<'_, L> {
    /// Sum of the losses of `count <= LANES` rows from `first` on, and a bit for each that is left to do in the
    /// ordinary way: those with values out of the ordinary.
    #[inline(always)]
    pub fn narrow<S: Simd>(&self, s: S, loss: &impl LaneLoss, first: usize, count: usize) -> (f64, u32) {
        let (n, low) = (self.logits.columns, s.splat(f32::NEG_INFINITY));
        assert!(fits::<S>(n) && count <= S::LANES && first + count <= self.labels.len());
        let (mut rows, mut tile) = (Tile::new(), Tile::new());
        let (rows, tile) = (rows.ptr(), tile.ptr());
        let [mut labels, mut weights] = [const { Lanes([-1.0; WIDEST]) }; 2];
        let mut left = 0;
        for i in 0..count {
            let label = self.labels[first + i];
            if self.ignore_index == Some(label) {
                self.clear(first + i);
            } else {
                left |= 1 << i;
                labels.0[i] = label as f32;
                weights.0[i] = loss.weight(label as usize);
            }
        }
        if left == 0 {
            return (0.0, 0);
        }
        let class = |k: usize| tile.wrapping_add(k * S::LANES);
        let (label, weight) = (labels.vector(s), weights.vector(s));
        // SAFETY: the rows are checked; the tiles have room for the longest.
        let (mut top, mut own) = (low, s.zero());
        unsafe {
            by_class(s, &self.logits, first, count, rows, tile);
            for k in 0..n {
                let (z, is_own) = (s.load(class(k)), s.eq(label, s.splat(k as f32)));
                own = s.select(is_own, z, own);
                let z = s.select(is_own, low, z);
                top = s.max(top, z);
                s.store(class(k), z);
            }
        }
        if let Some(saved) = self.saved_in {
            top = self.saved(s, saved, first, count, 0);
        }
        let mut spread = s.zero();
        if loss.wants_spread() {
            for k in 0..n {
                // SAFETY: within the tile.
                let x = s.sub(unsafe { s.load(class(k)) }, top);
                spread = s.add(spread, s.select(s.eq(label, s.splat(k as f32)), s.zero(), x));
            }
            spread = s.add(spread, s.sub(own, top));
        }
        let mut sums = [s.zero(); 4];
        for k in (0..n).step_by(4) {
            for v in 0..4.min(n - k) {
                // SAFETY: within the tile.
                unsafe {
                    let term = math::exp_softmax(s, s.sub(s.load(class(k + v)), top));
                    sums[v] = s.add(sums[v], term);
                    s.store(class(k + v), term);
                }
            }
        }
        let rest = match self.saved_in {
            Some(saved) => self.saved(s, saved, first, count, 1),
            None => s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])),
        };
        let odds = OddsLanes::new(s, top, rest, own, spread);
        let RowLanes { loss, factor, offset, own: own_gradient, ordinary } = loss.rows(s, &odds);
        let loss = s.mul(weight, loss);
        let ordinary = s.and(ordinary, s.le(s.zero(), label));
        let done = s.mask_bits(ordinary);
        let is_done = |i: &usize| done >> *i & 1 == 1;
        if let Some(all) = self.losses {
            let losses = Lanes::of(s, loss);
            (0..count).filter(is_done).for_each(|i| all.set(first + i, losses.0[i]));
        }
        if let Some(saved) = self.saved_out {
            for (k, value) in [top, rest, own].into_iter().enumerate() {
                let values = Lanes::of(s, value);
                (0..count).filter(is_done).for_each(|i| saved.set(3 * (first + i) + k, values.0[i]));
            }
        }
        if let Some(gradients) = &self.grad_logits {
            let scale = s.mul(weight, self.scales(s, first, count));
            let [factor, offset, own] = [factor, offset, own_gradient].map(|x| s.mul(scale, x));
            // SAFETY: the rows are within the checked buffers, and only this block writes them.
            unsafe {
                for k in 0..n {
                    let g = s.sub(s.mul(factor, s.load(class(k))), offset);
                    s.store(class(k), s.select(s.eq(label, s.splat(k as f32)), own, g));
                }
                // Backwards, as what is written beyond a row's end is the next one's.
                for k in (0..n).step_by(S::LANES).rev() {
                    s.transpose(class(k), S::LANES, rows.add(k), n);
                }
                let all = done.count_ones() as usize == count && gradients.stride == n;
                let runs = if all { 0..1 } else { 0..count };
                for i in runs.filter(|i| all || is_done(i)) {
                    let (to, len) = (gradients.row(first + i), if all { count * n } else { n });
                    storage::write(s, gradients.dtype, rows.add(i * n), to, len, false);
                }
            }
        }
        let sum = s.d_sum(s.d_add(s.d_zero(), s.select(ordinary, loss, s.zero())));
        (if self.want_loss { sum } else { 0.0 }, left & !done)
    }

    /// What gradients of the rows are multiplied by.
    #[inline(always)]
    fn scales<S: Simd>(&self, s: S, first: usize, count: usize) -> S::F {
        if let Some(common) = self.upstream.common() {
            return s.splat(common as f32);
        }
        let mut lanes = Lanes([0.0; WIDEST]);
        (0..count).for_each(|i| lanes.0[i] = self.scale_of(first + i));
        lanes.vector(s)
    }

    /// Value `k` of what was saved of the rows.
    #[inline(always)]
    fn saved<S: Simd>(&self, s: S, saved: &[f32], first: usize, count: usize, k: usize) -> S::F {
        let mut lanes = Lanes([0.0; WIDEST]);
        (0..count).for_each(|i| lanes.0[i] = saved[3 * (first + i) + k]);
        lanes.vector(s)
    }
}
