//! Rows in lanes, by class, and values that rows have one of.

use super::tiles::{Lanes, Read, Write};
use crate::cpu::simd::{Simd, dispatch, math};
use crate::registry::{Floats, FloatsMut};
use std::ops::Range;

/// The rows by class: for each class one vector, at first of logits, and room for another.
pub struct Classes<S: Simd> {
    values: *mut f32,
    terms: *mut f32,
    pub len: usize,
    /// Of each row; not the number of a class if there is none.
    pub label: S::F,
    pub rows: Range<usize>,
}

impl<S: Simd> Classes<S> {
    pub(super) fn new(values: *mut f32, terms: *mut f32, len: usize, label: S::F, rows: Range<usize>) -> Self {
        Classes { values, terms, len, label, rows }
    }

    /// Reads the rows.
    ///
    /// # Safety
    /// They are within `from`, and of this length; so is the row after them if they are `followed`.
    #[inline(always)]
    pub unsafe fn read(&mut self, s: S, from: &Floats, followed: bool) {
        let (first, count) = (self.rows.start, self.rows.len());
        let Classes { values, terms: rows, len: n, .. } = *self;
        dispatch::apart(s, Read { from, first, count, followed, lanes: S::LANES, n, rows, values });
    }

    #[inline(always)]
    pub fn get(&self, s: S, k: usize) -> S::F {
        assert!(k < self.len);
        // SAFETY: a vector of the tile, which is whole.
        unsafe { s.load(self.values.add(k * S::LANES)) }
    }

    #[inline(always)]
    pub fn set(&mut self, s: S, k: usize, value: S::F) {
        assert!(k < self.len);
        // SAFETY: as above.
        unsafe { s.store(self.values.add(k * S::LANES), value) }
    }

    /// What [`Classes::set_term`] put there.
    #[inline(always)]
    pub fn term(&self, s: S, k: usize) -> S::F {
        assert!(k < self.len);
        // SAFETY: as above.
        unsafe { s.load(self.terms.add(k * S::LANES)) }
    }

    #[inline(always)]
    pub fn set_term(&mut self, s: S, k: usize, value: S::F) {
        assert!(k < self.len);
        // SAFETY: as above.
        unsafe { s.store(self.terms.add(k * S::LANES), value) }
    }

    /// The values of four classes from `k` on, a multiple of 4; -inf of those beyond the last.
    #[inline(always)]
    pub fn four(&self, s: S, k: usize) -> [S::F; 4] {
        assert!(k < self.len && k.is_multiple_of(4));
        let mut z = [s.zero(); 4];
        for v in 0..4 {
            // SAFETY: tiles are whole fours, too.
            z[v] = unsafe { s.load(self.values.add((k + v) * S::LANES)) };
        }
        z
    }

    #[inline(always)]
    pub fn set_four(&mut self, s: S, k: usize, values: [S::F; 4]) {
        Self::store_four(s, self.values, self.len, k, values);
    }

    #[inline(always)]
    pub fn set_four_terms(&mut self, s: S, k: usize, values: [S::F; 4]) {
        Self::store_four(s, self.terms, self.len, k, values);
    }

    #[inline(always)]
    fn store_four(s: S, to: *mut f32, len: usize, k: usize, values: [S::F; 4]) {
        assert!(k < len && k.is_multiple_of(4));
        for v in 0..4 {
            // SAFETY: tiles are whole fours, too.
            unsafe { s.store(to.add((k + v) * S::LANES), values[v]) };
        }
    }

    /// As [`Classes::sums`], with `step` for four classes at a time: see [`Classes::four`].
    #[inline(always)]
    pub fn sums_by_four<const N: usize>(
        &mut self,
        s: S,
        mut step: impl FnMut(&mut Self, usize, [[S::F; 4]; N]) -> [[S::F; 4]; N],
    ) -> [S::F; N] {
        let mut totals = [s.zero(); N];
        for start in (0..self.len).step_by(16) {
            let mut sums = [[s.zero(); 4]; N];
            for k in (start..self.len.min(start + 16)).step_by(4) {
                sums = step(self, k, sums);
            }
            for i in 0..N {
                let [a, b, c, d] = sums[i];
                totals[i] = s.add(totals[i], s.add(s.add(a, b), s.add(c, d)));
            }
        }
        totals
    }

    /// Leaves exp(z_k - about) as values, 0 for the label's where it is left out, and sums them.
    #[inline(always)]
    pub fn terms(&mut self, s: S, about: S::F, without_label: bool) -> S::F {
        let [sum] = self.sums_by_four(
            s,
            #[inline(always)]
            |classes, k, [mut sums]| {
                let mut z = classes.four(s, k);
                if without_label {
                    for v in 0..4 {
                        z[v] = s.select(classes.is_label(s, k + v), s.splat(f32::NEG_INFINITY), z[v]);
                    }
                }
                let terms = math::exp_about(s, z, about);
                classes.set_four(s, k, terms);
                for v in 0..4 {
                    sums[v] = s.add(sums[v], terms[v]);
                }
                [sums]
            },
        );
        sum
    }

    /// Each row's largest value.
    #[inline(always)]
    pub fn top(&self, s: S) -> S::F {
        let mut top = s.splat(f32::NEG_INFINITY);
        for k in 0..self.len {
            top = s.max(top, self.get(s, k));
        }
        top
    }

    /// Sums over the classes, `step` adding to them those of one class. Rather than one long chain of roundings there
    /// are four short ones at a time.
    #[inline(always)]
    pub fn sums<const N: usize>(
        &mut self,
        s: S,
        mut step: impl FnMut(&mut Self, usize, [S::F; N]) -> [S::F; N],
    ) -> [S::F; N] {
        let mut totals = [s.zero(); N];
        for start in (0..self.len).step_by(16) {
            let end = self.len.min(start + 16);
            let mut sums = [[s.zero(); N]; 4];
            for k in (start..end).step_by(4) {
                for v in 0..4.min(end - k) {
                    sums[v] = step(self, k + v, sums[v]);
                }
            }
            for (i, total) in totals.iter_mut().enumerate() {
                let sum = s.add(s.add(sums[0][i], sums[1][i]), s.add(sums[2][i], sums[3][i]));
                *total = s.add(*total, sum);
            }
        }
        totals
    }

    /// One value per row, by its number in the call.
    #[inline(always)]
    pub fn by_row(&self, s: S, value: impl Fn(usize) -> f32) -> S::F {
        Lanes::collect(self.rows.clone().map(value)).vector(s)
    }

    /// The values row by row.
    #[inline(always)]
    pub fn by_rows(&mut self, s: S) -> *const f32 {
        dispatch::apart(s, self.write(0, None));
        self.terms
    }

    /// Writes the values to those rows that have a bit in `done`.
    ///
    /// # Safety
    /// They are within `to`, and of this length.
    #[inline(always)]
    pub unsafe fn write_rows(&mut self, s: S, done: u32, to: &FloatsMut) {
        dispatch::apart(s, self.write(done, Some(to)));
    }

    #[inline(always)]
    fn write<'a>(&self, done: u32, to: Option<&'a FloatsMut<'a>>) -> Write<'a> {
        let (first, count) = (self.rows.start, self.rows.len());
        let Classes { values, terms: rows, len: n, .. } = *self;
        Write { to, first, count, done, lanes: S::LANES, n, rows, values }
    }

    /// Rows of which class `k` is the label.
    #[inline(always)]
    pub fn is_label(&self, s: S, k: usize) -> S::M {
        s.eq(self.label, s.splat(k as i32 as f32))
    }
}
