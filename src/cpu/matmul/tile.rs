//! A result tile that belongs to the thread, for sums over products that are not kept.

use std::cell::Cell;
use std::mem::MaybeUninit;

/// Rows and columns of a tile: in 16-bit and f32 alike, packing costs little beside the product.
pub const ROWS: usize = 128;
pub const COLUMNS: usize = 256;

/// 128 KB.
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
