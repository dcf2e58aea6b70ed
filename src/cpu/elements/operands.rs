//! The inputs of a block of elements, whatever they are read from.

use crate::cpu::simd::batch::{self, Function};
use crate::cpu::simd::{Simd, convert};
use crate::cpu::storage::{self, BLOCK};
use crate::registry::{DType, Floats};

/// Two blocks; not a multiple of the size at which places in the first-level cache repeat.
pub const ROOM: usize = 2 * BLOCK + 80;

#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// One value per element.
    Full(Floats<'a>),
    /// A row that is repeated over all rows.
    Row(Floats<'a>),
    /// An optional input that is absent.
    Constant(f32),
    /// See [`ElementLoss::derive`](super::ElementLoss::derive).
    Derived,
}

/// The elements of a block, where all inputs that are not derived are in place.
pub struct Block<'a, const I: usize> {
    pub(super) from: &'a [*const f32; I],
    /// Room for two blocks each.
    pub(super) scratch: [*mut f32; I],
    pub(super) n: usize,
}

impl<const I: usize> Block<'_, I> {
    /// Derives input `to` from another; for [`Function::Logistic`] the next as well.
    #[inline(always)]
    pub fn apply<S: Simd>(&self, s: S, function: Function, from: usize, to: usize) {
        let to = [to, to + 1].map(|i| self.scratch[i.min(I - 1)]);
        // SAFETY: whole packs of a block fit into the scratch.
        unsafe { batch::apply(s, function, self.from[from], self.n, to) };
    }

    /// Derives input `to` from all.
    #[inline(always)]
    pub fn map<S: Simd>(&self, s: S, to: usize, f: impl Fn([S::F; I]) -> S::F) {
        let mut k = 0;
        while k < self.n {
            let lanes = S::LANES.min(self.n - k);
            let mut x = [s.zero(); I];
            // SAFETY: within the block, and as above.
            unsafe {
                for i in 0..I {
                    x[i] = storage::load_lanes(s, self.from[i].add(k), lanes);
                }
                s.store(self.scratch[to].add(k), f(x));
            }
            k += S::LANES;
        }
    }
}

impl<'a> Operand<'a> {
    pub fn full(input: Floats<'a>) -> Operand<'a> {
        Operand::Full(input)
    }

    /// 1 everywhere if it is absent.
    pub fn full_or_one(input: Option<Floats<'a>>) -> Operand<'a> {
        input.map_or(Operand::Constant(1.0), Operand::Full)
    }

    pub fn row_or_one(input: Option<Floats<'a>>) -> Operand<'a> {
        input.map_or(Operand::Constant(1.0), Operand::Row)
    }
}

/// Fills the scratch of an operand with what is the same for all blocks of `most` elements.
///
/// # Safety
/// `tile` has room for two blocks: a short row, and a block beyond it.
#[inline(always)]
pub unsafe fn prepare<S: Simd>(s: S, operand: Operand, tile: *mut f32, most: usize) {
    unsafe {
        match operand {
            Operand::Constant(value) => (0..most).for_each(|k| tile.add(k).write(value)),
            // Also what a loss does not derive, as it does not need it, is read.
            Operand::Derived => (0..most).for_each(|k| tile.add(k).write(0.0)),
            Operand::Row(row) if row.len > 0 && row.len <= BLOCK => {
                widen(s, row, 0, tile, row.len);
                for k in row.len..row.len + most {
                    tile.add(k).write(*tile.add(k - row.len));
                }
            }
            _ => {}
        }
    }
}

/// Where elements `start..start + n` of an operand stand, and as what.
///
/// # Safety
/// They are elements of the call, no more than a block; `scratch` was prepared.
#[inline(always)]
pub unsafe fn read<S: Simd>(
    s: S,
    operand: Operand,
    start: usize,
    n: usize,
    scratch: *mut f32,
) -> (*const u8, DType) {
    let mut from = scratch;
    unsafe {
        match operand {
            Operand::Full(x) => return (x.at(start), x.dtype),
            Operand::Constant(_) | Operand::Derived => {}
            Operand::Row(row) if row.len <= BLOCK => from = scratch.add(start % row.len),
            Operand::Row(row) => {
                let phase = start % row.len;
                let first = n.min(row.len - phase);
                widen(s, row, phase, scratch, first);
                widen(s, row, 0, scratch.add(first), n - first);
            }
        }
    }
    (from.cast_const().cast(), DType::F32)
}

/// # Safety
/// `to` has room for a block.
#[inline(always)]
pub unsafe fn scale_into<S: Simd>(s: S, from: &[f32], scale: f32, to: *mut f32) {
    let mut k = 0;
    while k < from.len() {
        let lanes = S::LANES.min(from.len() - k);
        // SAFETY: within the slice and the block.
        unsafe {
            let x = storage::load_lanes(s, from.as_ptr().add(k), lanes);
            s.store(to.add(k), s.mul(s.splat(scale), x));
        }
        k += S::LANES;
    }
}

/// Converts `n` values from element `at` on, copying f32.
///
/// # Safety
/// Both are in bounds.
#[inline(always)]
unsafe fn widen<S: Simd>(s: S, from: Floats, at: usize, to: *mut f32, n: usize) {
    unsafe {
        let src = storage::read(s, from.dtype, from.at(at), n, to);
        if !std::ptr::eq(src, to) {
            convert::copy_f32(s, src, to, n, false);
        }
    }
}
