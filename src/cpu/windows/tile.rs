//! One tile of a plane: its pixels are those whose gradient it computes, and the positions it counts those
//! whose window begins in it.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use super::filter::{self, PAD};
use super::{Gradient, Grid, Images, Moments, SIDE, WindowLoss};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, BLOCK, Scratch, load_lanes};
use crate::registry::Floats;
use std::ops::Range;

/// Rows of values beside the rings.
const ROWS: usize = 10;

/// Values of a row, with room for a window beyond its end.
fn row_len(window: usize, width: usize) -> usize {
    (SIDE.min(width) + 2 * window).next_multiple_of(PAD) + PAD
}

/// Values of scratch that a tile needs: two rings of at most four maps, and rows.
pub fn slot_len(window: usize, width: usize) -> u64 {
    let rows = 8 * window as u64 + ROWS as u64;
    rows.saturating_mul(row_len(window, width) as u64)
}

/// Some of the tiles, one after the other in the same scratch.
pub struct Lane<'a, L, T> {
    pub loss: &'a L,
    pub images: &'a Images<'a>,
    pub grid: Grid,
    pub weights: &'a [f32],
    pub slot: *mut f32,
    pub tiles: T,
    pub gradients: [Option<Gradient<'a>>; 2],
    pub factor: &'a (dyn Fn(usize) -> f32 + Sync),
    pub sums: Cells<'a, f64>,
}

impl<L: WindowLoss, T: Iterator<Item = usize>> Kernel for Lane<'_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Lane { loss, images, grid, weights, slot, tiles, gradients, factor, sums } = self;
        let stride = row_len(images.window, images.width);
        // SAFETY: the slot is this long; rows are read a little beyond what was written.
        unsafe { slot.write_bytes(0, slot_len(images.window, images.width) as usize) };
        for index in tiles {
            let plane = index / grid.per_plane();
            let (rows, columns) = grid.tile(index % grid.per_plane());
            let tile =
                Tile { s, loss, images, weights, slot, stride, plane, rows, columns, factor: factor(plane) };
            let sum = match gradients {
                [None, None] => tile.sweep::<2, 0>([]),
                [Some(one), None] | [None, Some(one)] => tile.sweep::<3, 1>([one]),
                [Some(one), Some(two)] => tile.sweep::<4, 2>([one, two]),
            };
            sums.set(index, sum);
        }
    }
}

struct Tile<'a, S: Simd, L> {
    s: S,
    loss: &'a L,
    images: &'a Images<'a>,
    weights: &'a [f32],
    slot: *mut f32,
    stride: usize,
    plane: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    factor: f32,
}

/// What is taken from the pixels: x and y for their sum, and their difference.
struct Center {
    x: f32,
    y: f32,
    difference: f32,
}

impl<S: Simd, L: WindowLoss> Tile<'_, S, L> {
    /// Scratch: the two rings, then rows.
    fn row(&self, index: usize) -> *mut f32 {
        self.slot.wrapping_add((8 * self.images.window + index) * self.stride)
    }

    /// Sum of the loss over the tile's positions. `M` maps go back: slopes by the variances of sum and
    /// difference, and what goes to each of the `G` gradients.
    #[inline(always)]
    fn sweep<const M: usize, const G: usize>(&self, gradients: [Gradient; G]) -> f64 {
        let (images, n, stride) = (self.images, self.images.window, self.stride);
        let (height, width) = (images.height - n + 1, images.width - n + 1);
        let reach = if G > 0 { n - 1 } else { 0 };
        // Positions that see pixels of the tile, or begin in it.
        let tops = self.rows.start.saturating_sub(reach)..height.min(self.rows.end);
        let lefts = self.columns.start.saturating_sub(reach)..width.min(self.columns.end);
        let own = self.columns.start.saturating_sub(lefts.start);
        let center = self.center();
        let (first_ring, second_ring) = (self.slot, self.slot.wrapping_add(4 * n * stride));
        let (sum, difference, value) = (self.row(0), self.row(1), self.row(2));
        // Slopes of the positions, the first at the tile's first pixel less the reach of a window.
        let slopes = self.row(3);
        let lead = lefts.start + reach - self.columns.start;
        if G > 0 {
            // SAFETY: within the slot.
            unsafe {
                second_ring.write_bytes(0, 4 * n * stride);
                slopes.write_bytes(0, 4 * stride);
            }
        }
        let mut total = 0.0;
        if !lefts.is_empty() && !tops.is_empty() {
            let padded = lefts.len().next_multiple_of(PAD);
            let pixels = lefts.start..lefts.end + n - 1;
            for row in tops.start..tops.end + n - 1 {
                // SAFETY: rows have room for a window more than `padded` values; see `row_len`.
                unsafe {
                    self.load(row, &pixels, &center, sum, difference);
                    let to = first_ring.add(row % n * 4 * stride);
                    filter::moments_along(self.s, &self.weights[..n], sum, difference, to, stride, padded);
                }
                if row + 1 < tops.start + n {
                    continue;
                }
                let top = row + 1 - n;
                // SAFETY: as above.
                unsafe {
                    let weights = &self.weights[n - 1 - row % n..][..n];
                    self.positions::<M, G>(
                        weights,
                        first_ring,
                        &center,
                        value,
                        slopes.add(lead),
                        padded,
                        &gradients,
                    );
                    if self.rows.contains(&top) && own < lefts.len() {
                        total += self.add_up(value.add(own), lefts.len() - own);
                    }
                    if G > 0 {
                        for m in 0..M {
                            slopes.add(m * stride + lead + lefts.len()).write_bytes(0, padded - lefts.len());
                        }
                        let to = second_ring.add(top % n * M * stride);
                        let padded = self.columns.len().next_multiple_of(PAD);
                        filter::along::<S, M>(self.s, &self.weights[..n], slopes, stride, to, stride, padded);
                    }
                }
                if G > 0 && top >= self.rows.start {
                    self.gradient::<M, G>(top, second_ring, &center, &gradients);
                }
            }
        }
        if G > 0 {
            // Pixels below the last position.
            for row in tops.end.max(self.rows.start)..self.rows.end {
                // SAFETY: within the ring.
                unsafe { second_ring.add(row % n * M * stride).write_bytes(0, M * stride) };
                self.gradient::<M, G>(row, second_ring, &center, &gradients);
            }
        }
        total
    }

    /// Means over the tile.
    #[inline(always)]
    fn center(&self) -> Center {
        let (x, y) = (self.mean(&self.images.pred), self.mean(&self.images.target));
        Center { x: x as f32, y: y as f32, difference: (x - y) as f32 }
    }

    #[inline(always)]
    fn mean(&self, from: &Floats) -> f64 {
        let mut sum = 0.0;
        let mut scratch = Scratch::<BLOCK>::new();
        for row in self.rows.clone() {
            // SAFETY: within the checked buffer; a tile's rows are shorter than a block.
            unsafe {
                let at = from.at(self.index(row, self.columns.start));
                let values = storage::read(self.s, from.dtype, at, self.columns.len(), scratch.ptr());
                sum += self.add_up(values, self.columns.len());
            }
        }
        sum / (self.rows.len() * self.columns.len()) as f64
    }

    fn index(&self, row: usize, column: usize) -> usize {
        (self.plane * self.images.height + row) * self.images.width + column
    }

    /// # Safety
    /// There are `n` values.
    #[inline(always)]
    unsafe fn add_up(&self, values: *const f32, n: usize) -> f64 {
        let s = self.s;
        let mut sum = s.zero();
        let mut k = 0;
        while k < n {
            sum = s.add(sum, unsafe { load_lanes(s, values.add(k), S::LANES.min(n - k)) });
            k += S::LANES;
        }
        f64::from(s.reduce_add(sum))
    }

    /// Sum and difference of the images at some pixels of a row, less their centre.
    ///
    /// # Safety
    /// The pixels exist; `sum` and `difference` have room for them and a vector.
    #[inline(always)]
    unsafe fn load(
        &self,
        row: usize,
        pixels: &Range<usize>,
        center: &Center,
        sum: *mut f32,
        difference: *mut f32,
    ) {
        let s = self.s;
        let (cx, cy, cd) = (s.splat(center.x), s.splat(center.y), s.splat(center.difference));
        let (mut read_x, mut read_y) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        let (pred, target) = (&self.images.pred, &self.images.target);
        let mut at = 0;
        while at < pixels.len() {
            let n = BLOCK.min(pixels.len() - at);
            let index = self.index(row, pixels.start + at);
            unsafe {
                let x = storage::read(s, pred.dtype, pred.at(index), n, read_x.ptr());
                let y = storage::read(s, target.dtype, target.at(index), n, read_y.ptr());
                let mut k = 0;
                while k < n {
                    let lanes = S::LANES.min(n - k);
                    let (x, y) = (load_lanes(s, x.add(k), lanes), load_lanes(s, y.add(k), lanes));
                    s.store(sum.add(at + k), s.add(s.sub(x, cx), s.sub(y, cy)));
                    s.store(difference.add(at + k), s.sub(s.sub(x, y), cd));
                    k += S::LANES;
                }
            }
            at += n;
        }
    }

    /// The loss at a row of positions, and the slopes that go back.
    ///
    /// # Safety
    /// `padded` positions fit the rows.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn positions<const M: usize, const G: usize>(
        &self,
        weights: &[f32],
        ring: *const f32,
        center: &Center,
        value: *mut f32,
        slopes: *mut f32,
        padded: usize,
        gradients: &[Gradient; G],
    ) {
        let s = self.s;
        let (sum, difference) = (s.splat(center.x + center.y), s.splat(center.difference));
        let mut k = 0;
        while k < padded {
            let maps = unsafe { filter::across::<S, 4>(s, weights, ring, self.stride, k) };
            for half in 0..2 {
                let [about_sum, about_difference, square_sum, square_difference] =
                    [maps[0][half], maps[1][half], maps[2][half], maps[3][half]];
                let m = Moments::<S> {
                    mean_sum: s.add(about_sum, sum),
                    mean_difference: s.add(about_difference, difference),
                    variance_sum: s.max(s.zero(), s.sub(square_sum, s.mul(about_sum, about_sum))),
                    variance_difference: s
                        .max(s.zero(), s.sub(square_difference, s.mul(about_difference, about_difference))),
                };
                let at = k + half * S::LANES;
                unsafe { s.store(value.add(at), self.loss.value(s, &m)) };
                if G > 0 {
                    let d = self.loss.slopes(s, &m);
                    let of_sum = s.add(d.variance_sum, d.variance_sum);
                    let of_difference = s.add(d.variance_difference, d.variance_difference);
                    let to_sum = s.sub(d.mean_sum, s.mul(about_sum, of_sum));
                    let to_difference = s.sub(d.mean_difference, s.mul(about_difference, of_difference));
                    unsafe {
                        s.store(slopes.add(at), of_sum);
                        s.store(slopes.add(self.stride + at), of_difference);
                        for g in 0..G {
                            let to = s.mul_add(s.splat(gradients[g].sign), to_difference, to_sum);
                            s.store(slopes.add((2 + g) * self.stride + at), to);
                        }
                    }
                }
            }
            k += 2 * S::LANES;
        }
    }

    /// A row of the gradients, from the ring with all positions that see it.
    #[inline(always)]
    fn gradient<const M: usize, const G: usize>(
        &self,
        row: usize,
        ring: *const f32,
        center: &Center,
        gradients: &[Gradient; G],
    ) {
        let (s, n) = (self.s, self.images.window);
        let (sum, difference) = (self.row(7), self.row(8));
        let weights = &self.weights[n - 1 - row % n..][..n];
        let columns = &self.columns;
        let mut scratch = [const { Scratch::<{ SIDE + 2 * PAD }>::new() }; G];
        let index = self.index(row, columns.start);
        let factor = s.splat(self.factor);
        // SAFETY: the tile's pixels are within the checked buffers and written by this tile alone.
        unsafe {
            self.load(row, columns, center, sum, difference);
            let mut k = 0;
            while k < columns.len() {
                let maps = filter::across::<S, M>(s, weights, ring, self.stride, k);
                for half in 0..2 {
                    let at = k + half * S::LANES;
                    let of_sum = s.mul(s.load(sum.add(at)), maps[0][half]);
                    let of_difference = s.mul(s.load(difference.add(at)), maps[1][half]);
                    for g in 0..G {
                        let both = s.mul_add(s.splat(gradients[g].sign), of_difference, of_sum);
                        let value = s.mul(factor, s.add(maps[2 + g][half], both));
                        s.store(scratch[g].ptr().add(at), value);
                    }
                }
                k += 2 * S::LANES;
            }
            for g in 0..G {
                let to = &gradients[g].to;
                storage::write(s, to.dtype, scratch[g].ptr(), to.at(index), columns.len(), false);
            }
        }
    }
}
