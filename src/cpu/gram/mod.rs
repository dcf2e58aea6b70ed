//! Skeleton "Gram tiles": objectives of all pairs (x_i, y_j) that depend on squared distances.
//!
//! The exponent of a pair is E_ij = sum over spaces of scale |x_i - y_j|^2. It is computed for a tile of
//! [`ROWS`] x [`COLUMNS`] pairs at a time and never stored. An objective is made of two sweeps:
//! [`row_sums_of`] gathers per row i something of all its E_ij (a [`RowSum`]: log of the sum of exp(-E),
//! or the sum of another function of E), and [`gradient`] adds up w_ij (x_i - y_j) with weights that it
//! computes from E_ij and what is known of row and column (a [`Weights`]).
//!
//! Rounding, with u = 2^-24: E_ij is a sum of squares of differences, in parts of [`DEPTH`] dimensions, and has a
//! relative error of a few u; so exp(-E) has one of a few E u. In many dimensions |x|^2 + |y|^2 - 2 x y is
//! twice as fast, but has an absolute error of a few u scale (|x|^2 + |y|^2): it is taken for tiles in which
//! that sum is at most [`product::LARGEST`] (points near the origin, as seen from the bandwidth), so that
//! exp(-E) has a relative error of a few u in any case. Gradients always add up differences: points that
//! nearly agree pull at each other with all their digits.
//!
//! A block of rows is one task, and its tiles follow one another: results do not depend on threads.

pub mod kernel;
mod log_sum;
mod product;
mod scratch;
mod sweep;

pub use log_sum::{LogSum, LogSums, Softmax, softmax};
pub use sweep::{Output, Term, gradient, row_log_sums, row_sums_of};

use crate::cpu::simd::Simd;
use crate::registry::Floats;
use std::ops::Range;

/// Rows of a tile: a multiple of two vectors of every instruction set.
pub const ROWS: usize = 64;
/// Columns of a tile.
pub const COLUMNS: usize = 128;
/// Dimensions that are summed up in one go.
const DEPTH: usize = 256;

/// Two sets of points of the same dimension; where both are the same memory, it is a set with itself.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    pub x: Floats<'a>,
    pub y: Floats<'a>,
    pub scale: f32,
}

impl<'a> Space<'a> {
    /// For the kernel exp(-|x - y|^2 / (2 h^2)).
    pub fn gaussian(x: Floats<'a>, y: Floats<'a>, bandwidth: f64) -> Space<'a> {
        Space { x, y, scale: gaussian_scale(bandwidth) }
    }
}

/// 1 / (2 h^2), kept in range: the kernel of equal points is 1 for any bandwidth.
pub fn gaussian_scale(bandwidth: f64) -> f32 {
    (0.5 / bandwidth / bandwidth).clamp(f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)) as f32
}

/// All pairs of `rows` points x and `columns` points y.
#[derive(Clone, Copy)]
pub struct Pairs<'a> {
    pub rows: usize,
    pub columns: usize,
    pub spaces: &'a [Space<'a>],
    /// Pairs (i, i) do not count: E_ii is infinite.
    pub skip_self: bool,
    /// Distances keep all their digits, however small.
    pub exact: bool,
}

impl Pairs<'_> {
    /// Memory traffic that a sweep is worth.
    fn work(&self) -> usize {
        let dims: usize = self.spaces.iter().map(|space| space.x.columns).sum();
        self.rows.saturating_mul(self.columns).saturating_mul(dims + 16) / 4
    }
}

/// What is known of a row or a column when weights are computed.
pub const CONSTANTS: usize = 2;

pub trait Weights: Sync {
    fn of_row(&self, i: usize) -> [f32; CONSTANTS];
    fn of_column(&self, j: usize) -> [f32; CONSTANTS];
    fn weight<S: Simd>(&self, s: S, e: S::F, row: [S::F; CONSTANTS], column: [S::F; CONSTANTS]) -> S::F;
}

/// A sum over the pairs of each row.
pub trait RowSum: Sync {
    /// State of a block of up to [`ROWS`] rows.
    type State;
    fn start(&self, rows: Range<usize>) -> Self::State;
    /// Takes in a tile: `columns` rows of [`ROWS`] exponents, `rows` of them in use.
    ///
    /// # Safety
    /// `tile` holds that.
    unsafe fn add<S: Simd>(
        &self,
        s: S,
        state: &mut Self::State,
        tile: *const f32,
        rows: usize,
        columns: usize,
    );
    /// All pairs of the row at `slot`, which is row `i` of the set, have been taken in.
    fn finish(&self, state: &Self::State, slot: usize, i: usize);
}
