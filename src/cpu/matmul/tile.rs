//! A result tile that belongs to the thread, for sums over products that are not kept.

use super::{Matrix, MatrixMut, multiply};
use crate::cpu::simd::{Isa, Kernel, Simd};
use crate::cpu::storage::{fetch_row, load_lanes, store_typed};
use crate::registry::FloatsMut;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows and columns of a tile: in 16-bit and f32 alike, packing costs little beside the product.
pub const ROWS: usize = 256;
pub const COLUMNS: usize = 256;

/// 256 KB.
#[repr(C, align(64))]
pub struct Tile(MaybeUninit<[f32; ROWS * COLUMNS]>);

/// Runs `work` with the thread's tile; what is in it is not known.
pub fn with_tile<R>(work: impl FnOnce(*mut f32) -> R) -> R {
    thread_local!(static TILE: Cell<Option<Box<Tile>>> = const { Cell::new(None) });
    // Gone already where a thread's destructors run: then for this call alone.
    let kept = TILE.try_with(Cell::take).ok().flatten();
    // SAFETY: a MaybeUninit.
    let mut tile = kept.unwrap_or_else(|| unsafe { Box::new_uninit().assume_init() });
    let result = work(tile.0.as_mut_ptr().cast());
    let _ = TILE.try_with(|place| place.set(Some(tile)));
    result
}

/// `tile = a * b` in parts of `depth`, whose f32 sums are added up in order; rows are `b.columns` apart.
///
/// # Safety
/// The tile holds as much.
pub unsafe fn product(isa: Isa, a: Matrix, b: Matrix, depth: usize, tile: *mut f32) {
    let (rows, columns) = (a.rows, b.columns);
    let mut start = 0;
    loop {
        let part = start..a.columns.min(start + depth);
        let keep = if start == 0 { 0.0 } else { 1.0 };
        let to = unsafe { MatrixMut::new(tile, rows, columns, columns) };
        multiply(isa, 1.0, a.block(0..rows, part.clone()), b.block(part, 0..columns), keep, to);
        start += depth;
        if start >= a.columns {
            break;
        }
    }
}

/// Writes a tile, `columns.len()` apart, to these rows and columns of `to`, each row times its factor.
///
/// # Safety
/// The tile holds as much; nobody else has this part of `to`.
pub unsafe fn store(
    isa: Isa,
    tile: *const f32,
    to: FloatsMut,
    rows: Range<usize>,
    columns: Range<usize>,
    factor: impl Fn(usize) -> f32,
) {
    isa.dispatch(Store { tile, to, rows, columns, factor });
}

struct Store<'a, F> {
    tile: *const f32,
    to: FloatsMut<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    /// By number in the tile.
    factor: F,
}

impl<F: Fn(usize) -> f32> Kernel for Store<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (width, size) = (self.columns.len(), self.to.dtype.size());
        for (slot, i) in self.rows.enumerate() {
            let factor = s.splat((self.factor)(slot));
            // SAFETY: within the row.
            let to = unsafe { self.to.row(i).add(self.columns.start * size) };
            // The next row is too far away for the processor to foresee.
            fetch_row(to.wrapping_add(self.to.stride * size), width * size);
            let mut j = 0;
            while j < width {
                let lanes = S::LANES.min(width - j);
                // SAFETY: within the tile and the row.
                unsafe {
                    let v = s.mul(factor, load_lanes(s, self.tile.add(slot * width + j), lanes));
                    store_typed(s, self.to.dtype, to.add(j * size), lanes, v, false);
                }
                j += lanes;
            }
        }
    }
}
