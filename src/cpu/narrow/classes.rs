//! Rows in lanes, by class, and values that rows have one of.

use super::tiles::{LONGEST, Lanes, Read, Write};
use crate::cpu::simd::{Simd, dispatch};
use crate::registry::{Floats, FloatsMut};
use std::ops::Range;

/// Numbers of classes: loaded more quickly than converted.
static NUMBERS: [f32; LONGEST] = {
    let mut numbers = [0.0; LONGEST];
    let mut k = 0;
    while k < LONGEST {
        numbers[k] = k as f32;
        k += 1;
    }
    numbers
};

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
    pub(super) fn new(
        values: *mut f32,
        terms: *mut f32,
        len: usize,
        label: S::F,
        rows: Range<usize>,
    ) -> Self {
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

    /// The values of two classes from `k` on, an even number; -inf of one beyond the last.
    #[inline(always)]
    pub fn pair(&self, s: S, k: usize) -> [S::F; 2] {
        assert!(k < self.len && k.is_multiple_of(2));
        // SAFETY: tiles are whole pairs, too.
        unsafe { [s.load(self.values.add(k * S::LANES)), s.load(self.values.add((k + 1) * S::LANES))] }
    }

    #[inline(always)]
    pub fn set_pair(&mut self, s: S, k: usize, values: [S::F; 2]) {
        Self::store_pair(s, self.values, self.len, k, values);
    }

    #[inline(always)]
    pub fn set_pair_of_terms(&mut self, s: S, k: usize, values: [S::F; 2]) {
        Self::store_pair(s, self.terms, self.len, k, values);
    }

    #[inline(always)]
    fn store_pair(s: S, to: *mut f32, len: usize, k: usize, values: [S::F; 2]) {
        assert!(k < len && k.is_multiple_of(2));
        // SAFETY: tiles are whole pairs, too.
        unsafe {
            s.store(to.add(k * S::LANES), values[0]);
            s.store(to.add((k + 1) * S::LANES), values[1]);
        }
    }

    /// As [`Classes::sums`], with `step` for two classes at a time: see [`Classes::pair`].
    #[inline(always)]
    pub fn sums_by_pair<const N: usize>(
        &mut self,
        s: S,
        mut step: impl FnMut(&mut Self, usize, [[S::F; 2]; N]) -> [[S::F; 2]; N],
    ) -> [S::F; N] {
        let mut totals = [s.zero(); N];
        for start in (0..self.len).step_by(16) {
            let mut sums = [[s.zero(); 2]; N];
            for k in (start..self.len.min(start + 16)).step_by(2) {
                sums = step(self, k, sums);
            }
            for i in 0..N {
                totals[i] = s.add(totals[i], s.add(sums[i][0], sums[i][1]));
            }
        }
        totals
    }

    /// Leaves exp(z_k - about) as values, 0 for the label's where it is left out, and sums them.
    #[inline(always)]
    pub fn terms(&mut self, s: S, about: S::F, without_label: bool) -> S::F {
        let [sum] = self.sums_by_pair(
            s,
            #[inline(always)]
            |classes, k, [mut sums]| {
                let mut z = classes.pair(s, k);
                for v in 0..2 {
                    if without_label {
                        z[v] = s.select(classes.is_label(s, k + v), s.splat(f32::NEG_INFINITY), z[v]);
                    }
                    z[v] = s.sub(z[v], about);
                }
                let terms = s.softmax_pair(z);
                classes.set_pair(s, k, terms);
                for v in 0..2 {
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
    /// are two short ones at a time.
    #[inline(always)]
    pub fn sums<const N: usize>(
        &mut self,
        s: S,
        mut step: impl FnMut(&mut Self, usize, [S::F; N]) -> [S::F; N],
    ) -> [S::F; N] {
        let mut totals = [s.zero(); N];
        for start in (0..self.len).step_by(16) {
            let end = self.len.min(start + 16);
            let mut sums = [[s.zero(); N]; 2];
            for k in start..end {
                // By turns.
                sums = [sums[1], step(self, k, sums[0])];
            }
            for (i, total) in totals.iter_mut().enumerate() {
                *total = s.add(*total, s.add(sums[0][i], sums[1][i]));
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
        s.eq(self.label, s.splat(NUMBERS[k]))
    }
}
