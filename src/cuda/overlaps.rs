//! Host half of kernels/skeletons/overlaps.cuh: states of an associative memory and its points.

use std::ffi::c_void;
use std::ptr;

use super::products::{Product, SIDE, depth_parts, padded};
use super::tiles::{MOST_BLOCKS, Workspace};
use super::{Device, Result, bytes_of};

/// States under way at once.
const CHUNK: u64 = 4096;

/// Mirrors `lk_overlaps`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Overlaps {
    states: *const c_void,
    points: *const c_void,
    values: *mut f32,
    factors: *mut c_void,
    undo: *mut f32,
    fields: *mut f32,
    pub batch: u64,
    count: u64,
    n: u64,
    stride: u64,
    dtype: i32,
    parts: i32,
    field_parts: i32,
}

impl Overlaps {
    /// Of `batch` states, a chunk of them at a time, with `count` points of n elements. States and points lie there as
    /// the type with the code `dtype`.
    pub fn new(batch: u64, count: u64, n: u64, dtype: i32, work: &mut Workspace) -> Overlaps {
        let (batch, stride, product) = (batch.min(CHUNK), padded(count), Product::of(dtype));
        let (parts, field_parts) = (depth_parts(batch, count, n), depth_parts(batch, n, count));
        let each = batch.saturating_mul(stride);
        let halves = if product == Product::F32 { 0 } else { product.parts() };
        let of_fields = if field_parts > 1 { field_parts } else { 0 };
        Overlaps {
            states: ptr::null(),
            points: ptr::null(),
            values: work.take(each.saturating_mul(parts)),
            factors: work.take::<u16>(each.saturating_mul(halves)).cast(),
            undo: work.take(if product == Product::F16 { batch } else { 0 }),
            fields: work.take(batch.saturating_mul(n).saturating_mul(of_fields)),
            batch,
            count,
            n,
            stride,
            dtype,
            parts: parts as i32,
            field_parts: field_parts as i32,
        }
    }

    /// The first state of each chunk of `batch`, and how many it has.
    pub fn chunks(batch: u64) -> impl Iterator<Item = (u64, u64)> {
        (0..batch).step_by(CHUNK as usize).map(move |first| (first, CHUNK.min(batch - first)))
    }

    /// For these states, and for `fields` or only for themselves.
    pub fn of(self, states: *const c_void, batch: u64, points: *const c_void, fields: bool) -> Overlaps {
        let wide = self.product() == Product::F32;
        let factors = if fields && !wide { self.factors } else { ptr::null_mut() };
        Overlaps { states, points, batch, factors, ..self }
    }

    /// Whether there is something to settle: parts to add or factors to write.
    pub fn unsettled(&self) -> bool {
        self.parts > 1 || !self.factors.is_null()
    }

    fn product(&self) -> Product {
        Product::of(self.dtype)
    }

    fn tiles(&self, columns: u64) -> u64 {
        self.batch.div_ceil(SIDE) * columns.div_ceil(SIDE)
    }

    /// Parts of the overlaps, to be settled.
    pub fn launch(&self, dev: &dyn Device) -> Result<()> {
        if self.batch == 0 || self.count == 0 {
            return Ok(());
        }
        let grid = [self.tiles(self.count), self.parts as u64, 1];
        // SAFETY: a struct of integers and pointers.
        self.product().launch(dev, "overlaps", grid, unsafe { bytes_of(self) })
    }

    /// Launches the kernels `fields`, and if these leave parts, `add_parts`.
    pub fn launch_fields(&self, dev: &dyn Device, fields: &str, add_parts: &str, args: &[u8]) -> Result<()> {
        let grid = [self.tiles(self.n), self.field_parts as u64, 1];
        self.product().launch_parts(dev, fields, grid, args)?;
        if self.field_parts == 1 {
            return Ok(());
        }
        let runs = self.batch.saturating_mul(self.n.div_ceil(8));
        dev.launch(add_parts, [runs.div_ceil(256).clamp(1, MOST_BLOCKS) as u32, 1, 1], [256, 1, 1], 0, args)
    }
}
