//! Rows in lanes, by class, and values that rows have one of.

use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::{Scratch, load_typed};
use crate::registry::{DType, Floats};
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
    /// Reads the rows.
    ///
    /// # Safety
    /// They are within `from`, and of this length; so is the row after them if they are `followed`.
    #[inline(always)]
    pub unsafe fn read(&mut self, s: S, from: &Floats, followed: bool) {
        let (n, first, count) = (self.len, self.rows.start, self.rows.len());
        // SAFETY: a vector that begins in a row ends in the next. Tiles have room for the longest.
        unsafe {
            let mut rows = self.terms.cast_const();
            if from.dtype == DType::F32 && from.stride == n && count == S::LANES && followed && n >= S::LANES
            {
                rows = from.row(first).cast();
            } else {
                gather(s, from, first, count, self.terms);
            }
            for k in (0..n).step_by(S::LANES) {
                s.transpose(rows.add(k), n, self.values.add(k * S::LANES), S::LANES);
            }
            for k in n..n.next_multiple_of(4) {
                s.store(self.values.add(k * S::LANES), s.splat(f32::NEG_INFINITY));
            }
        }
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
        // Backwards, as what is written beyond a row's end is the next one's.
        for k in (0..self.len).step_by(S::LANES).rev() {
            // SAFETY: whole tiles.
            unsafe { s.transpose(self.values.add(k * S::LANES), S::LANES, self.terms.add(k), self.len) };
        }
        self.terms
    }

    /// Rows of which class `k` is the label.
    #[inline(always)]
    pub fn is_label(&self, s: S, k: usize) -> S::M {
        s.eq(self.label, s.splat(k as i32 as f32))
    }
}

/// Lanes of the widest vector.
pub const WIDEST: usize = 16;

/// Longest row that goes into lanes: one much longer fills vectors of its own, and an f32 sum has no use for more
/// terms.
pub const LONGEST: usize = 64;

/// Whether rows of `n` logits go into lanes.
pub fn fits<S: Simd>(n: usize) -> bool {
    S::LANES > 1 && n <= LONGEST
}

/// Values of `LANES` rows, one row after the other or one class after the other.
type Tile = Scratch<{ (LONGEST + 1) * WIDEST }>;

/// Room for rows and what is made of them.
pub struct Tiles {
    rows: Tile,
    classes: Tile,
}

impl Tiles {
    pub const fn new() -> Tiles {
        Tiles { rows: Tile::new(), classes: Tile::new() }
    }

    /// Room for `rows`, which [`Classes::read`] is to fill.
    pub fn classes<S: Simd>(&mut self, len: usize, rows: Range<usize>, label: S::F) -> Classes<S> {
        assert!(fits::<S>(len) && rows.len() <= S::LANES);
        Classes { values: self.classes.ptr(), terms: self.rows.ptr(), len, label, rows }
    }
}

/// One value per row, and how a vector reads and writes them.
#[repr(C, align(64))]
pub struct Lanes(pub [f32; WIDEST]);

impl Lanes {
    /// Zeros where there are less values.
    #[inline(always)]
    fn collect(values: impl Iterator<Item = f32>) -> Lanes {
        let mut lanes = Lanes([0.0; WIDEST]);
        lanes.0.iter_mut().zip(values).for_each(|(lane, value)| *lane = value);
        lanes
    }

    #[inline(always)]
    pub fn vector<S: Simd>(&self, s: S) -> S::F {
        const { assert!(S::LANES <= WIDEST) };
        // SAFETY: there is room for a vector.
        unsafe { s.load(self.0.as_ptr()) }
    }

    #[inline(always)]
    pub fn of<S: Simd>(s: S, v: S::F) -> Lanes {
        const { assert!(S::LANES <= WIDEST) };
        let mut lanes = Lanes([0.0; WIDEST]);
        // SAFETY: there is room for a vector.
        unsafe { s.store(lanes.0.as_mut_ptr(), v) };
        lanes
    }
}

/// Rows one after the other as f32, and zeros to make them `LANES`.
///
/// # Safety
/// They are within `from`; `to` has room for `LANES` of them, and a vector more.
#[inline(always)]
unsafe fn gather<S: Simd>(s: S, from: &Floats, first: usize, count: usize, to: *mut f32) {
    let n = from.columns;
    unsafe {
        if from.stride == n || count == 1 {
            copy(s, from.dtype, from.row(first), count * n, to);
        } else {
            // What is written beyond a row's end is the next one's.
            for i in 0..count {
                copy(s, from.dtype, from.row(first + i), n, to.add(i * n));
            }
        }
        if count < S::LANES {
            to.add(count * n).write_bytes(0, (S::LANES - count) * n);
        }
        s.store(to.add(S::LANES * n), s.zero());
    }
}

/// Converts `n` values to f32.
///
/// # Safety
/// Both are in bounds, `to` with a vector more.
#[inline(always)]
unsafe fn copy<S: Simd>(s: S, dtype: DType, from: *const u8, n: usize, to: *mut f32) {
    for k in (0..n).step_by(S::LANES) {
        unsafe { s.store(to.add(k), load_typed(s, dtype, from.add(k * dtype.size()), S::LANES.min(n - k))) };
    }
}
