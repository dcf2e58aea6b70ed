//! Statistics of a softmax over the rows or columns of S, taken tile by tile.

use super::{HEIGHT, Tile, WIDTH};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::Scratch;
use crate::cpu::workspace::{Size, Workspace};
use std::ops::Range;

/// Of each row (or column): sum_j exp(S_ij), kept as a sum about a reference so that it neither overflows nor
/// vanishes; and where wanted sum_j S_ij exp(S_ij).
#[derive(Clone, Copy)]
pub struct LogSums<'a> {
    about: Cells<'a>,
    sums: Cells<'a, f64>,
    moments: Option<Cells<'a, f64>>,
}

/// How far below the largest similarity of a tile the largest of a row or column may be for its sum to be taken
/// about the tile's: what then falls below f32's range is less than e^-27 of the sum.
const NEAR: f32 = 60.0;

impl<'a> LogSums<'a> {
    pub fn size(size: Size, n: u64, with_means: bool) -> Size {
        let size = size.add::<f32>(n).add::<f64>(n);
        if with_means { size.add::<f64>(n) } else { size }
    }

    pub fn new(n: usize, with_means: bool, work: &mut Workspace<'a>) -> LogSums<'a> {
        LogSums {
            about: Cells::new(work.take(n, 0.0)),
            sums: Cells::new(work.take(n, 0.0)),
            moments: with_means.then(|| Cells::new(work.take(n, 0.0))),
        }
    }

    /// log sum_j exp(S_ij); -inf where there was nothing to sum.
    pub fn log_sum(&self, i: usize) -> f64 {
        match self.sums.get(i) {
            0.0 => f64::NEG_INFINITY,
            sum => f64::from(self.about.get(i)) + sum.ln(),
        }
    }

    /// Mean of S_ij under the softmax, where these are kept.
    #[allow(dead_code)] // not every build has a loss that asks
    pub fn mean(&self, i: usize) -> f64 {
        self.moments.map_or(f64::NAN, |moments| moments.get(i) / self.sums.get(i))
    }

    #[inline(always)]
    fn add(&self, i: usize, about: f32, sum: f64, moment: f64) {
        let (old, old_about) = (self.sums.get(i), self.about.get(i));
        let (mut was, mut is) = (1.0, 1.0);
        let mut to = about;
        if old == 0.0 || about == old_about {
            // The usual case: references are multiples of 8.
        } else if about > old_about {
            was = f64::from(old_about - about).exp();
        } else {
            is = f64::from(about - old_about).exp();
            to = old_about;
        }
        self.about.set(i, to);
        self.sums.set(i, old * was + sum * is);
        if let Some(moments) = self.moments {
            moments.set(i, moments.get(i) * was + moment * is);
        }
    }

    /// Adds a tile to the statistics of its rows, and to those of its columns where `columns` has them (these
    /// without means). Columns are numbered from `column_offset`. An element of -inf counts as absent.
    ///
    /// One exponential serves row and column: it is taken about the tile's largest element. Only rows and columns
    /// of much smaller elements get some of their own.
    #[inline(always)]
    pub fn add_tile<S: Simd>(s: S, tile: &Tile, rows: &LogSums, columns: Option<(&LogSums, usize)>) {
        match (columns, rows.moments.is_some()) {
            (None, false) => add_tile::<S, false, false>(s, tile, rows, None),
            (None, true) => add_tile::<S, false, true>(s, tile, rows, None),
            (Some(_), false) => add_tile::<S, true, false>(s, tile, rows, columns),
            (Some(_), true) => add_tile::<S, true, true>(s, tile, rows, columns),
        }
    }
}

/// The reference for elements up to `top`: a multiple of 8, so that it seldom changes from tile to tile.
fn reference(top: f32) -> f32 {
    if top.is_finite() { (top / 8.0).ceil() * 8.0 } else { 0.0 }
}

fn is_far(top: f32, about: f32) -> bool {
    top < about - NEAR && top > f32::NEG_INFINITY
}

#[inline(always)]
fn add_tile<S: Simd, const COLUMNS: bool, const MEANS: bool>(
    s: S,
    tile: &Tile,
    rows: &LogSums,
    columns: Option<(&LogSums, usize)>,
) {
    let (height, width) = (tile.rows.len(), tile.width(s));
    let first = (tile.row(tile.rows.start).cast_const(), tile.stride);
    let mut row_tops = [f32::NEG_INFINITY; HEIGHT];
    let (mut column_tops, mut column_part) = (Scratch::<WIDTH>::new(), Scratch::<WIDTH>::new());
    let (column_tops, column_part) = (column_tops.ptr(), column_part.ptr());
    if COLUMNS {
        fill(s, column_tops, width, f32::NEG_INFINITY);
    }
    let fours = height / 4 * 4;
    for i in (0..fours).step_by(4) {
        tops::<S, 4, COLUMNS>(s, first, i, width, &mut row_tops, column_tops);
    }
    for i in fours..height {
        tops::<S, 1, COLUMNS>(s, first, i, width, &mut row_tops, column_tops);
    }
    let mut top = f32::NEG_INFINITY;
    for &t in &row_tops[..height] {
        // A row with NaN or infinite elements must not decide for the others.
        top = if t.is_finite() && t > top { t } else { top };
    }
    let about = reference(top);

    let mut row_sums = [(0.0, 0.0); HEIGHT];
    let mut column_sums = [0.0f64; WIDTH];
    // Sums of columns are in f32 over so many rows only.
    for start in (0..height).step_by(64) {
        let end = height.min(start + 64);
        if COLUMNS {
            fill(s, column_part, width, 0.0);
        }
        let fours = start + (end - start) / 4 * 4;
        for i in (start..fours).step_by(4) {
            sums::<S, 4, COLUMNS, MEANS>(s, first, i, width, about, &mut row_sums, column_part);
        }
        for i in fours..end {
            sums::<S, 1, COLUMNS, MEANS>(s, first, i, width, about, &mut row_sums, column_part);
        }
        if COLUMNS {
            for (j, sum) in column_sums[..width].iter_mut().enumerate() {
                // SAFETY: within the scratch, and filled.
                *sum += f64::from(unsafe { *column_part.add(j) });
            }
        }
    }

    for i in 0..height {
        let mut reference_of_row = about;
        if is_far(row_tops[i], about) {
            reference_of_row = reference(row_tops[i]);
            sums::<S, 1, false, MEANS>(s, first, i, width, reference_of_row, &mut row_sums, column_part);
        }
        let (sum, moment) = row_sums[i];
        if row_tops[i] != f32::NEG_INFINITY || sum.is_nan() {
            rows.add(tile.rows.start + i, reference_of_row, sum, moment);
        }
    }
    let Some((columns, offset)) = columns else { return };
    for j in (0..tile.columns.len()).step_by(S::LANES) {
        let lanes = (tile.columns.len() - j).min(S::LANES);
        // SAFETY: within the scratch.
        let tops = unsafe { std::slice::from_raw_parts(column_tops.add(j), lanes) };
        let mut references = [about; 16];
        if tops.iter().any(|&top| is_far(top, about)) {
            for (to, &top) in references.iter_mut().zip(tops) {
                *to = if is_far(top, about) { reference(top) } else { about };
            }
            sums_of_columns(s, first, j, height, &references, &mut column_sums);
        }
        for (lane, &top) in tops.iter().enumerate() {
            let sum = column_sums[j + lane];
            if top != f32::NEG_INFINITY || sum.is_nan() {
                columns.add(offset + tile.columns.start + j + lane, references[lane], sum, 0.0);
            }
        }
    }
}

#[inline(always)]
fn fill<S: Simd>(s: S, to: *mut f32, n: usize, value: f32) {
    for j in (0..n).step_by(S::LANES) {
        // SAFETY: n is a multiple of LANES, and `to` has room for it.
        unsafe { s.store(to.add(j), s.splat(value)) };
    }
}

/// Largest elements of G rows, and of the columns so far. A NaN may get lost; the sums find it.
#[inline(always)]
fn tops<S: Simd, const G: usize, const COLUMNS: bool>(
    s: S,
    (first, stride): (*const f32, usize),
    i: usize,
    width: usize,
    row_tops: &mut [f32; HEIGHT],
    column_tops: *mut f32,
) {
    let mut tops = [s.splat(f32::NEG_INFINITY); G];
    for j in (0..width).step_by(S::LANES) {
        // SAFETY: within the tile and the scratch.
        unsafe {
            let mut column = tops[0];
            for (g, top) in tops.iter_mut().enumerate() {
                let z = s.load(first.add((i + g) * stride + j));
                *top = s.max(z, *top);
                column = if g == 0 { z } else { s.max(z, column) };
            }
            if COLUMNS {
                s.store(column_tops.add(j), s.max(column, s.load(column_tops.add(j))));
            }
        }
    }
    for (g, &top) in tops.iter().enumerate() {
        row_tops[i + g] = s.reduce_max(top);
    }
}

/// Sums of exp(S_ij - about) and S_ij exp(S_ij - about) of G rows, one or four; adds the former to those of the columns.
#[inline(always)]
fn sums<S: Simd, const G: usize, const COLUMNS: bool, const MEANS: bool>(
    s: S,
    (first, stride): (*const f32, usize),
    i: usize,
    width: usize,
    about: f32,
    row_sums: &mut [(f64, f64); HEIGHT],
    column_sums: *mut f32,
) {
    // With one lane the sum of a row is too long a chain for f32.
    const SHORT: usize = 32;
    if S::LANES > 1 || width <= SHORT {
        sums_within::<S, G, COLUMNS, MEANS>(s, (first, stride), i, 0..width, about, row_sums, column_sums);
        return;
    }
    let mut totals = [(0.0, 0.0); G];
    for start in (0..width).step_by(SHORT) {
        let part = start..width.min(start + SHORT);
        sums_within::<S, G, COLUMNS, MEANS>(s, (first, stride), i, part, about, row_sums, column_sums);
        for (total, sum) in totals.iter_mut().zip(&row_sums[i..]) {
            *total = (total.0 + sum.0, total.1 + sum.1);
        }
    }
    row_sums[i..i + G].copy_from_slice(&totals);
}

/// The same of some columns.
#[inline(always)]
fn sums_within<S: Simd, const G: usize, const COLUMNS: bool, const MEANS: bool>(
    s: S,
    (first, stride): (*const f32, usize),
    i: usize,
    columns: Range<usize>,
    about: f32,
    row_sums: &mut [(f64, f64); HEIGHT],
    column_sums: *mut f32,
) {
    let about = s.splat(about);
    let (mut sums, mut moments) = ([s.zero(); G], [s.zero(); G]);
    for j in columns.step_by(S::LANES) {
        // SAFETY: within the tile and the scratch.
        unsafe {
            let mut column = s.zero();
            let mut z = [s.zero(); 4];
            for (g, z) in z[..G].iter_mut().enumerate() {
                *z = s.load(first.add((i + g) * stride + j));
            }
            let terms = if G == 4 {
                math::exp_about(s, z, about)
            } else {
                [math::exp_softmax(s, s.sub(z[0], about)); 4]
            };
            for g in 0..G {
                sums[g] = s.add(sums[g], terms[g]);
                column = s.add(column, terms[g]);
                if MEANS {
                    // Not -inf times 0.
                    let z = s.select(s.eq(z[g], s.splat(f32::NEG_INFINITY)), s.zero(), z[g]);
                    moments[g] = s.mul_add(z, terms[g], moments[g]);
                }
            }
            if COLUMNS {
                s.store(column_sums.add(j), s.add(s.load(column_sums.add(j)), column));
            }
        }
    }
    for g in 0..G {
        row_sums[i + g] = (f64::from(s.reduce_add(sums[g])), f64::from(s.reduce_add(moments[g])));
    }
}

/// Sums of a vector of columns about references of their own.
#[inline(always)]
fn sums_of_columns<S: Simd>(
    s: S,
    (first, stride): (*const f32, usize),
    j: usize,
    height: usize,
    references: &[f32; 16],
    sums: &mut [f64; WIDTH],
) {
    // SAFETY: within the tile; no ISA has more than 16 lanes.
    unsafe {
        let about = s.load(references.as_ptr());
        let mut total = s.zero();
        for i in 0..height {
            let z = s.load(first.add(i * stride + j));
            total = s.add(total, math::exp_softmax(s, s.sub(z, about)));
        }
        let mut values = [0.0f32; 16];
        s.store(values.as_mut_ptr(), total);
        for (lane, &value) in values[..S::LANES].iter().enumerate() {
            sums[j + lane] = f64::from(value);
        }
    }
}
