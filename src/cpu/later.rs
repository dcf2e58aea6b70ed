//! The gradient of one row, written while the next row is read: stores then wait for memory behind the exponentials
//! instead of behind each other.

use crate::cpu::blocks::NO_ELEMENT;
use crate::cpu::simd::Simd;
use crate::cpu::storage::{BLOCK, ahead, store_typed, write_one};
use crate::registry::DType;
use std::cell::Cell;

/// What is still to be written.
pub struct Later {
    row: Cell<Option<Pending>>,
    /// Which of its two places in the cache the row in work has: not that of the one that waits.
    place: Cell<usize>,
    /// Where these are: the first values, and the first blocks.
    places: [(usize, usize); 2],
}

/// `weight exp(z_k - top)` for every element of a row but `own`.
#[derive(Clone, Copy)]
pub struct Pending {
    /// Kept exponentials, and what each block of them refers to.
    pub terms: *const f32,
    pub about: *const f32,
    pub top: f32,
    pub weight: f32,
    pub out: *mut u8,
    pub dtype: DType,
    pub len: usize,
    pub own: (usize, f32),
}

/// No element of a row.
pub const NONE: usize = NO_ELEMENT;

impl Later {
    pub fn new(places: [(usize, usize); 2]) -> Later {
        Later { row: Cell::new(None), place: Cell::new(0), places }
    }

    pub fn put(&self, row: Pending) {
        assert!(self.row.replace(Some(row)).is_none());
        self.place.set(1 - self.place.get());
    }

    /// Where the row in work keeps its values and blocks.
    pub fn place(&self) -> (usize, usize) {
        self.places[self.place.get()]
    }

    /// Notes the label's element of the row at `out`; false if that is not the one that waits.
    pub fn set(&self, out: *mut u8, k: usize, value: f32) -> bool {
        let Some(row) = self.row.get().filter(|row| row.out == out) else { return false };
        assert!(row.own.0 == NONE || row.own.0 == k);
        self.row.set(Some(Pending { own: (k, value), ..row }));
        true
    }

    /// The block of the waiting row that begins at `start`, if one waits.
    #[inline(always)]
    pub fn block<S: Simd>(&self, s: S, start: usize) -> Part<S> {
        match self.row.get() {
            Some(row) => Part::new(s, &row, start),
            None => Part::nothing(s),
        }
    }

    /// All blocks were written.
    pub fn done(&self) {
        self.row.set(None);
    }

    /// Writes what waits, if anything does.
    #[inline(always)]
    pub fn flush<S: Simd>(&self, s: S) {
        if let Some(row) = self.row.take() {
            for start in (0..row.len).step_by(BLOCK) {
                Part::new(s, &row, start).finish(s);
            }
        }
    }
}

/// A block of a waiting row, written bit by bit.
pub struct Part<S: Simd> {
    terms: *const f32,
    out: *mut u8,
    dtype: DType,
    factor: S::F,
    next: usize,
    n: usize,
    own: (usize, f32),
}

impl<S: Simd> Part<S> {
    #[inline(always)]
    pub fn nothing(s: S) -> Self {
        let (terms, out) = (std::ptr::null(), std::ptr::null_mut());
        Part { terms, out, dtype: DType::F32, factor: s.zero(), next: 0, n: 0, own: (NONE, 0.0) }
    }

    #[inline(always)]
    fn new(s: S, row: &Pending, start: usize) -> Self {
        // SAFETY: the block lies within the row; as many values and blocks were kept.
        unsafe {
            let about = *row.about.add(start / BLOCK);
            let shift = if about == row.top { 1.0 } else { (f64::from(about) - f64::from(row.top)).exp() };
            let (out, n) = (row.out.add(start * row.dtype.size()), BLOCK.min(row.len - start));
            let own = (row.own.0.wrapping_sub(start), row.own.1);
            let factor = s.splat((f64::from(row.weight) * shift) as f32);
            Part { terms: row.terms.add(start), out, dtype: row.dtype, factor, next: 0, n, own }
        }
    }

    /// Writes four vectors of f32, as long as there are such, before each of `count` calls of `then` at most; returns
    /// how many there were.
    #[inline(always)]
    pub fn floats_and(&mut self, s: S, count: usize, mut then: impl FnMut()) -> usize {
        let group = 4 * S::LANES;
        let count = if self.dtype == DType::F32 { count.min((self.n - self.next) / group) } else { 0 };
        let (mut terms, factor) = (self.terms.wrapping_add(self.next), self.factor);
        let mut out = self.out.cast::<f32>().wrapping_add(self.next);
        for _ in 0..count {
            // SAFETY: within the block.
            unsafe { four(s, DType::F32, terms, out.cast(), factor) };
            (terms, out) = (terms.wrapping_add(group), out.wrapping_add(group));
            then();
        }
        self.next += count * group;
        count
    }

    /// Writes four vectors, if so much is left.
    #[inline(always)]
    pub fn some(&mut self, s: S) {
        if self.next + 4 * S::LANES <= self.n {
            let out = self.out.wrapping_add(self.next * self.dtype.size());
            // SAFETY: within the block.
            unsafe { four(s, self.dtype, self.terms.add(self.next), out, self.factor) };
            self.next += 4 * S::LANES;
        }
    }

    /// Writes what is left.
    #[inline(always)]
    pub fn finish(mut self, s: S) {
        while self.next + 4 * S::LANES <= self.n {
            self.some(s);
        }
        while self.next < self.n {
            let lanes = S::LANES.min(self.n - self.next);
            // SAFETY: within the block; the cache holds whole vectors.
            unsafe {
                let out = self.out.add(self.next * self.dtype.size());
                let g = s.mul(self.factor, s.load(self.terms.add(self.next)));
                store_typed(s, self.dtype, out, lanes, g, false);
            }
            self.next += lanes;
        }
        if self.own.0 < self.n {
            // SAFETY: within the block.
            unsafe {
                let at = self.out.add(self.own.0 * self.dtype.size());
                write_one(self.dtype, self.own.1, at);
            }
        }
    }
}

/// # Safety
/// So much is left of terms and output.
#[inline(always)]
unsafe fn four<S: Simd>(s: S, dtype: DType, terms: *const f32, out: *mut u8, factor: S::F) {
    unsafe {
        ahead(out, 4 * S::LANES * dtype.size());
        let mut g = [s.zero(); 4];
        for v in 0..4 {
            g[v] = s.mul(factor, s.load(terms.add(v * S::LANES)));
        }
        for v in 0..4 {
            store_typed(s, dtype, out.add(v * S::LANES * dtype.size()), S::LANES, g[v], false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{Isa, Kernel};
    use crate::cpu::storage::read_one;

    /// A row that waits, written to wherever it may lie, and nothing beside it.
    struct Write(DType, usize);

    impl Kernel for Write {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let Write(dtype, shift) = self;
            const LEN: usize = BLOCK + 277;
            let terms: Vec<f32> = (0..LEN + S::LANES).map(|k| (k % 128) as f32).collect();
            let about = [3.0, 3.0 - f32::ln(2.0)];
            let size = dtype.size();
            let mut memory = vec![0x55; (LEN + 96) * size];
            let align = memory.as_ptr().addr().wrapping_neg() % size;
            let out = memory[align + shift * size..].as_mut_ptr();
            let later = Later::new([(0, 0); 2]);
            later.put(Pending {
                terms: terms.as_ptr(),
                about: about.as_ptr(),
                top: 3.0,
                weight: 2.0,
                out,
                dtype,
                len: LEN,
                own: (NONE, 0.0),
            });
            assert!(!later.set(std::ptr::null_mut(), 5, -1.0) && later.set(out, BLOCK + 5, -1.0));
            later.block(s, 0).finish(s);
            later.flush(s);
            for k in 0..LEN {
                let factor = if k < BLOCK { 2.0 } else { 1.0 };
                let expected = if k == BLOCK + 5 { -1.0 } else { factor * terms[k] };
                // SAFETY: within the memory.
                let got = unsafe { read_one(dtype, out.add(k * size)) };
                assert!((got - expected).abs() <= 1e-6 * expected.abs(), "{dtype:?} {shift} {k}: {got}");
            }
            let (before, after) = (align + shift * size, align + (shift + LEN) * size);
            assert!(memory[..before].iter().chain(&memory[after..]).all(|&byte| byte == 0x55));
        }
    }

    #[test]
    fn rows_are_written_whole_wherever_they_lie() {
        for isa in Isa::available() {
            for dtype in [DType::F32, DType::F16, DType::Bf16] {
                for shift in 0..32 {
                    isa.dispatch(Write(dtype, shift));
                }
            }
        }
    }
}
