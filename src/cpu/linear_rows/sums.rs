//! Gradients as f32 until they are complete.

use crate::cpu::Cpu;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage;
use crate::cpu::workspace::Places;
use crate::registry::FloatsMut;

/// Rows of a gradient as f32: the buffer itself, or sums that are rounded into it.
#[derive(Clone, Copy)]
pub struct Sums<'a> {
    ptr: *mut f32,
    out: FloatsMut<'a>,
    /// Row of `out` that is row 0 here.
    first: usize,
    rounded: bool,
}

// SAFETY: blocks write rows of their own.
unsafe impl Send for Sums<'_> {}
unsafe impl Sync for Sums<'_> {}

impl<'a> Sums<'a> {
    pub fn of(out: FloatsMut<'a>, sums: Option<Places<'a, f32>>) -> Self {
        Self::part_of(out, sums, 0)
    }

    pub fn part_of(out: FloatsMut<'a>, sums: Option<Places<'a, f32>>, first: usize) -> Self {
        let ptr = match sums {
            Some(sums) => sums.at(0),
            // SAFETY: a row of the buffer, which is of f32.
            None => unsafe { out.row(first) }.cast(),
        };
        Sums { ptr, out, first, rounded: sums.is_some() }
    }

    pub fn at(&self, row: usize) -> *mut f32 {
        self.ptr.wrapping_add(row * self.out.columns)
    }

    pub fn clear(&self, rows: usize) {
        // SAFETY: the rows are there; zero bytes are 0.0.
        unsafe { self.ptr.write_bytes(0, rows * self.out.columns) };
    }

    pub fn round(&self, cpu: &Cpu, rows: usize) {
        if self.rounded {
            cpu.run(rows, rows * self.out.columns * 6, &|r| {
                // SAFETY: row r is in both buffers.
                let to = unsafe { self.out.row(self.first + r) };
                cpu.isa.dispatch(Round { from: self.at(r), to, out: self.out });
            });
        }
    }
}

struct Round<'a> {
    from: *const f32,
    to: *mut u8,
    out: FloatsMut<'a>,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: a row of both.
        unsafe { storage::write(s, self.out.dtype, self.from, self.to, self.out.columns, false) };
    }
}
