//! One thread's scratch memory, of fixed size, and the points in it as the inner loops want them.

use super::{COLUMNS, DEPTH, Pairs, ROWS, Space, kernel, product};
use crate::cpu::simd::Simd;
use crate::cpu::storage;
use crate::registry::{DType, Floats};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Packed parts of rows that are kept.
const SLOTS: usize = 4;
/// Dimensions of the gradient of one pass over the tiles; with more, tiles are computed several times.
pub const WIDEST: usize = 4096;
/// Floats from one column's point to the next; not a multiple of a page, which would map all to the same
/// lines of a cache.
const PITCH: usize = DEPTH + 16;

#[repr(C, align(64))]
pub struct Scratch {
    panels: [f32; SLOTS * ROWS * DEPTH],
    pub sums: [f32; WIDEST * ROWS],
    pub tile: [f32; COLUMNS * ROWS],
    points: [f32; COLUMNS * PITCH],
    pub product: [f32; COLUMNS * ROWS],
    /// |x|^2 and |y|^2.
    pub x_squares: [f32; ROWS],
    pub y_squares: [f32; COLUMNS],
    /// What weights know of the rows.
    pub constants: [[f32; ROWS]; super::CONSTANTS],
}

thread_local! {
    static SCRATCH: Box<MaybeUninit<UnsafeCell<Scratch>>> = Box::new_uninit();
}

/// A part of the dimensions of a space.
#[derive(Clone, Copy)]
pub struct Part {
    pub space: usize,
    pub start: usize,
    pub depth: usize,
}

impl Part {
    pub fn of(space: usize, start: usize, dims: usize) -> Part {
        Part { space, start, depth: DEPTH.min(dims - start) }
    }
}

/// A block of rows at work.
pub struct Block {
    pub scratch: *mut Scratch,
    pub rows: Range<usize>,
    /// Space whose |x|^2 are known, and the largest of them.
    pub squares: (usize, f32),
    /// (space, start) that each slot holds.
    held: [(usize, usize); SLOTS],
}

impl Block {
    pub fn new(rows: Range<usize>) -> Block {
        let scratch = SCRATCH.with(|scratch| UnsafeCell::raw_get(scratch.as_ptr()));
        Block { scratch, rows, squares: (usize::MAX, 0.0), held: [(usize::MAX, 0); SLOTS] }
    }

    /// The rows' points, packed.
    #[inline(always)]
    fn panel<S: Simd>(&mut self, s: S, spaces: &[Space], part: Part) -> *const f32 {
        // All parts stay where there are few; otherwise each is packed again for every tile.
        let before: usize = spaces[..part.space].iter().map(|s| s.x.columns.div_ceil(DEPTH)).sum();
        let slot = (before + part.start / DEPTH) % SLOTS;
        let (x, rows) = (spaces[part.space].x, self.rows.clone());
        // SAFETY: this thread alone has the scratch; rows and dimensions are within the buffer.
        unsafe {
            let panel = (&raw mut (*self.scratch).panels).cast::<f32>().add(slot * ROWS * DEPTH);
            if self.held[slot] != (part.space, part.start) {
                self.held[slot] = (part.space, part.start);
                // By way of `points`, which holds COLUMNS >= ROWS rows; nothing is in it that is still needed.
                let (from, stride) = self.points(s, x, rows, part, false);
                kernel::pack(s, from, stride, self.rows.len(), part.depth, panel);
            }
            panel
        }
    }

    /// Points as f32 rows: where they are, or copied.
    #[inline(always)]
    fn points<S: Simd>(
        &self,
        s: S,
        y: Floats,
        rows: Range<usize>,
        part: Part,
        copy: bool,
    ) -> (*const f32, usize) {
        // SAFETY: as above.
        unsafe {
            let at = |row: usize| y.row(row).add(part.start * y.dtype.size());
            if y.dtype == DType::F32 && !copy {
                return (at(rows.start).cast(), y.stride);
            }
            let to = (&raw mut (*self.scratch).points).cast::<f32>();
            for (slot, row) in rows.enumerate() {
                let to = to.add(slot * PITCH);
                let from = storage::read(s, y.dtype, at(row), part.depth, to);
                if !std::ptr::eq(from, to) {
                    std::ptr::copy_nonoverlapping(from, to, part.depth);
                }
            }
            (to, PITCH)
        }
    }

    /// Writes the exponents of the pairs with `columns` to the tile.
    #[inline(always)]
    pub fn exponents<S: Simd>(&mut self, s: S, pairs: &Pairs, columns: Range<usize>) {
        let mut add = false;
        for (index, space) in pairs.spaces.iter().enumerate() {
            let dims = space.x.columns;
            if !pairs.exact && product::exponents(s, self, index, space, columns.clone(), add) {
                add = true;
                continue;
            }
            for start in (0..dims).step_by(DEPTH) {
                let part = Part::of(index, start, dims);
                let panel = self.panel(s, pairs.spaces, part);
                let (points, stride) = self.points(s, space.y, columns.clone(), part, false);
                // SAFETY: as above.
                unsafe {
                    let tile = (&raw mut (*self.scratch).tile).cast();
                    kernel::distances(
                        s,
                        panel,
                        points,
                        stride,
                        self.rows.len(),
                        columns.len(),
                        part.depth,
                        space.scale,
                        add,
                        tile,
                    );
                }
                add = true;
            }
        }
    }

    /// Adds the weighted differences of one part to `sums`; the tile holds the weights.
    #[inline(always)]
    pub fn gather<S: Simd>(
        &mut self,
        s: S,
        spaces: &[Space],
        part: Part,
        columns: Range<usize>,
        sums: *mut f32,
    ) {
        let panel = self.panel(s, spaces, part);
        let (points, stride) = self.points(s, spaces[part.space].y, columns.clone(), part, true);
        // SAFETY: as above; `sums` has room for the part.
        unsafe {
            let tile = (&raw const (*self.scratch).tile).cast();
            kernel::weighted_differences(
                s,
                panel,
                points,
                stride,
                self.rows.len(),
                columns.len(),
                part.depth,
                tile,
                sums,
            );
        }
    }
}
