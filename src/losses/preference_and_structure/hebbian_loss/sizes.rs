//! How large the terms of the products are, and with them the rounding errors.

use super::super::{ROWS, WIDTH};
use super::{Block, SOME};
use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, Scratch};
use std::ptr;

/// Patterns side by side in registers.
const TOGETHER: usize = 4;
/// Of the sizes; the row's largest gradient must be larger.
const LEAST: f64 = 0.5;

/// Of the upstream gradients of each state.
pub struct Sizes {
    /// sum g.
    pub total: [f64; ROWS],
    /// max |g|.
    largest: [f32; ROWS],
    /// sum |g| max over k of |p_k|.
    weighted: [f64; ROWS],
    /// max over k of sum |p_k|.
    column: f64,
}

impl Sizes {
    /// Whether rounding errors of the product are small beside a row's largest gradient, at least `largest`.
    /// `sum` is the product's largest: errors add up where its terms are of one sign.
    pub fn allow(&self, slot: usize, sum: f32, largest: f32) -> bool {
        let by_column = f64::from(self.largest[slot]) * self.column;
        let most = if by_column < self.weighted[slot] { by_column } else { self.weighted[slot] };
        largest >= sum && f64::from(largest) >= LEAST * most
    }
}

impl Block<'_> {
    #[inline(always)]
    pub fn measure<S: Simd>(&self, s: S) -> Sizes {
        let mut sizes =
            Sizes { total: [0.0; ROWS], largest: [0.0; ROWS], weighted: [0.0; ROWS], column: 0.0 };
        let pattern_count = self.pairs.pattern_count;
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
        sizes
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
}
