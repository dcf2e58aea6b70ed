//! From similarities to what a softmax loss multiplies rows with.

use super::{HEIGHT, Tile, WIDTH};
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::{Scratch, load_lanes};

/// Of the rows or the columns of S: log sum exp, and the weight of each one's softmax.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub log_sums: &'a [f32],
    pub weights: &'a [f32],
}

/// Between the smallest and the largest log sum of a tile's rows and columns at most, for one exponential to
/// serve both: probabilities below e^-77 are then 0.
const RANGE: f32 = 20.0;

/// Replaces S_ij by w_i exp(S_ij - lse_i) - shift, or with columns by
/// w_i exp(S_ij - lse_i) + w_j exp(S_ij - lse_j) - shift. An element of -inf gives -shift.
#[inline(always)]
pub fn softmax_weights<S: Simd>(s: S, tile: &Tile, rows: Side, columns: Option<Side>, shift: f32) {
    let width = tile.width(s);
    let shift = s.splat(shift);
    let Some(columns) = columns else {
        for row in tile.rows.clone() {
            let (w, about) = (s.splat(rows.weights[row]), s.splat(rows.log_sums[row]));
            map(
                s,
                tile.row(row),
                width,
                about,
                #[inline(always)]
                |term, _, _| s.sub(s.mul(w, term), shift),
            );
        }
        return;
    };
    let column_sums = &columns.log_sums[tile.columns.clone()];
    let column_weights = &columns.weights[tile.columns.clone()];
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for &x in rows.log_sums[tile.rows.clone()].iter().chain(column_sums) {
        // Of a sum that is not finite nothing can be wrong that is not anyway.
        (low, high) = if x.is_finite() { (low.min(x), high.max(x)) } else { (low, high) };
    }
    if high - low <= RANGE {
        // exp(S - c) (w_i exp(c - lse_i) + w_j exp(c - lse_j))
        let about = 0.5 * (low + high);
        let mut row_factors = [0.0f32; HEIGHT];
        let mut column_factors = Scratch::<WIDTH>::new();
        let column_factors = column_factors.ptr();
        let range = tile.rows.clone();
        factors(s, about, &rows.log_sums[range.clone()], &rows.weights[range], row_factors.as_mut_ptr());
        factors(s, about, column_sums, column_weights, column_factors);
        let about = s.splat(about);
        for (row, &factor) in tile.rows.clone().zip(&row_factors) {
            let factor = s.splat(factor);
            map(
                s,
                tile.row(row),
                width,
                about,
                #[inline(always)]
                |term, _, j| {
                    // SAFETY: filled up to whole vectors.
                    let both = s.add(factor, unsafe { s.load(column_factors.add(j)) });
                    s.sub(s.mul(both, term), shift)
                },
            );
        }
        return;
    }
    for row in tile.rows.clone() {
        let (w, about) = (s.splat(rows.weights[row]), s.splat(rows.log_sums[row]));
        map(
            s,
            tile.row(row),
            width,
            about,
            #[inline(always)]
            |term, z, j| {
                let lanes = (column_sums.len() - j).min(S::LANES);
                // SAFETY: within both.
                let (sum, v) = unsafe {
                    (
                        load_lanes(s, column_sums.as_ptr().add(j), lanes),
                        load_lanes(s, column_weights.as_ptr().add(j), lanes),
                    )
                };
                let of_column = s.mul(v, math::exp_softmax(s, s.sub(z, sum)));
                s.sub(s.mul_add(w, term, of_column), shift)
            },
        );
    }
}

/// w exp(about - lse), up to whole vectors.
#[inline(always)]
fn factors<S: Simd>(s: S, about: f32, log_sums: &[f32], weights: &[f32], to: *mut f32) {
    let n = log_sums.len();
    for j in (0..n).step_by(S::LANES) {
        let lanes = (n - j).min(S::LANES);
        // SAFETY: within all three.
        unsafe {
            let sum = load_lanes(s, log_sums.as_ptr().add(j), lanes);
            let w = load_lanes(s, weights.as_ptr().add(j), lanes);
            // Without any element to sum there is none to weigh.
            let none = s.eq(sum, s.splat(f32::NEG_INFINITY));
            let factor = s.mul(w, math::exp(s, s.sub(s.splat(about), sum)));
            s.store(to.add(j), s.select(none, s.zero(), factor));
        }
    }
}

/// Replaces z by `f(exp(z - about), z, j)`.
#[inline(always)]
fn map<S: Simd>(s: S, row: *mut f32, width: usize, about: S::F, f: impl Fn(S::F, S::F, usize) -> S::F) {
    let mut j = 0;
    // SAFETY: a row of the tile has room for its width in whole vectors.
    unsafe {
        while j + 4 * S::LANES <= width {
            let z: [S::F; 4] = std::array::from_fn(
                #[inline(always)]
                |v| s.load(row.add(j + v * S::LANES)),
            );
            let terms = math::exp_about(s, z, about);
            for v in 0..4 {
                s.store(row.add(j + v * S::LANES), f(terms[v], z[v], j + v * S::LANES));
            }
            j += 4 * S::LANES;
        }
        while j < width {
            let z = s.load(row.add(j));
            s.store(row.add(j), f(math::exp_softmax(s, s.sub(z, about)), z, j));
            j += S::LANES;
        }
    }
}
