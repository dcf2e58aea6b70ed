//! Gradients of a block of states: s sum g - sum g_p p_p by a matrix product, or from differences where that would
//! lose digits.
//!
//! The product's rounding errors are relative to sum |g_p| |p_p|, at most `sizes`; they must be small beside the
//! row's largest gradient, as its terms' magnitudes add up: sum |g_p| |s - p_p|. The gradient itself is a lower
//! bound of that, and so are the sums of a few neurons, where terms of different sign cancel.

use super::{Pairs, ROWS, WIDTH, exact};
use crate::cpu::matmul::{Matrix, tile};
use crate::cpu::simd::{Isa, Kernel, Simd};
use crate::cpu::storage::{self, Scratch};
use crate::registry::{DType, Floats, FloatsMut};
use std::ops::Range;
use std::ptr;

/// Patterns whose products are summed up in f32.
const DEPTH: usize = 64;
/// Patterns whose sizes are looked at together.
const SOME: usize = 256;
/// Patterns side by side in registers.
const TOGETHER: usize = 4;
/// Neurons that are looked at closely.
const SAMPLES: usize = 16;
/// Of the sizes; the row's largest gradient must be larger.
const LEAST: f64 = 0.5;

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

/// Of the upstream gradients of each state.
struct Sizes {
    /// sum g.
    total: [f64; ROWS],
    /// max |g|.
    largest: [f32; ROWS],
    /// sum |g| max over k of |p_k|.
    weighted: [f64; ROWS],
    /// max over k of sum |p_k|.
    column: f64,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sizes =
            Sizes { total: [0.0; ROWS], largest: [0.0; ROWS], weighted: [0.0; ROWS], column: 0.0 };
        self.measure(s, &mut sizes);
        let (mut doubtful, mut count) = ([0; ROWS], 0);
        let (mut close, mut left) = ([false; ROWS], false);
        for slot in 0..self.rows.len() {
            let largest = self.combine(s, slot, sizes.total[slot]);
            if !largest.is_finite() {
                (close[slot], left) = (true, true);
            } else if !sizes.allow(slot, largest) {
                doubtful[count] = slot;
                count += 1;
            }
        }
        if count > 0 {
            let doubtful = &doubtful[..count];
            let mut largest = [0f32; ROWS];
            self.samples(s, doubtful, &mut largest);
            for (&slot, &largest) in doubtful.iter().zip(&largest) {
                close[slot] = !sizes.allow(slot, largest);
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

impl Sizes {
    /// Whether rounding errors of the product are small beside a row's largest gradient, at least `largest`.
    fn allow(&self, slot: usize, largest: f32) -> bool {
        let by_column = f64::from(self.largest[slot]) * self.column;
        let most = if by_column < self.weighted[slot] { by_column } else { self.weighted[slot] };
        f64::from(largest) >= LEAST * most
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
            let at = from.row(row).add(self.part.start * from.dtype.size());
            storage::read(s, from.dtype, at, self.part.len(), scratch)
        }
    }

    #[inline(always)]
    fn measure<S: Simd>(&self, s: S, sizes: &mut Sizes) {
        let Pairs { pattern_count, .. } = *self.pairs;
        let width = self.part.len();
        let mut columns = [0f32; WIDTH];
        for first in (0..pattern_count).step_by(SOME) {
            let count = SOME.min(pattern_count - first);
            let mut largest = [0f32; SOME + 16];
            let mut j = 0;
            while j < count {
                // SAFETY: patterns of the call.
                unsafe {
                    let most = &mut largest[j..];
                    if j + TOGETHER <= count {
                        self.sizes_of::<S, TOGETHER>(s, first + j, &mut columns, most);
                        j += TOGETHER;
                    } else {
                        self.sizes_of::<S, 1>(s, first + j, &mut columns, most);
                        j += 1;
                    }
                }
            }
            for slot in 0..self.rows.len() {
                let Some(g) = self.upstream(slot, first, count) else {
                    sizes.total[slot] += count as f64;
                    sizes.largest[slot] = 1.0;
                    sizes.weighted[slot] += largest.iter().map(|&x| f64::from(x)).sum::<f64>();
                    continue;
                };
                let (mut total, mut most, mut weighted) = (s.d_zero(), s.zero(), s.zero());
                for j in (0..count).step_by(S::LANES) {
                    // SAFETY: within the row, and within `largest`, which ends with zeros.
                    unsafe {
                        let g = storage::load_lanes(s, g.as_ptr().add(j), S::LANES.min(count - j));
                        let size = s.abs(g);
                        total = s.d_add(total, g);
                        most = s.max(most, size);
                        weighted = s.mul_add(size, s.load(largest.as_ptr().add(j)), weighted);
                    }
                }
                sizes.total[slot] += s.d_sum(total);
                sizes.largest[slot] = sizes.largest[slot].max(s.reduce_max(most));
                sizes.weighted[slot] += f64::from(s.reduce_add(weighted));
            }
        }
        let mut most = 0f32;
        for &sum in &columns[..width] {
            most = if sum <= most { most } else { sum };
        }
        sizes.column = f64::from(most);
    }

    /// Adds sizes of `N` patterns from `first` on to those of the neurons; sets the largest of each pattern.
    ///
    /// # Safety
    /// They are among the patterns.
    #[inline(always)]
    unsafe fn sizes_of<S: Simd, const N: usize>(
        &self,
        s: S,
        first: usize,
        columns: &mut [f32; WIDTH],
        largest: &mut [f32],
    ) {
        let width = self.part.len();
        let mut scratch = Scratch::<{ TOGETHER * WIDTH }>::new();
        let mut points = [ptr::null(); N];
        let mut most = [s.zero(); N];
        unsafe {
            for (i, point) in points.iter_mut().enumerate() {
                *point = self.line(s, self.pairs.patterns, first + i, scratch.ptr().add(i * WIDTH));
            }
            let mut k = 0;
            while k < width {
                let lanes = S::LANES.min(width - k);
                let at = columns.as_mut_ptr().add(k);
                let mut sum = s.load(at);
                for i in 0..N {
                    let x = s.abs(storage::load_lanes(s, points[i].add(k), lanes));
                    sum = s.add(sum, x);
                    most[i] = s.max(most[i], x);
                }
                s.store(at, sum);
                k += S::LANES;
            }
        }
        for i in 0..N {
            largest[i] = s.reduce_max(most[i]);
        }
    }

    /// Completes the gradient of a state but for its factor; returns the largest.
    #[inline(always)]
    fn combine<S: Simd>(&self, s: S, slot: usize, total: f64) -> f32 {
        let width = self.part.len();
        let total = total * f64::from(self.pairs.sign);
        let high = total as f32;
        let (high, low) = (s.splat(high), s.splat((total - f64::from(high)) as f32));
        let mut largest = s.zero();
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
                let rest = s.mul_add(x, low, s.neg(storage::load_lanes(s, at, lanes)));
                let sum = s.mul_add(x, high, rest);
                largest = s.max_nan(largest, s.abs(sum));
                storage::store_lanes(s, at, lanes, sum);
            }
            k += S::LANES;
        }
        // A NaN need not survive the reduction, but makes a sum one.
        if s.any(s.is_nan(largest)) { f32::NAN } else { s.reduce_max(largest) }
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
