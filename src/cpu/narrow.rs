//! Short rows: as many of them as a vector has lanes at a time, a row in each, so that statistics, what follows
//! from them and gradients are computed for all of them at once.

mod classes;
mod entropy;
mod softmax;
mod tiles;

use crate::cpu::parallel::Cells;
use crate::cpu::reduction::Upstream;
use crate::cpu::simd::Simd;
use crate::registry::{Floats, FloatsMut};
pub use classes::Classes;
pub use entropy::{EntropyLanes, Slopes};
pub use softmax::{NegLogProb, OddsLanes, OddsLoss, OddsRows, Softmax};
use std::ops::Range;
use tiles::WIDEST;
pub use tiles::{LONGEST, Lanes, Tiles, fits};

/// The mathematics of a loss on rows in lanes, or on sets of `I` rows.
pub trait LaneLoss<const I: usize = 1> {
    /// What gradients need.
    type State<S: Simd>;

    /// `saved`: statistics as returned before, by this or by the ordinary way.
    fn rows<S: Simd>(
        &self,
        s: S,
        classes: &mut [Classes<S>; I],
        saved: Option<Stats<S>>,
    ) -> LaneRows<S, Self::State<S>>;

    /// `scale` times the gradient of class `k`, but for the label's own.
    fn gradient<S: Simd>(
        &self,
        s: S,
        state: &Self::State<S>,
        classes: &[Classes<S>; I],
        k: usize,
        scale: S::F,
    ) -> [S::F; I];

    /// What loss and gradient of a row are multiplied by, by its label; where that is not 1.
    fn weight(&self) -> Option<impl Fn(usize) -> f32> {
        None::<fn(usize) -> f32>
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

/// Of losses that have no such form.
pub enum Never {}

impl<const I: usize> LaneLoss<I> for Never {
    type State<S: Simd> = ();

    fn rows<S: Simd>(&self, _: S, _: &mut [Classes<S>; I], _: Option<Stats<S>>) -> LaneRows<S, ()> {
        match *self {}
    }

    fn gradient<S: Simd>(&self, _: S, _: &(), _: &[Classes<S>; I], _: usize, _: S::F) -> [S::F; I] {
        match *self {}
    }
}

/// What the rows of a call have in common.
pub struct Narrow<'a, const I: usize> {
    pub inputs: &'a [Floats<'a>; I],
    pub want_loss: bool,
    pub losses: Option<Cells<'a>>,
    /// How many statistics of a row are saved.
    pub saved: usize,
    pub saved_in: Option<&'a [f32]>,
    pub saved_out: Option<Cells<'a>>,
    pub upstream: &'a Upstream<'a>,
    pub gradients: [Option<&'a FloatsMut<'a>>; I],
}

/// Instead of a label.
pub const NO_LABEL: usize = LONGEST;

/// Label of a row that does not count.
const NOT_COUNTED: f32 = -1.0;

/// Rows that are done together, at most `LANES`.
pub struct Group {
    rows: Range<usize>,
    /// Whether the next row may be read, too.
    followed: bool,
    /// A bit for each that counts.
    counts: u32,
    labels: Lanes,
}

impl Group {
    /// Rows that count but for those with an ignored label.
    #[inline(always)]
    pub fn labelled<S: Simd>(
        s: S,
        rows: Range<usize>,
        followed: bool,
        labels: &[i64],
        ignored: Option<i64>,
    ) -> Group {
        let ignored = ignored.unwrap_or(-1); // no label
        let number = |label: i64| if label == ignored { NOT_COUNTED } else { label as i32 as f32 };
        let mut lanes = Lanes([NOT_COUNTED; WIDEST]);
        if labels.len() == S::LANES {
            // As many as the compiler knows.
            (0..S::LANES).for_each(|i| lanes.0[i] = number(labels[i]));
        } else {
            lanes.0.iter_mut().zip(labels).for_each(|(lane, &label)| *lane = number(label));
        }
        let counts = s.mask_bits(s.le(s.zero(), lanes.vector(s)));
        Group { rows, followed, counts, labels: lanes }
    }

    /// Rows without labels; the bits of `counts` are for those that count.
    #[inline(always)]
    pub fn unlabelled(rows: Range<usize>, followed: bool, counts: u32) -> Group {
        let number = |i: usize| if counts >> i & 1 == 1 { NO_LABEL as f32 } else { NOT_COUNTED };
        Group { rows, followed, counts, labels: Lanes(std::array::from_fn(number)) }
    }

    /// Those that do not count.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        self.rows.clone().enumerate().filter(|(i, _)| self.counts >> i & 1 == 0).map(|(_, r)| r)
    }
}

impl<const I: usize> Narrow<'_, I> {
    /// Sum of the losses of the rows of a group, and a bit for each that counts and is left to do in the ordinary
    /// way: those with values out of the ordinary.
    #[inline(always)]
    pub fn run<S: Simd, L: LaneLoss<I>>(&self, s: S, loss: &L, group: &Group) -> (f64, u32) {
        let &Group { ref rows, followed, counts, ref labels } = group;
        let (first, count) = (rows.start, rows.len());
        if counts == 0 {
            return (0.0, 0);
        }
        let mut tiles = [const { Tiles::new() }; I];
        let label = labels.vector(s);
        let weight = match loss.weight() {
            Some(weight) => {
                Lanes::collect(labels.0[..count].iter().map(|&label| weight(label as usize))).vector(s)
            }
            None => s.splat(1.0),
        };
        let n = self.inputs[0].columns;
        let mut classes = tiles.each_mut().map(|tiles| tiles.classes(n, rows.clone(), label));
        for (classes, input) in classes.iter_mut().zip(self.inputs) {
            // SAFETY: the caller's rows are within the checked buffers, which have the same shape.
            unsafe { classes.read(s, input, followed) };
        }
        let saved = match self.saved_in {
            Some(saved) => Some(self.saved(s, saved, &classes[0])),
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
        if self.gradients.iter().any(Option::is_some) {
            let scale = s.mul(weight, self.scales(s, &classes[0]));
            let own = s.mul(scale, own);
            for k in 0..n {
                let gradients = loss.gradient(s, &state, &classes, k, scale);
                for (classes, g) in classes.iter_mut().zip(gradients) {
                    classes.set(s, k, s.select(classes.is_label(s, k), own, g));
                }
            }
            for (classes, to) in classes.iter_mut().zip(self.gradients) {
                if let Some(to) = to {
                    // SAFETY: the rows are within the checked buffers, and only this block writes them.
                    unsafe { classes.write_rows(s, done, to) };
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
