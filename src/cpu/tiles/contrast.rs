//! Losses of anchors against a softmax of similarities in which one element, the positive, is theirs.
//!
//! The positive is kept out of the sums: with rest = log sum_{j != positive} exp(S_ij) and own = S_i,positive the
//! loss is softplus(rest - own) and 1 - p_positive = sigmoid(rest - own), exact where p is nearly 1.

use super::{LogSums, Side, Similarities, Tile, Tiles, Visit, softmax_weights};
use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::Simd;
use crate::cpu::workspace::{Size, Workspace};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    /// The rows are the anchors.
    Rows,
    /// Rows, then columns.
    Both,
    /// The rows of a symmetric matrix without its diagonal.
    Mirror,
}

/// `positive(row)` is the column of a row's positive; with columns as anchors, every column has one row.
pub struct Contrast<'a, P> {
    similarities: Similarities<'a>,
    directions: Directions,
    rows: usize,
    positive: P,
}

/// What the forward sweep leaves for the gradients: `rest` by anchor and `own` by row, as f32. The entry's `saved`
/// is one after the other.
pub struct Kept<'a> {
    rest: &'a mut [f32],
    own: &'a mut [f32],
    /// From an earlier call.
    restored: bool,
    /// Tiles, with -inf for the positives.
    tiles: Option<Tiles<'a>>,
}

impl<'a> Kept<'a> {
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    pub fn save(&self, to: &mut [f32]) {
        let (rest, own) = to.split_at_mut(self.rest.len());
        rest.copy_from_slice(self.rest);
        own.copy_from_slice(self.own);
    }

    pub fn own(&self) -> &[f32] {
        self.own
    }
}

/// An anchor after the forward sweep.
pub struct Anchor {
    pub rest: f64,
    pub own: f64,
}

impl Anchor {
    /// lse - own.
    pub fn loss(&self) -> f64 {
        let gap = self.rest - self.own;
        if gap > 0.0 { gap + (-gap).exp().ln_1p() } else { gap.exp().ln_1p() }
    }

    pub fn log_sum(&self) -> f64 {
        self.own + self.loss()
    }

    /// 1 - p_positive.
    fn others(&self) -> f64 {
        1.0 / (1.0 + (self.own - self.rest).exp())
    }
}

/// The workspace of [`Kept`] and both sweeps, for n rows against m columns.
pub fn contrast_size(size: Size, directions: Directions, n: u64, m: u64, d: u64) -> Size {
    let anchors = if directions == Directions::Both { n.saturating_mul(2) } else { n };
    let columns = (directions != Directions::Mirror).then_some(m);
    let size = Similarities::tiles_size(size, n, columns, d);
    let size = LogSums::size(size, anchors, false).add::<f32>(anchors).add::<f32>(n);
    size.add::<f32>(anchors).add::<f32>(anchors).add::<f32>(anchors)
}

impl<'a, P: Fn(usize) -> usize + Sync> Contrast<'a, P> {
    pub fn new(
        similarities: Similarities<'a>,
        directions: Directions,
        rows: usize,
        positive: P,
    ) -> Contrast<'a, P> {
        Contrast { similarities, directions, rows, positive }
    }

    /// Room for what the forward sweep finds out, or what an earlier call saved of it; `gradients`: whether these
    /// will be wanted.
    pub fn keep<'w>(&self, saved: Option<&[f32]>, gradients: bool, work: &mut Workspace<'w>) -> Kept<'w> {
        let anchors = if self.directions == Directions::Both { 2 * self.rows } else { self.rows };
        let (rest, own) = (work.take(anchors, 0.0), work.take(self.rows, 0.0));
        if let Some(saved) = saved {
            rest.copy_from_slice(&saved[..anchors]);
            own.copy_from_slice(&saved[anchors..]);
        }
        let restored = saved.is_some();
        let tiles = if gradients && !restored { self.similarities.tiles(work) } else { None };
        Kept { rest, own, restored, tiles }
    }

    /// Fills `kept`, and returns the sum of `loss(i, anchor)` over the anchors.
    pub fn forward(
        &self,
        cpu: &Cpu,
        kept: &mut Kept,
        work: &mut Workspace,
        loss: &(dyn Fn(usize, &Anchor) -> f64 + Sync),
    ) -> f64 {
        let anchors = kept.rest.len();
        let sums = LogSums::new(anchors, false, work);
        let (rest, own) = (Cells::new(kept.rest), Cells::new(kept.own));
        self.similarities.sweep(cpu, kept.tiles, &Statistics { contrast: self, sums: &sums, own });
        let blocks = Blocks::new(anchors, 1024, 1);
        cpu.sum(blocks.count, anchors * 256, &|block| {
            let mut total = 0.0;
            for i in blocks.range(block) {
                let anchor = Anchor { rest: sums.log_sum(i), own: f64::from(own.get(self.row_of(i))) };
                rest.set(i, anchor.rest as f32);
                total += loss(i, &anchor);
            }
            total
        })
    }

    /// Row that has the positive similarity of anchor `i`.
    fn row_of(&self, i: usize) -> usize {
        // A column's own is its row's, and columns as anchors pair with the rows of the same number.
        if self.directions == Directions::Both && i >= self.rows { i - self.rows } else { i }
    }

    /// Adds the gradients, but for the factor alpha: `scale(i)` is the upstream gradient of anchor `i`, and
    /// `smoothing` what each S_ij is encouraged by beside the positive, in the share of the positive's weight
    /// that it takes.
    pub fn gradients(
        &self,
        cpu: &Cpu,
        kept: &Kept,
        work: &mut Workspace,
        scale: &dyn Fn(usize) -> f32,
        smoothing: Smoothing,
        (grad_a, grad_b): (Option<&mut [f32]>, Option<&mut [f32]>),
    ) {
        let anchors = kept.rest.len();
        let log_sums = work.take(anchors, 0.0f32);
        let weights = work.take(anchors, 0.0f32);
        let pulls = work.take(anchors, 0.0f32);
        for i in 0..anchors {
            let anchor = Anchor { rest: f64::from(kept.rest[i]), own: f64::from(kept.own[self.row_of(i)]) };
            let weight = scale(i);
            log_sums[i] = anchor.log_sum() as f32;
            weights[i] = weight;
            pulls[i] = (f64::from(weight) * (anchor.others() - smoothing.taken)) as f32;
        }
        let visit = Weights { contrast: self, log_sums, weights, pulls, shift: smoothing.each };
        self.similarities.gradients(cpu, kept.tiles, &visit, grad_a, grad_b);
    }
}

/// Label smoothing: the positive's share of the target is less by `taken`, and every element's weight by `each`.
#[derive(Clone, Copy, Default)]
pub struct Smoothing {
    pub taken: f64,
    pub each: f32,
}

struct Statistics<'a, 'b, P> {
    contrast: &'a Contrast<'a, P>,
    sums: &'a LogSums<'b>,
    own: Cells<'b>,
}

impl<P: Fn(usize) -> usize + Sync> Visit for Statistics<'_, '_, P> {
    #[inline(always)]
    fn visit<S: Simd>(&self, s: S, tile: &Tile) {
        let c = self.contrast;
        c.take_positives(
            tile,
            #[inline(always)]
            |row, _, value| self.own.set(row, value),
        );
        let columns = match c.directions {
            Directions::Both => Some((self.sums, c.rows)),
            Directions::Mirror if !is_diagonal(tile) => Some((self.sums, 0)),
            _ => None,
        };
        LogSums::add_tile(s, tile, self.sums, columns);
    }
}

fn is_diagonal(tile: &Tile) -> bool {
    tile.rows.start == tile.columns.start
}

impl<P: Fn(usize) -> usize + Sync> Contrast<'_, P> {
    /// Replaces the positives of a tile by -inf, and the diagonal of a symmetric matrix. `taken` gets row, column
    /// and value; for a symmetric matrix, of the mirrored place, too.
    #[inline(always)]
    fn take_positives(&self, tile: &Tile, taken: impl Fn(usize, usize, f32)) {
        for row in tile.rows.clone() {
            let column = (self.positive)(row);
            if tile.columns.contains(&column) {
                let value = tile.replace(row, column, f32::NEG_INFINITY);
                taken(row, column, value);
                if self.directions == Directions::Mirror && !is_diagonal(tile) {
                    taken(column, row, value);
                }
            }
            if self.directions == Directions::Mirror && is_diagonal(tile) {
                tile.replace(row, row, f32::NEG_INFINITY);
            }
        }
    }
}

struct Weights<'a, P> {
    contrast: &'a Contrast<'a, P>,
    log_sums: &'a [f32],
    weights: &'a [f32],
    pulls: &'a [f32],
    shift: f32,
}

impl<P: Fn(usize) -> usize + Sync> Visit for Weights<'_, P> {
    #[inline(always)]
    fn visit<S: Simd>(&self, s: S, tile: &Tile) {
        let c = self.contrast;
        c.take_positives(
            tile,
            #[inline(always)]
            |_, _, _| (),
        );
        let side = |first: usize| Side { log_sums: &self.log_sums[first..], weights: &self.weights[first..] };
        let columns = match c.directions {
            Directions::Rows => None,
            Directions::Both => Some(side(c.rows)),
            Directions::Mirror => Some(side(0)),
        };
        softmax_weights(s, tile, side(0), columns, self.shift);
        for row in tile.rows.clone() {
            let column = (c.positive)(row);
            if tile.columns.contains(&column) {
                let other = match c.directions {
                    Directions::Rows => 0.0,
                    Directions::Both => self.pulls[c.rows + column],
                    Directions::Mirror => self.pulls[column],
                };
                tile.replace(row, column, -(self.pulls[row] + other) - self.shift);
            }
        }
    }
}
