//! log sum_j exp(-E_ij) of rows, in log space: a sum of kernels that all underflow keeps its digits.

use super::{CONSTANTS, ROWS, RowSum, Weights};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Simd, math};
use std::ops::Range;

/// Terms added in f32 before they are added to the tile's sum.
const RUN: usize = 16;

/// log of a sum of exp(-E), as `ln(sum) - least` with the smallest exponent: softmax weights then are
/// `exp(least - E) / sum`, in which nothing is lost to rounding whatever the size of E or of the sum.
#[derive(Clone, Copy, Debug)]
pub struct LogSum {
    pub least: f32,
    pub sum: f32,
}

impl LogSum {
    /// Of the number 1.
    pub const ZERO: LogSum = LogSum { least: 0.0, sum: 1.0 };

    pub fn get(self) -> f64 {
        f64::from(self.sum).ln() - f64::from(self.least)
    }

    /// What weights are computed from.
    pub fn constants(self) -> [f32; CONSTANTS] {
        [self.least, 1.0 / self.sum]
    }
}

/// The log sums of all rows, in memory of the caller: `2 * rows` floats, first all `least`, then all `sum`.
#[derive(Clone, Copy)]
pub struct LogSums<'a> {
    values: &'a [f32],
}

impl<'a> LogSums<'a> {
    pub fn new(values: &'a [f32]) -> LogSums<'a> {
        LogSums { values }
    }

    fn len(&self) -> usize {
        self.values.len() / 2
    }

    pub fn get(&self, i: usize) -> LogSum {
        LogSum { least: self.values[i], sum: self.values[self.len() + i] }
    }

    /// The sum over all rows.
    pub fn total(&self) -> LogSum {
        let (least, sums) = self.values.split_at(self.len());
        let smallest = least.iter().fold(f32::MAX, |m, &v| m.min(v));
        let weight = |l: f32| (f64::from(smallest) - f64::from(l)).exp();
        let sum: f64 = least.iter().zip(sums).map(|(&l, &s)| weight(l) * f64::from(s)).sum();
        LogSum { least: smallest, sum: sum as f32 }
    }
}

/// As a [`RowSum`]. The state is relative to the smallest exponent so far.
pub struct RowLogSum<'a> {
    rows: usize,
    out: Cells<'a>,
}

impl<'a> RowLogSum<'a> {
    /// `out`: see [`LogSums`].
    pub fn new(out: &'a mut [f32]) -> RowLogSum<'a> {
        RowLogSum { rows: out.len() / 2, out: Cells::new(out) }
    }
}

pub struct State {
    least: [f32; ROWS],
    sum: [f64; ROWS],
}

impl RowSum for RowLogSum<'_> {
    type State = State;

    fn start(&self, _rows: Range<usize>) -> State {
        State { least: [f32::MAX; ROWS], sum: [0.0; ROWS] }
    }

    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, state: &mut State, tile: *const f32, rows: usize, columns: usize) {
        let (mut least, mut sums) = ([0f32; ROWS], [0f32; ROWS]);
        let mut i = 0;
        while i < rows {
            // Two vectors at a time: one would wait for itself.
            unsafe {
                let before =
                    [s.load(state.least.as_ptr().add(i)), s.load(state.least.as_ptr().add(i + S::LANES))];
                let mut low = before;
                for j in 0..columns {
                    let e = tile.add(j * ROWS + i);
                    low[0] = s.min(low[0], s.load(e));
                    low[1] = s.min(low[1], s.load(e.add(S::LANES)));
                }
                // Infinite exponents count nothing. A NaN comes through in the sum.
                low = [s.min(low[0], s.splat(f32::MAX)), s.min(low[1], s.splat(f32::MAX))];
                let mut total = [s.zero(); 2];
                let mut j = 0;
                while j < columns {
                    let end = columns.min(j + RUN);
                    let mut run = [s.zero(); 2];
                    while j < end {
                        let e = tile.add(j * ROWS + i);
                        run[0] = s.add(run[0], math::exp(s, s.sub(low[0], s.load(e))));
                        run[1] = s.add(run[1], math::exp(s, s.sub(low[1], s.load(e.add(S::LANES)))));
                        j += 1;
                    }
                    total = [s.add(total[0], run[0]), s.add(total[1], run[1])];
                }
                for v in 0..2 {
                    s.store(least.as_mut_ptr().add(i + v * S::LANES), low[v]);
                    s.store(sums.as_mut_ptr().add(i + v * S::LANES), total[v]);
                }
            }
            i += 2 * S::LANES;
        }
        for i in 0..rows {
            if least[i] != state.least[i] {
                state.sum[i] *= (f64::from(least[i]) - f64::from(state.least[i])).exp();
                state.least[i] = least[i];
            }
            state.sum[i] += f64::from(sums[i]);
        }
    }

    fn finish(&self, state: &State, slot: usize, i: usize) {
        self.out.set(i, state.least[slot]);
        self.out.set(self.rows + i, state.sum[slot] as f32);
    }
}

/// Weights `factor exp(-E) / sum`, the sum the same for all pairs.
pub struct Softmax {
    pub factor: f32,
    pub log_sum: LogSum,
}

impl Weights for Softmax {
    fn of_row(&self, _i: usize) -> [f32; CONSTANTS] {
        let [least, share] = self.log_sum.constants();
        [least, self.factor * share]
    }

    fn of_column(&self, _j: usize) -> [f32; CONSTANTS] {
        [0.0; CONSTANTS]
    }

    #[inline(always)]
    fn weight<S: Simd>(&self, s: S, e: S::F, row: [S::F; CONSTANTS], _column: [S::F; CONSTANTS]) -> S::F {
        softmax(s, e, row)
    }
}

/// The softmax weight of a pair, from [`LogSum::constants`].
#[inline(always)]
pub fn softmax<S: Simd>(s: S, e: S::F, [least, share]: [S::F; CONSTANTS]) -> S::F {
    s.mul(math::exp(s, s.sub(least, e)), share)
}
