//! Gradients of a block of states: s sum g - sum g_p p_p by a matrix product, or from differences where that would
//! lose digits.
//!
//! The product's rounding errors are relative to sum |g_p| |p_p|, at most `sizes`; they must be small beside the
//! row's largest gradient, as its terms' magnitudes add up: sum |g_p| |s - p_p|. The gradient itself is a lower
//! bound of that, and so are the sums of a few neurons, where terms of different sign cancel. Where terms of the product
//! are all of one sign, so may its errors be: then more is asked for.

#[path = "sizes.rs"]
mod sizes;

use super::{Pairs, ROWS, WIDTH, exact};
use crate::cpu::matmul::{Matrix, tile};
use crate::cpu::simd::{Isa, Kernel, Simd};
use crate::cpu::storage::{self, Scratch};
use crate::registry::{DType, Floats, FloatsMut};
use std::ops::Range;

/// Patterns whose products are summed up in f32.
const DEPTH: usize = 64;
/// Patterns whose sizes are looked at together.
const SOME: usize = 256;
/// Neurons that are looked at closely.
const SAMPLES: usize = 16;
/// Rows that are asked for before they are read.
const AHEAD: usize = 4;

/// Neurons `part`, at most [`WIDTH`], of the gradients of at most [`ROWS`] states.
pub fn gradients(
    isa: Isa,
    pairs: &Pairs,
    rows: Range<usize>,
    part: Range<usize>,
    grad_loss: Option<&[f32]>,
    out: FloatsMut,
) {
    let count = pairs.pattern_count;
    let weights = match grad_loss {
        Some(g) => Matrix::of(&g[rows.start * count..], rows.len(), count, count),
        // SAFETY: a single one, again and again.
        None => unsafe { Matrix::new((&raw const ONE).cast(), DType::F32, rows.len(), count, 0, 0) },
    };
    // SAFETY: a part of the patterns' rows.
    let patterns = unsafe {
        let Floats { ptr, dtype, stride, .. } = pairs.patterns;
        Matrix::new(ptr.wrapping_add(part.start * dtype.size()), dtype, count, part.len(), stride, 1)
    };
    tile::with_tile(|tile| {
        // SAFETY: the tile has room for as many rows and columns.
        unsafe { tile::product(isa, weights, patterns, DEPTH, tile) };
        isa.dispatch(Block { pairs, rows, part, grad_loss, sums: tile, out });
    });
}

static ONE: f32 = 1.0;

struct Block<'a> {
    pairs: &'a Pairs<'a>,
    rows: Range<usize>,
    part: Range<usize>,
    grad_loss: Option<&'a [f32]>,
    /// sum g_p p_p; then s sum g - sum g_p p_p.
    sums: *mut f32,
    out: FloatsMut<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let sizes = self.measure(s);
        let mut sums = [0f32; ROWS];
        let (mut doubtful, mut count) = ([0; ROWS], 0);
        let (mut close, mut left) = ([false; ROWS], false);
        for slot in 0..self.rows.len() {
            let (largest, sum) = self.combine(s, slot, sizes.total[slot]);
            sums[slot] = sum;
            if !largest.is_finite() {
                (close[slot], left) = (true, true);
            } else if !sizes.allow(slot, sum, largest) {
                doubtful[count] = slot;
                count += 1;
            }
        }
        if count > 0 {
            let doubtful = &doubtful[..count];
            let mut largest = [0f32; ROWS];
            self.samples(s, doubtful, &mut largest);
            for (&slot, &largest) in doubtful.iter().zip(&largest) {
                close[slot] = !sizes.allow(slot, sums[slot], largest);
                left |= close[slot];
            }
        }
        // SAFETY: this task's own gradients.
        unsafe {
            let (mut rows, mut count) = ([0; ROWS], 0);
            for slot in 0..self.rows.len() {
                if close[slot] {
                    rows[count] = self.rows.start + slot;
                    count += 1;
                } else {
                    self.store(s, slot);
                }
            }
            if left {
                exact::gradients(s, self.pairs, &rows[..count], &self.part, self.grad_loss, self.out);
            }
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn upstream(&self, slot: usize, first: usize, count: usize) -> Option<&[f32]> {
        let at = (self.rows.start + slot) * self.pairs.pattern_count + first;
        self.grad_loss.map(|g| &g[at..at + count])
    }

    /// The part of a row as f32.
    ///
    /// # Safety
    /// The row is within the matrix; `scratch` has room for whole vectors of [`WIDTH`].
    #[inline(always)]
    unsafe fn line<S: Simd>(&self, s: S, from: Floats, row: usize, scratch: *mut f32) -> *const f32 {
        unsafe {
            let size = from.dtype.size();
            let at = from.row(row).add(self.part.start * size);
            // Parts are too short for the processor to foresee the next rows.
            storage::fetch_row(at.wrapping_add(AHEAD * from.stride * size), self.part.len() * size);
            storage::read(s, from.dtype, at, self.part.len(), scratch)
        }
    }

    /// Completes the gradient of a state but for its factor; returns the largest, and that of sum g_p p_p.
    #[inline(always)]
    fn combine<S: Simd>(&self, s: S, slot: usize, total: f64) -> (f32, f32) {
        let width = self.part.len();
        let total = total * f64::from(self.pairs.sign);
        let high = total as f32;
        let (high, low) = (s.splat(high), s.splat((total - f64::from(high)) as f32));
        let (mut largest, mut most) = (s.zero(), s.zero());
        let mut scratch = Scratch::<WIDTH>::new();
        // SAFETY: a state of the call.
        let state = unsafe { self.line(s, self.pairs.state, self.rows.start + slot, scratch.ptr()) };
        let mut k = 0;
        while k < width {
            let lanes = S::LANES.min(width - k);
            // SAFETY: within the tile and the row.
            unsafe {
                let at = self.sums.add(slot * width + k);
                let x = storage::load_lanes(s, state.add(k), lanes);
                let product = storage::load_lanes(s, at, lanes);
                let rest = s.mul_add(x, low, s.neg(product));
                most = s.max(most, s.abs(product));
                let sum = s.mul_add(x, high, rest);
                largest = s.max_nan(largest, s.abs(sum));
                storage::store_lanes(s, at, lanes, sum);
            }
            k += S::LANES;
        }
        // A NaN need not survive the reduction, but makes a sum one.
        let largest = if s.any(s.is_nan(largest)) { f32::NAN } else { s.reduce_max(largest) };
        (largest, s.reduce_max(most))
    }

    /// The largest sum |g_p| |s - p_p| of the first few neurons of each of these states.
    #[inline(always)]
    fn samples<S: Simd>(&self, s: S, slots: &[usize], largest: &mut [f32; ROWS]) {
        let Pairs { state, patterns, pattern_count, sign, .. } = *self.pairs;
        let width = SAMPLES.min(self.part.len());
        // What is beyond the part counts as 0, of all alike.
        let (mut scratch, mut x) = (Scratch::<WIDTH>::new(), [0f32; SAMPLES]);
        let mut sums = [[0f32; SAMPLES]; ROWS];
        for first in (0..pattern_count).step_by(SOME) {
            let count = SOME.min(pattern_count - first);
            // Side by side, for all states: the rows of patterns may be far apart.
            let mut points = [[0f32; SAMPLES]; SOME];
            for (j, point) in points.iter_mut().enumerate().take(count) {
                // SAFETY: within a pattern.
                unsafe {
                    let line = self.line(s, patterns, first + j, scratch.ptr());
                    line.copy_to_nonoverlapping(point.as_mut_ptr(), width);
                }
            }
            for (&slot, sums) in slots.iter().zip(&mut sums) {
                let g = self.upstream(slot, first, count);
                // SAFETY: within a state, and within the arrays.
                unsafe {
                    let line = self.line(s, state, self.rows.start + slot, scratch.ptr());
                    line.copy_to_nonoverlapping(x.as_mut_ptr(), width);
                    for k in (0..SAMPLES).step_by(S::LANES) {
                        let x = s.mul(s.splat(sign), s.load(x.as_ptr().add(k)));
                        let mut sum = s.load(sums.as_ptr().add(k));
                        for (j, point) in points.iter().enumerate().take(count) {
                            let g = s.splat(g.map_or(1.0, |g| g[j].abs()));
                            sum = s.mul_add(g, s.abs(s.sub(x, s.load(point.as_ptr().add(k)))), sum);
                        }
                        s.store(sums.as_mut_ptr().add(k), sum);
                    }
                }
            }
        }
        for (largest, sums) in largest.iter_mut().zip(&sums) {
            for &sum in sums {
                *largest = if sum <= *largest { *largest } else { sum };
            }
        }
    }

    /// # Safety
    /// Nobody else has these gradients.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, slot: usize) {
        let width = self.part.len();
        let factor = s.splat((f64::from(self.pairs.sign) * 0.5 / self.pairs.n as f64) as f32);
        let to = self.out;
        let mut k = 0;
        unsafe {
            let at = to.row(self.rows.start + slot).add(self.part.start * to.dtype.size());
            storage::fetch_row(at.wrapping_add(to.stride * to.dtype.size()), width * to.dtype.size());
            let sums = self.sums.add(slot * width);
            while k < width {
                let lanes = S::LANES.min(width - k);
                let value = s.mul(factor, storage::load_lanes(s, sums.add(k), lanes));
                storage::store_lanes(s, sums.add(k), lanes, value);
                k += S::LANES;
            }
            storage::write(s, to.dtype, sums, at, width, false);
        }
    }
}
