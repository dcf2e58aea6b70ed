//! Host half of kernels/skeletons/tiles.cuh, kernels/tiles/embeddings.cu and kernels/tiles/gather.cu: losses on the
//! similarities of rows.

use std::ffi::c_void;
use std::ptr;

use super::products::{Product, SIDE, column_parts, depth_parts, padded};
use super::{Device, Result, align_up, bytes_of};

pub const THREADS: u32 = 256;
/// Rows and columns of the part of dloss/dS that is in memory at a time.
const ROWS: u64 = 2048;
const COLUMNS: u64 = 4096;
const MOST_SPLITS: u64 = 32;
pub const MOST_BLOCKS: u64 = 4096;

/// Mirrors `lk_tiles`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tiles {
    x: *const c_void,
    y: *const c_void,
    x_unit: *const f32,
    y_unit: *const f32,
    scale: *const f32,
    partials: *mut c_void,
    tile: *mut c_void,
    pub owners: u64,
    others: u64,
    d: u64,
    stride: u64,
    first_row: u64,
    tile_rows: u64,
    first_column: u64,
    tile_columns: u64,
    tile_stride: u64,
    alpha: f32,
    side: i32,
    splits: i32,
    partials_of_owner: i32,
}

/// Mirrors `lk_gather_args`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GatherArgs {
    tile: *const c_void,
    values: *const c_void,
    unit: *const f32,
    parts: *mut f32,
    gradient: *mut f32,
    tile_rows: u64,
    tile_columns: u64,
    tile_stride: u64,
    d: u64,
    stride: u64,
    columns_own: i32,
    count: i32,
    first: i32,
    padding: i32,
}

fn splits(owners: u64, others: u64) -> u64 {
    column_parts(owners, others, MOST_SPLITS)
}

/// What the two sides need in the workspace.
#[derive(Clone, Copy)]
pub struct Scratch {
    partials: *mut c_void,
    tile: *mut c_void,
    parts: *mut f32,
    product: Product,
    /// Of the gradients of rows and of columns.
    counts: [u64; 2],
}

impl Scratch {
    /// `stat`: bytes of the statistics of one owner.
    pub fn new(rows: u64, columns: u64, d: u64, dtype: i32, stat: u64, work: &mut Workspace) -> Scratch {
        let product = Product::of_copies(dtype);
        let (tile_rows, tile_columns) = (rows.min(ROWS), columns.min(COLUMNS));
        let counts = [depth_parts(tile_rows, d, tile_columns), depth_parts(tile_columns, d, tile_rows)];
        let partials =
            |owners: u64, others: u64| owners.saturating_mul(splits(owners, others) * product.lanes());
        let most = partials(rows, columns).max(partials(columns, rows)).saturating_mul(stat);
        let of_parts = (counts[0] * tile_rows).max(counts[1] * tile_columns).saturating_mul(d);
        Scratch {
            partials: work.take::<u8>(most).cast(),
            tile: work.take::<u8>(tile_rows * padded(tile_columns) * product.parts() * product.size()).cast(),
            parts: work.take(of_parts),
            product,
            counts,
        }
    }
}

impl Tiles {
    /// S = alpha x^ y^', or times `scale`, where that is not null. `side`: 1 if x has the columns of the matrix.
    pub fn new(
        x: &Embeddings,
        y: &Embeddings,
        side: i32,
        alpha: f32,
        scale: *const f32,
        scratch: &Scratch,
    ) -> Tiles {
        Tiles {
            x: x.values,
            y: y.values,
            x_unit: x.unit,
            y_unit: y.unit,
            scale,
            partials: scratch.partials,
            tile: scratch.tile,
            owners: x.rows,
            others: y.rows,
            d: x.d,
            stride: padded(x.d),
            first_row: 0,
            tile_rows: 0,
            first_column: 0,
            tile_columns: 0,
            tile_stride: 0,
            alpha,
            side,
            splits: splits(x.rows, y.rows) as i32,
            partials_of_owner: (splits(x.rows, y.rows) * scratch.product.lanes()) as i32,
        }
    }

    /// Launches a kernel made of `tile_statistics`, then one of `tile_finish`.
    pub fn statistics(
        &self,
        dev: &dyn Device,
        scratch: &Scratch,
        kernels: [&str; 2],
        args: &[u8],
    ) -> Result<()> {
        if self.owners == 0 {
            return Ok(());
        }
        let grid = [self.owners.div_ceil(SIDE), self.splits as u64, 1];
        scratch.product.launch(dev, kernels[0], grid, args)?;
        let blocks = self.owners.div_ceil(u64::from(THREADS)).min(MOST_BLOCKS) as u32;
        dev.launch(kernels[1], [blocks, 1, 1], [THREADS, 1, 1], 0, args)
    }
}

/// Gradients of x^ and y^, where not null. `weights` launches the kernel made of `tile_weights` with the tiles and the
/// grid that it is given.
pub fn gradients(
    dev: &dyn Device,
    [x, y]: [&Embeddings; 2],
    scratch: &Scratch,
    tiles: &Tiles,
    gradients: [*mut f32; 2],
    weights: impl Fn(&Tiles, Product, [u64; 3]) -> Result<()>,
) -> Result<()> {
    // One turn without rows or columns still clears the gradients of the others.
    for r in 0..x.rows.div_ceil(ROWS).max(1) {
        for c in 0..y.rows.div_ceil(COLUMNS).max(1) {
            let (first_row, first_column) = (r * ROWS, c * COLUMNS);
            let (tile_rows, tile_columns) =
                ((x.rows - first_row).min(ROWS), (y.rows - first_column).min(COLUMNS));
            let tile_stride = padded(tile_columns);
            let tiles = Tiles { first_row, tile_rows, first_column, tile_columns, tile_stride, ..*tiles };
            if tile_rows > 0 && tile_columns > 0 {
                weights(&tiles, scratch.product, [tile_columns.div_ceil(SIDE), tile_rows.div_ceil(SIDE), 1])?;
            }
            let sides = [
                (y, x, first_column, first_row, tile_rows, c),
                (x, y, first_row, first_column, tile_columns, r),
            ];
            for (side, (from, to, at, own, owners, turn)) in sides.into_iter().enumerate() {
                if gradients[side].is_null() || owners == 0 {
                    continue;
                }
                let (from, to) = (from.part(at, from.rows - at), to.part(own, owners));
                let args = GatherArgs {
                    tile: scratch.tile,
                    values: from.values,
                    unit: to.unit,
                    parts: scratch.parts,
                    gradient: gradients[side].wrapping_add((own * x.d) as usize),
                    tile_rows,
                    tile_columns,
                    tile_stride,
                    d: x.d,
                    stride: padded(x.d),
                    columns_own: side as i32,
                    count: scratch.counts[side] as i32,
                    first: i32::from(turn == 0),
                    padding: 0,
                };
                // SAFETY: a struct of integers, floats and pointers.
                let bytes = unsafe { bytes_of(&args) };
                let grid = [x.d.div_ceil(SIDE), owners.div_ceil(SIDE), args.count as u64];
                scratch.product.launch_parts(dev, "tiles_gather", grid, bytes)?;
                let blocks = (owners * x.d).div_ceil(u64::from(THREADS)).clamp(1, MOST_BLOCKS) as u32;
                dev.launch("tiles_add", [blocks, 1, 1], [THREADS, 1, 1], 0, bytes)?;
            }
        }
    }
    Ok(())
}

/// Mirrors `lk_embeddings_args`.
#[repr(C)]
#[derive(Clone, Copy)]
struct EmbeddingsArgs {
    x: *const c_void,
    grad_x: *mut c_void,
    values: *mut c_void,
    unit: *mut f32,
    inverse: *mut f32,
    gradients: *const f32,
    others: *const c_void,
    others_unit: *const f32,
    scale: *const f32,
    dots: *mut f64,
    rows: u64,
    d: u64,
    stride: u64,
    factor: f64,
    dtype: i32,
    values_dtype: i32,
    normalize: i32,
    padding: i32,
}

/// Rows in the workspace.
#[derive(Clone, Copy)]
pub struct Embeddings {
    values: *mut c_void,
    /// Null = 1.
    unit: *mut f32,
    inverse: *mut f32,
    rows: u64,
    d: u64,
    dtype: i32,
    normalize: bool,
}

impl Embeddings {
    pub fn new(rows: u64, d: u64, dtype: i32, normalize: bool, work: &mut Workspace) -> Embeddings {
        let product = Product::of_copies(dtype);
        let bytes = rows.saturating_mul(padded(d)).saturating_mul(product.size());
        let (values, inverse) = (work.take::<u8>(bytes).cast(), work.take(rows));
        let unit = if normalize && product != Product::F32 { work.take(rows) } else { ptr::null_mut() };
        Embeddings { values, unit, inverse, rows, d, dtype, normalize }
    }

    /// `rows` of them from `first` on, where several inputs are stacked.
    pub fn part(&self, first: u64, rows: u64) -> Embeddings {
        let at = |p: *mut f32, n: u64| p.wrapping_add(n as usize);
        let size = Product::of_copies(self.dtype).size();
        Embeddings {
            values: self.values.wrapping_byte_add((first * padded(self.d) * size) as usize),
            unit: if self.unit.is_null() { self.unit } else { at(self.unit, first) },
            inverse: at(self.inverse, first),
            rows,
            ..*self
        }
    }

    fn args(&self) -> EmbeddingsArgs {
        EmbeddingsArgs {
            x: ptr::null(),
            grad_x: ptr::null_mut(),
            values: self.values,
            unit: self.unit,
            inverse: self.inverse,
            gradients: ptr::null(),
            others: ptr::null(),
            others_unit: ptr::null(),
            scale: ptr::null(),
            dots: ptr::null_mut(),
            rows: self.rows,
            d: self.d,
            stride: padded(self.d),
            factor: 1.0,
            dtype: self.dtype,
            values_dtype: Product::of_copies(self.dtype).dtype(),
            normalize: i32::from(self.normalize),
            padding: 0,
        }
    }

    fn launch(&self, dev: &dyn Device, kernel: &str, args: &EmbeddingsArgs) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let blocks = self.rows.div_ceil(8).min(0x7fff_ffff) as u32;
        // SAFETY: a struct of integers, floats and pointers.
        dev.launch(kernel, [blocks, 1, 1], [32, 8, 1], 0, unsafe { bytes_of(args) })
    }

    pub fn prepare(&self, dev: &dyn Device, x: *const c_void) -> Result<()> {
        self.launch(dev, "embeddings_prepare", &EmbeddingsArgs { x, ..self.args() })
    }

    /// `factor` times `scale` (where not null) times the gradient of x, from that of x^.
    pub fn write_back(
        &self,
        dev: &dyn Device,
        gradients: *const f32,
        factor: f64,
        scale: *const f32,
        grad_x: *mut c_void,
    ) -> Result<()> {
        let args = EmbeddingsArgs { grad_x, gradients, factor, scale, ..self.args() };
        self.launch(dev, "embeddings_write_back", &args)
    }

    /// x^ . g of each row, as pairs that `reduce` sums.
    pub fn dots(&self, dev: &dyn Device, gradients: *const f32, dots: *mut f64) -> Result<()> {
        self.launch(dev, "embeddings_dots", &EmbeddingsArgs { gradients, dots, ..self.args() })
    }

    /// x^ . y^ of rows of both, likewise.
    pub fn similarities(&self, dev: &dyn Device, other: &Embeddings, dots: *mut f64) -> Result<()> {
        let (others, others_unit) = (other.values.cast_const(), other.unit.cast_const());
        self.launch(dev, "embeddings_dots", &EmbeddingsArgs { others, others_unit, dots, ..self.args() })
    }
}

/// The caller's workspace, cut into arrays; with a null pointer it only adds up their sizes.
pub struct Workspace {
    base: *mut c_void,
    used: u64,
}

impl Workspace {
    pub fn new(base: *mut c_void) -> Workspace {
        Workspace { base, used: 0 }
    }

    pub fn take<T>(&mut self, count: u64) -> *mut T {
        let at = self.base.wrapping_byte_add(self.used as usize).cast();
        let bytes = count.saturating_mul(size_of::<T>() as u64).min(u64::MAX / 4);
        self.used = self.used.saturating_add(align_up(bytes));
        at
    }

    pub fn bytes(&self) -> u64 {
        self.used
    }
}
