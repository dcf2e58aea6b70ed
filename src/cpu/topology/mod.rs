//! Persistent homology of images over Z/2, by superlevel sets with the voxels as vertices.
//!
//! Voxels enter by falling value, then by index; a cell enters with its last voxel, cells of one voxel by
//! dimension, then by their doubled coordinates. Dimension 0 is a union-find over voxels ([`forest`]), the
//! top dimension one over top cells from the end of the order ([`dual`]); for volumes the dimension between
//! them reduces the boundaries of the squares that are left ([`middle`]).

pub mod arena;
pub mod barcode;
mod cells;
mod dual;
mod forest;
mod grid;
pub mod matching;
mod middle;
mod order;
mod star;
mod tree;

use crate::cpu::storage::read_one;
use crate::registry::{DType, Error, Floats, Result, Status};
pub use grid::{Grid, MAX_VOXELS};

/// No rank, position or cell.
const NONE: u32 = u32::MAX;

/// The working memory of the middle dimension could not be had.
pub type OutOfMemory = std::collections::TryReserveError;

/// Values of one of several images.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    from: Floats<'a>,
    start: usize,
    count: usize,
}

impl<'a> Values<'a> {
    /// The `image`-th one, of `count` voxels each.
    pub fn new(from: Floats<'a>, image: usize, count: usize) -> Values<'a> {
        assert!((image + 1) * count <= from.len);
        Values { from, start: image * count, count }
    }

    pub fn get(&self, index: usize) -> f32 {
        debug_assert!(index < self.count);
        // SAFETY: within the image, which is within the buffer.
        unsafe { read_one(self.from.dtype, self.from.at(self.start + index)) }
    }

    pub fn has_nan(&self) -> bool {
        // Without an early exit the loop vectorises.
        match self.from.dtype {
            // SAFETY: as in `get`.
            DType::F32 => (0..self.count).fold(false, |any, i| unsafe {
                any | (*self.from.at(self.start).cast::<f32>().add(i)).is_nan()
            }),
            _ => (0..self.count).any(|i| self.get(i).is_nan()),
        }
    }
}

/// Refuses images with too many voxels.
pub fn check_voxels(entry: &str, extents: [u64; 3]) -> Result<()> {
    let [depth, height, width] = extents;
    let voxels = depth.checked_mul(height).and_then(|plane| plane.checked_mul(width));
    if voxels.is_some_and(|voxels| voxels <= MAX_VOXELS as u64) {
        return Ok(());
    }
    let names = ["depth", "height", "width"];
    let (extent, name) = extents.into_iter().zip(names).max_by_key(|&(extent, _)| extent).unwrap_or((0, ""));
    Err(Error::argument(format!(
        "{entry}: argument '{name}' is {extent}, expected at most {MAX_VOXELS} voxels in an image of {depth} x \
         {height} x {width}"
    )))
}

pub fn out_of_memory(entry: &str, error: &OutOfMemory) -> Error {
    Error::new(Status::Internal, format!("{entry}: out of memory for the reduction of dimension 1: {error}"))
}
