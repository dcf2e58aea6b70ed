//! Host half of kernels/skeletons/gram.cuh: sums and gradients over all pairs of points.

use std::ffi::c_void;
use std::ptr;

use super::{Device, Result, align_up, bytes_of};

pub const TILE: u64 = 64;
const THREADS: u32 = 256;
/// Few, so that rows spread over the GPU.
const COMBINE_THREADS: u64 = 64;
/// Blocks that fill the largest GPUs; fixed, so that sums do not depend on the GPU.
const BLOCKS: u64 = 264;
const MAX_SPLITS: u64 = 32;
/// Most floats of a gradient's parts, where it has several.
const MAX_PARTIAL: u64 = 1 << 22;
/// Fewest dimensions of a gradient that a block of its own is worth: it computes all distances again.
const LEAST_DIMS: u64 = 64;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Space {
    pub x: *const c_void,
    pub y: *const c_void,
    pub x_stride: u64,
    pub y_stride: u64,
    pub dims: u64,
    pub scale: f64,
}

impl Space {
    pub const NONE: Space =
        Space { x: ptr::null(), y: ptr::null(), x_stride: 0, y_stride: 0, dims: 0, scale: 0.0 };

    /// For the kernel exp(-|x - y|^2 / (2 h^2)); points and their stride.
    pub fn gaussian(x: (*const c_void, u64), y: (*const c_void, u64), dims: u64, bandwidth: f64) -> Space {
        let scale = crate::cpu::gram::gaussian_scale(bandwidth);
        Space { x: x.0, y: y.0, x_stride: x.1, y_stride: y.1, dims, scale: f64::from(scale) }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pairs {
    pub rows: u64,
    pub columns: u64,
    pub spaces: [Space; 2],
    pub n_spaces: u32,
    pub skip_self: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SumsArgs {
    pairs: Pairs,
    sums: *mut f32,
    dtype: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CombineArgs {
    sums: *const f32,
    splits: u64,
    rows: u64,
    out: *mut f32,
}

pub const CONSTANTS: usize = 4;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Term {
    pub pairs: Pairs,
    pub constants: [*const f32; CONSTANTS],
    pub factor: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct GradientArgs {
    terms: [Term; 2],
    n_terms: u32,
    space: u32,
    gradient: *mut c_void,
    partial: *mut f32,
    gradient_stride: u64,
    dims_each: u64,
    splits: u64,
    grad_loss: *const f32,
    factor: f64,
    dtype: i32,
}

/// A gradient of the points x of one space.
#[derive(Clone, Copy)]
pub struct Output {
    pub space: u32,
    pub gradient: *mut c_void,
    pub stride: u64,
    pub grad_loss: *const f32,
    pub factor: f64,
    pub dtype: i32,
    /// [`gradient_bytes`] long.
    pub workspace: *mut c_void,
}

/// Into how many parts `wanted` or fewer the columns are dealt out, as equal as they get.
fn parts(columns: u64, wanted: u64) -> u64 {
    let tiles = columns.div_ceil(TILE).max(1);
    tiles.div_ceil(tiles.div_ceil(wanted.clamp(1, MAX_SPLITS)))
}

fn splits(rows: u64, columns: u64) -> u64 {
    parts(columns, BLOCKS.div_ceil(rows.div_ceil(TILE).max(1)))
}

/// Of a gradient: no more than fit [`MAX_PARTIAL`].
fn gradient_splits(rows: u64, columns: u64, dims: u64) -> u64 {
    let wanted = BLOCKS.div_ceil(rows.div_ceil(TILE).max(1));
    parts(columns, wanted.min(MAX_PARTIAL / rows.saturating_mul(dims).max(1)))
}

pub fn grid(blocks: u64) -> u32 {
    blocks.clamp(1, 0x7fff_ffff) as u32
}

/// Bytes of workspace that [`row_log_sums`] and [`total_log_sum`] need: the splits', then those of rows.
pub fn sums_bytes(rows: u64, columns: u64) -> u64 {
    align_up(rows.saturating_mul(splits(rows, columns) + 1).saturating_mul(8).min(u64::MAX / 2))
}

/// Bytes of workspace that [`gradient`] needs; `columns`: the most of a term.
pub fn gradient_bytes(rows: u64, columns: u64, dims: u64) -> u64 {
    let each = rows.saturating_mul(dims).saturating_mul(4);
    align_up(each.saturating_mul(gradient_splits(rows, columns, dims)).min(u64::MAX / 2))
}

fn split_sums(dev: &dyn Device, pairs: &Pairs, dtype: i32, sums: *mut f32) -> Result<u64> {
    let splits = splits(pairs.rows, pairs.columns);
    let args = SumsArgs { pairs: *pairs, sums, dtype };
    let blocks = [grid(pairs.rows.div_ceil(TILE)), splits as u32, 1];
    dev.launch("gram_row_sums", blocks, [THREADS, 1, 1], 0, unsafe { bytes_of(&args) })?;
    Ok(splits)
}

/// Smallest exponent and sum of exp(smallest - E) of every row to `out`, `[2][rows]`.
pub fn row_log_sums(
    dev: &dyn Device,
    pairs: &Pairs,
    dtype: i32,
    workspace: *mut c_void,
    out: *mut f32,
) -> Result<()> {
    if splits(pairs.rows, pairs.columns) == 1 {
        split_sums(dev, pairs, dtype, out)?;
        return Ok(());
    }
    let splits = split_sums(dev, pairs, dtype, workspace.cast())?;
    let args = CombineArgs { sums: workspace.cast(), splits, rows: pairs.rows, out };
    let blocks = [grid(pairs.rows.div_ceil(COMBINE_THREADS)), 1, 1];
    dev.launch("gram_combine", blocks, [COMBINE_THREADS as u32, 1, 1], 0, unsafe { bytes_of(&args) })
}

/// The same over all pairs, to two floats.
pub fn total_log_sum(
    dev: &dyn Device,
    pairs: &Pairs,
    dtype: i32,
    workspace: *mut c_void,
    out: *mut f32,
) -> Result<()> {
    let splits = splits(pairs.rows, pairs.columns);
    let of_rows = workspace.cast::<f32>().wrapping_add((2 * splits * pairs.rows) as usize);
    row_log_sums(dev, pairs, dtype, workspace, of_rows)?;
    let args = CombineArgs { sums: of_rows, splits: 1, rows: pairs.rows, out };
    dev.launch("gram_total", [1, 1, 1], [THREADS, 1, 1], 0, unsafe { bytes_of(&args) })
}

/// `gradient_i = factor grad_loss sum over terms and j of w_ij (x_i - y_j)`; `rows` and `dims` are those of the
/// gradient. Without terms it is 0.
pub fn gradient(
    dev: &dyn Device,
    kernel: &str,
    (rows, dims): (u64, u64),
    terms: &[Term],
    output: &Output,
) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    let mut space = Space::NONE;
    space.dims = dims;
    let none = Pairs { rows, columns: 0, spaces: [space; 2], n_spaces: 0, skip_self: 0 };
    let mut all = [Term { pairs: none, constants: [ptr::null(); CONSTANTS], factor: 0.0 }; 2];
    all[..terms.len()].copy_from_slice(terms);
    let columns = terms.iter().map(|term| term.pairs.columns).max().unwrap_or(0);
    let (blocks, splits) = (rows.div_ceil(TILE), gradient_splits(rows, columns, dims));
    let groups = BLOCKS.div_ceil(blocks.saturating_mul(splits)).min(dims.div_ceil(LEAST_DIMS)).max(1);
    let dims_each = dims.div_ceil(groups).next_multiple_of(16);
    let args = GradientArgs {
        terms: all,
        n_terms: terms.len() as u32,
        space: output.space,
        gradient: output.gradient,
        partial: output.workspace.cast(),
        gradient_stride: output.stride,
        dims_each,
        splits: if columns == 0 { 0 } else { splits },
        grad_loss: output.grad_loss,
        factor: output.factor,
        dtype: output.dtype,
    };
    // SAFETY: a struct of integers, floats and pointers.
    let bytes = unsafe { bytes_of(&args) };
    if columns > 0 {
        let grid = [grid(blocks), dims.div_ceil(dims_each) as u32, splits as u32];
        dev.launch(kernel, grid, [THREADS, 1, 1], 0, bytes)?;
    }
    dev.launch("gram_gradient_combine", [grid(rows), 1, 1], [128, 1, 1], 0, bytes)
}
