//! Losses of a tile of pairs: |s|^2 + |p|^2 -+ 2 s.p, or from differences where that would lose digits.

use super::{COLUMNS, Pairs, ROWS, exact};
use crate::cpu::matmul::{Matrix, tile};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Isa, Kernel, Simd};
use crate::cpu::storage::{self, BLOCK, Scratch};
use crate::registry::Floats;
use std::ops::Range;

/// States whose close patterns are looked at together.
const GROUP: usize = exact::MANY;
/// Neurons whose products are summed up in f32.
const DEPTH: usize = 128;
/// A squared distance of so much of |s|^2 + |p|^2 has digits enough, even if each product is rounded the same way.
const FAR: f64 = 0.7;

/// Losses of a tile of at most [`ROWS`] by [`COLUMNS`].
pub fn losses(isa: Isa, pairs: &Pairs, rows: Range<usize>, columns: Range<usize>, out: Cells) {
    let state = Matrix::from_floats(pairs.state).block(rows.clone(), 0..pairs.n);
    let patterns = Matrix::from_floats(pairs.patterns).block(columns.clone(), 0..pairs.n);
    tile::with_tile(|tile| {
        // SAFETY: the tile has room for as many rows and columns.
        unsafe { tile::product(isa, state, patterns.t(), DEPTH, tile) };
        isa.dispatch(Tile { pairs, rows, columns, products: tile, out });
    });
}

struct Tile<'a> {
    pairs: &'a Pairs<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    products: *const f32,
    out: Cells<'a>,
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { pairs, rows, columns, products, out } = self;
        let (mut of_states, mut of_patterns) = ([0f64; ROWS], [0f64; COLUMNS]);
        squares(s, pairs.state, rows.clone(), &mut of_states);
        squares(s, pairs.patterns, columns.clone(), &mut of_patterns);
        let of_patterns = &of_patterns[..columns.len()];
        let (factor, scale) = (-2.0 * f64::from(pairs.sign), 0.25 / pairs.n as f64);
        for start in (0..rows.len()).step_by(GROUP) {
            let group = start..rows.len().min(start + GROUP);
            // Of each pattern a bit for each state of the group.
            let mut near = [0u32; COLUMNS];
            let mut any = false;
            for i in group.clone() {
                let all = of_states[i];
                // SAFETY: a row of the tile, and its losses, which this task alone writes.
                let (products, losses) = unsafe {
                    let at = out.at((rows.start + i) * pairs.pattern_count + columns.start);
                    storage::fetch_row(at.wrapping_add(pairs.pattern_count).cast(), 4 * columns.len());
                    (
                        std::slice::from_raw_parts(products.add(i * columns.len()), columns.len()),
                        std::slice::from_raw_parts_mut(at, columns.len()),
                    )
                };
                let mut digits = true;
                for ((loss, &product), &pattern) in losses.iter_mut().zip(products).zip(of_patterns) {
                    let sizes = all + pattern;
                    let square = factor * f64::from(product) + sizes;
                    // Neither where it is a NaN or overflowed.
                    digits &= (square >= FAR * sizes) & (square < f64::INFINITY);
                    *loss = (square * scale) as f32;
                }
                if !digits {
                    any = true;
                    for ((near, &product), &pattern) in near.iter_mut().zip(products).zip(of_patterns) {
                        let sizes = all + pattern;
                        let square = factor * f64::from(product) + sizes;
                        let digits = (square >= FAR * sizes) & (square < f64::INFINITY);
                        *near |= u32::from(!digits) << (i - start);
                    }
                }
            }
            if any {
                let mut states = [0; GROUP];
                for (slot, state) in states.iter_mut().enumerate().take(group.len()) {
                    *state = rows.start + start + slot;
                }
                let (mut found, mut count) = ([(0, 0); COLUMNS], 0);
                for (j, &near) in near.iter().enumerate().filter(|(_, near)| **near != 0) {
                    found[count] = (columns.start + j, near);
                    count += 1;
                }
                // SAFETY: these losses belong to this task.
                unsafe { exact::losses(s, pairs, &states[..group.len()], &found[..count], out) };
            }
        }
    }
}

/// Squared lengths of rows. f32 sums are short.
#[inline(always)]
fn squares<S: Simd>(s: S, points: Floats, rows: Range<usize>, to: &mut [f64]) {
    let mut scratch = Scratch::<BLOCK>::new();
    let wide = 4 * S::LANES;
    for (row, to) in rows.zip(to) {
        let mut sum = s.d_zero();
        for start in (0..points.columns).step_by(BLOCK) {
            let count = BLOCK.min(points.columns - start);
            let mut k = 0;
            // SAFETY: within the row.
            unsafe {
                let from = points.row(row).add(start * points.dtype.size());
                let x = storage::read(s, points.dtype, from, count, scratch.ptr());
                while k + wide <= count {
                    let mut part = s.zero();
                    for v in 0..4 {
                        let x = s.load(x.add(k + v * S::LANES));
                        part = s.mul_add(x, x, part);
                    }
                    sum = s.d_add(sum, part);
                    k += wide;
                }
                while k < count {
                    let x = storage::load_lanes(s, x.add(k), S::LANES.min(count - k));
                    sum = s.d_mul_add(sum, x, x);
                    k += S::LANES;
                }
            }
        }
        *to = s.d_sum(sum);
    }
}
