//! Short rows: as many of them as a vector has lanes at a time, a row in each, so that statistics, what follows
//! from them and gradients are computed for all of them at once.

mod entropy;
mod softmax;

use crate::cpu::parallel::Cells;
use crate::cpu::reduction::Upstream;
use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, Scratch, load_typed};
use crate::registry::{DType, Floats, FloatsMut};
pub use entropy::{EntropyLanes, Slopes};
pub use softmax::{NegLogProb, OddsLanes, OddsLoss, OddsRows, Softmax};
use std::ops::Range;

/// The mathematics of a loss on rows in lanes.
pub trait LaneLoss {
    /// What gradients need.
    type State<S: Simd>;

    /// `saved`: statistics as returned before, by this or by the ordinary way.
    fn rows<S: Simd>(
        &self,
        s: S,
        classes: &mut Classes<S>,
        saved: Option<Stats<S>>,
    ) -> LaneRows<S, Self::State<S>>;

    /// `scale` times the gradient of class `k`, but for the label's own.
    fn gradient<S: Simd>(
        &self,
        s: S,
        state: &Self::State<S>,
        classes: &Classes<S>,
        k: usize,
        scale: S::F,
    ) -> S::F;

    /// What loss and gradient of a row with this label are multiplied by.
    fn weight(&self, _label: usize) -> f32 {
        1.0
    }
}

/// Statistics of the rows, in the order of a row's; those beyond its number are not saved.
pub type Stats<S> = [<S as Simd>::F; MOST_STATS];

const MOST_STATS: usize = 4;

pub struct LaneRows<S: Simd, T> {
    pub stats: Stats<S>,
    pub loss: S::F,
    /// Gradient of the label's own logit.
    pub own: S::F,
    /// Rows that came out as accurate as one by one.
    pub ordinary: S::M,
    pub state: T,
}

/// The rows by class: for each class one vector, at first of logits, and room for another.
pub struct Classes<S: Simd> {
    values: *mut f32,
    terms: *mut f32,
    pub len: usize,
    /// Of each row; not the number of a class if there is none.
    pub label: S::F,
    rows: Range<usize>,
}

impl<S: Simd> Classes<S> {
    #[inline(always)]
    pub fn get(&self, s: S, k: usize) -> S::F {
        assert!(k < self.len);
        // SAFETY: a vector of the tile, which is whole.
        unsafe { s.load(self.values.add(k * S::LANES)) }
    }

    #[inline(always)]
    pub fn set(&mut self, s: S, k: usize, value: S::F) {
        assert!(k < self.len);
        // SAFETY: as above.
        unsafe { s.store(self.values.add(k * S::LANES), value) }
    }

    /// What [`Classes::set_term`] put there.
    #[inline(always)]
    pub fn term(&self, s: S, k: usize) -> S::F {
        assert!(k < self.len);
        // SAFETY: as above.
        unsafe { s.load(self.terms.add(k * S::LANES)) }
    }

    #[inline(always)]
    pub fn set_term(&mut self, s: S, k: usize, value: S::F) {
        assert!(k < self.len);
        // SAFETY: as above.
        unsafe { s.store(self.terms.add(k * S::LANES), value) }
    }

    /// Sums over the classes, `step` adding to them those of one class. Rather than one long chain of roundings there
    /// are four short ones at a time.
    #[inline(always)]
    pub fn sums<const N: usize>(
        &mut self,
        s: S,
        mut step: impl FnMut(&mut Self, usize, [S::F; N]) -> [S::F; N],
    ) -> [S::F; N] {
        let mut totals = [s.zero(); N];
        for start in (0..self.len).step_by(16) {
            let end = self.len.min(start + 16);
            let mut sums = [[s.zero(); N]; 4];
            for k in (start..end).step_by(4) {
                for v in 0..4.min(end - k) {
                    sums[v] = step(self, k + v, sums[v]);
                }
            }
            for (i, total) in totals.iter_mut().enumerate() {
                let sum = s.add(s.add(sums[0][i], sums[1][i]), s.add(sums[2][i], sums[3][i]));
                *total = s.add(*total, sum);
            }
        }
        totals
    }

    /// One value per row, by its number in the call.
    #[inline(always)]
    pub fn by_row(&self, s: S, value: impl Fn(usize) -> f32) -> S::F {
        Lanes::collect(self.rows.clone().map(value)).vector(s)
    }

    /// The values row by row.
    #[inline(always)]
    fn into_rows(self, s: S) -> *const f32 {
        // Backwards, as what is written beyond a row's end is the next one's.
        for k in (0..self.len).step_by(S::LANES).rev() {
            // SAFETY: whole tiles.
            unsafe { s.transpose(self.values.add(k * S::LANES), S::LANES, self.terms.add(k), self.len) };
        }
        self.terms
    }

    /// Rows of which class `k` is the label.
    #[inline(always)]
    pub fn is_label(&self, s: S, k: usize) -> S::M {
        s.eq(self.label, s.splat(k as f32))
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

/// Room for rows and what is made of them.
pub struct Tiles {
    rows: Tile,
    classes: Tile,
}

impl Tiles {
    pub fn new() -> Tiles {
        Tiles { rows: Tile::new(), classes: Tile::new() }
    }

    /// `count` rows by class.
    ///
    /// # Safety
    /// They are within `from`.
    #[inline(always)]
    pub unsafe fn classes<S: Simd>(
        &mut self,
        s: S,
        from: &Floats,
        rows: Range<usize>,
        label: S::F,
    ) -> Classes<S> {
        assert!(fits::<S>(from.columns) && rows.len() <= S::LANES);
        let (terms, values) = (self.rows.ptr(), self.classes.ptr());
        // SAFETY: the tiles have room for the longest.
        unsafe { by_class(s, from, rows.start, rows.len(), terms, values) };
        Classes { values, terms, len: from.columns, label, rows }
    }
}

/// One value per row, and how a vector reads and writes them.
#[repr(C, align(64))]
pub struct Lanes(pub [f32; WIDEST]);

impl Lanes {
    /// Zeros where there are less values.
    #[inline(always)]
    fn collect(values: impl Iterator<Item = f32>) -> Lanes {
        let mut lanes = Lanes([0.0; WIDEST]);
        lanes.0.iter_mut().zip(values).for_each(|(lane, value)| *lane = value);
        lanes
    }

    #[inline(always)]
    fn vector<S: Simd>(&self, s: S) -> S::F {
        const { assert!(S::LANES <= WIDEST) };
        // SAFETY: there is room for a vector.
        unsafe { s.load(self.0.as_ptr()) }
    }

    #[inline(always)]
    pub fn of<S: Simd>(s: S, v: S::F) -> Lanes {
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

/// What the rows of a call have in common.
pub struct Narrow<'a> {
    pub logits: &'a Floats<'a>,
    pub want_loss: bool,
    pub losses: Option<Cells<'a>>,
    /// How many statistics of a row are saved.
    pub saved: usize,
    pub saved_in: Option<&'a [f32]>,
    pub saved_out: Option<Cells<'a>>,
    pub upstream: &'a Upstream<'a>,
    pub gradients: Option<&'a FloatsMut<'a>>,
}

/// Instead of a label.
pub const NO_LABEL: usize = LONGEST;

/// Label of a row that does not count.
const NOT_COUNTED: f32 = -1.0;

/// Rows that are done together, `count <= LANES` from `first` on.
pub struct Group {
    first: usize,
    count: usize,
    /// A bit for each that counts.
    counts: u32,
    labels: Lanes,
    weights: Lanes,
}

impl Group {
    pub fn new(first: usize, count: usize) -> Group {
        let (labels, weights) = (Lanes([NOT_COUNTED; WIDEST]), Lanes([0.0; WIDEST]));
        Group { first, count, counts: 0, labels, weights }
    }

    /// Has row `i` of the group count.
    #[inline(always)]
    pub fn add(&mut self, i: usize, label: usize, weight: f32) {
        self.labels.0[i] = label as f32;
        self.weights.0[i] = weight;
        self.counts |= 1 << i;
    }
}

impl Narrow<'_> {
    /// Sum of the losses of the rows of a group, and a bit for each that counts and is left to do in the ordinary
    /// way: those with values out of the ordinary.
    #[inline(always)]
    pub fn run<S: Simd, L: LaneLoss>(&self, s: S, loss: &L, group: &Group) -> (f64, u32) {
        let &Group { first, count, counts, ref labels, ref weights } = group;
        if counts == 0 {
            return (0.0, 0);
        }
        let mut tiles = Tiles::new();
        let (label, weight) = (labels.vector(s), weights.vector(s));
        // SAFETY: the caller's rows are within the checked buffers.
        let mut classes = unsafe { tiles.classes(s, self.logits, first..first + count, label) };
        let saved = match self.saved_in {
            Some(saved) => Some(self.saved(s, saved, &classes)),
            None => None,
        };
        let LaneRows { stats, loss: losses, own, ordinary, state } = loss.rows(s, &mut classes, saved);
        let losses = s.mul(weight, losses);
        let done = s.mask_bits(ordinary) & counts;
        let is_done = |i: &usize| done >> *i & 1 == 1;
        if let Some(all) = self.losses {
            let losses = Lanes::of(s, losses);
            (0..count).filter(is_done).for_each(|i| all.set(first + i, losses.0[i]));
        }
        if let Some(saved) = self.saved_out {
            for (k, value) in stats.into_iter().take(self.saved).enumerate() {
                let values = Lanes::of(s, value);
                (0..count).filter(is_done).for_each(|i| saved.set(self.saved * (first + i) + k, values.0[i]));
            }
        }
        if let Some(gradients) = self.gradients {
            let scale = s.mul(weight, self.scales(s, &classes));
            let (n, own) = (classes.len, s.mul(scale, own));
            for k in 0..n {
                let g = loss.gradient(s, &state, &classes, k, scale);
                classes.set(s, k, s.select(classes.is_label(s, k), own, g));
            }
            let rows = classes.into_rows(s);
            // SAFETY: the rows are within the checked buffers, and only this block writes them.
            unsafe {
                let all = done.count_ones() as usize == count && gradients.stride == n;
                let runs = if all { 0..1 } else { 0..count };
                for i in runs.filter(|i| all || is_done(i)) {
                    let (to, len) = (gradients.row(first + i), if all { count * n } else { n });
                    storage::write(s, gradients.dtype, rows.add(i * n), to, len, false);
                }
            }
        }
        let mut sum = 0.0;
        if self.want_loss {
            let counted = s.and(ordinary, s.le(s.zero(), label));
            sum = s.d_sum(s.d_add(s.d_zero(), s.select(counted, losses, s.zero())));
        }
        (sum, counts & !done)
    }

    /// What gradients of the rows are multiplied by.
    #[inline(always)]
    fn scales<S: Simd>(&self, s: S, classes: &Classes<S>) -> S::F {
        match self.upstream.common() {
            Some(common) => s.splat(common as f32),
            None => classes.by_row(s, |r| self.upstream.of(r) as f32),
        }
    }

    /// What was saved of the rows.
    #[inline(always)]
    fn saved<S: Simd>(&self, s: S, saved: &[f32], classes: &Classes<S>) -> Stats<S> {
        let mut stats = [s.zero(); MOST_STATS];
        for (k, stats) in stats.iter_mut().enumerate().take(self.saved) {
            *stats = classes.by_row(s, |r| saved[self.saved * r + k]);
        }
        stats
    }
}
