//! Host half of kernels/skeletons/tiles.cuh, kernels/tiles/embeddings.cu and kernels/tiles/gather.cu: losses on the
//! similarities of rows.

use std::ffi::c_void;
use std::ptr;

use super::{Device, Result, align_up, bytes_of, reduce};

/// Rows and columns of a tall tile of kernels/skeletons/product_tile.cuh, and the threads of its block.
pub const TALL: u64 = 128;
pub const BLOCK: u64 = 64;
pub const THREADS: u32 = 256;
/// Rows and columns of the part of dloss/dS that is in memory at a time.
const ROWS: u64 = 2048;
const COLUMNS: u64 = 4096;
/// Enough blocks to fill the largest GPUs; fixed, so that the sums do not depend on the GPU.
pub const ENOUGH_BLOCKS: u64 = 512;
const MOST_SPLITS: u64 = 32;
const MOST_PARTS: u64 = 8;
pub const MOST_BLOCKS: u64 = 4096;

/// Mirrors `lk_tiles`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tiles {
    x: *const f32,
    y: *const f32,
    x_unit: *const f32,
    y_unit: *const f32,
    scale: *const f32,
    partials: *mut c_void,
    tile: *mut f32,
    pub owners: u64,
    others: u64,
    d: u64,
    first_row: u64,
    tile_rows: u64,
    first_column: u64,
    tile_columns: u64,
    alpha: f32,
    side: i32,
    splits: i32,
    halves: i32,
}

/// Mirrors `lk_gather_args`.
#[repr(C)]
#[derive(Clone, Copy)]
struct GatherArgs {
    tile: *const f32,
    values: *const f32,
    unit: *const f32,
    parts: *mut f32,
    gradient: *mut f32,
    tile_rows: u64,
    tile_columns: u64,
    d: u64,
    columns_own: i32,
    count: i32,
    first: i32,
    halves: i32,
}

/// Parts that `n` times of `work` blocks are cut into to fill the GPU.
pub fn parts(blocks: u64, enough: u64, most: u64, depth: u64) -> u64 {
    enough.div_ceil(blocks.max(1)).clamp(1, most).min(depth.div_ceil(4 * BLOCK)).max(1)
}

fn splits(owners: u64, others: u64) -> u64 {
    parts(owners.div_ceil(TALL), ENOUGH_BLOCKS, MOST_SPLITS, others)
}

/// Of a product of `owners` rows and `d` columns, summed over `depth`.
pub fn gather_parts(owners: u64, d: u64, depth: u64) -> u64 {
    let blocks = owners.div_ceil(TALL).saturating_mul(d.div_ceil(BLOCK));
    parts(blocks, ENOUGH_BLOCKS / 2, MOST_PARTS, depth)
}

/// What the two sides need in the workspace.
#[derive(Clone, Copy)]
pub struct Scratch {
    partials: *mut c_void,
    tile: *mut f32,
    parts: *mut f32,
    /// Of the gradients of rows and of columns.
    counts: [u64; 2],
}

impl Scratch {
    /// `stat`: bytes of the statistics of one owner.
    pub fn new(rows: u64, columns: u64, d: u64, stat: u64, work: &mut Workspace) -> Scratch {
        let (tile_rows, tile_columns) = (rows.min(ROWS), columns.min(COLUMNS));
        let counts = [gather_parts(tile_rows, d, tile_columns), gather_parts(tile_columns, d, tile_rows)];
        let partials = |owners: u64, others: u64| owners.saturating_mul(splits(owners, others));
        let most = partials(rows, columns).max(partials(columns, rows)).saturating_mul(stat);
        let of_parts = (counts[0] * tile_rows).max(counts[1] * tile_columns).saturating_mul(d);
        Scratch {
            partials: work.take::<u8>(most).cast(),
            tile: work.take(tile_rows * tile_columns),
            parts: work.take(of_parts),
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
            first_row: 0,
            tile_rows: 0,
            first_column: 0,
            tile_columns: 0,
            alpha,
            side,
            splits: splits(x.rows, y.rows) as i32,
            halves: i32::from(x.halves()),
        }
    }

    /// Launches a kernel made of `tile_statistics`, then one of `tile_finish`.
    pub fn statistics(&self, dev: &dyn Device, kernels: [&str; 2], args: &[u8]) -> Result<()> {
        if self.owners == 0 {
            return Ok(());
        }
        let grid = [self.owners.div_ceil(TALL) as u32, self.splits as u32, 1];
        dev.launch(kernels[0], grid, [THREADS, 1, 1], 0, args)?;
        let blocks = self.owners.div_ceil(u64::from(THREADS)).min(MOST_BLOCKS) as u32;
        dev.launch(kernels[1], [blocks, 1, 1], [THREADS, 1, 1], 0, args)
    }
}

/// Gradients of x^ and y^, where not null. `weights` launches the kernel made of `tile_weights` with the tiles and the
/// grid and block that it is given.
pub fn gradients(
    dev: &dyn Device,
    [x, y]: [&Embeddings; 2],
    scratch: &Scratch,
    tiles: &Tiles,
    gradients: [*mut f32; 2],
    weights: impl Fn(&Tiles, [u32; 3], [u32; 3]) -> Result<()>,
) -> Result<()> {
    // One turn without rows or columns still clears the gradients of the others.
    for r in 0..x.rows.div_ceil(ROWS).max(1) {
        for c in 0..y.rows.div_ceil(COLUMNS).max(1) {
            let (first_row, first_column) = (r * ROWS, c * COLUMNS);
            let (tile_rows, tile_columns) =
                ((x.rows - first_row).min(ROWS), (y.rows - first_column).min(COLUMNS));
            let tiles = Tiles { first_row, tile_rows, first_column, tile_columns, ..*tiles };
            if tile_rows > 0 && tile_columns > 0 {
                let grid = [tile_columns.div_ceil(BLOCK) as u32, tile_rows.div_ceil(TALL) as u32, 1];
                weights(&tiles, grid, [THREADS, 1, 1])?;
            }
            let sides =
                [(y, first_column, first_row, tile_rows, c), (x, first_row, first_column, tile_columns, r)];
            for (side, (from, at, own, owners, turn)) in sides.into_iter().enumerate() {
                if gradients[side].is_null() || owners == 0 {
                    continue;
                }
                let from = from.part(at, from.rows - at);
                let args = GatherArgs {
                    tile: scratch.tile,
                    values: from.values,
                    unit: from.unit,
                    parts: scratch.parts,
                    gradient: gradients[side].wrapping_add((own * x.d) as usize),
                    tile_rows,
                    tile_columns,
                    d: x.d,
                    columns_own: side as i32,
                    count: scratch.counts[side] as i32,
                    first: i32::from(turn == 0),
                    halves: i32::from(x.halves()),
                };
                // SAFETY: a struct of integers, floats and pointers.
                let bytes = unsafe { bytes_of(&args) };
                let grid = [x.d.div_ceil(BLOCK) as u32, owners.div_ceil(TALL) as u32, args.count as u32];
                dev.launch("tiles_gather", grid, [THREADS, 1, 1], 0, bytes)?;
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
    values: *mut f32,
    unit: *mut f32,
    inverse: *mut f32,
    gradients: *const f32,
    gradients_unit: *const f32,
    scale: *const f32,
    dots: *mut f64,
    rows: u64,
    d: u64,
    factor: f64,
    dtype: i32,
    normalize: i32,
}

/// Rows in the workspace.
#[derive(Clone, Copy)]
pub struct Embeddings {
    values: *mut f32,
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
        let (values, inverse) = (work.take(rows.saturating_mul(d)), work.take(rows));
        let unit = if normalize && dtype != reduce::F32 { work.take(rows) } else { ptr::null_mut() };
        Embeddings { values, unit, inverse, rows, d, dtype, normalize }
    }

    fn halves(&self) -> bool {
        self.dtype != reduce::F32
    }

    /// `rows` of them from `first` on, where several inputs are stacked.
    pub fn part(&self, first: u64, rows: u64) -> Embeddings {
        let at = |p: *mut f32, n: u64| p.wrapping_add(n as usize);
        Embeddings {
            values: at(self.values, first * self.d),
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
            gradients_unit: ptr::null(),
            scale: ptr::null(),
            dots: ptr::null_mut(),
            rows: self.rows,
            d: self.d,
            factor: 1.0,
            dtype: self.dtype,
            normalize: i32::from(self.normalize),
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
        let (gradients, gradients_unit) = (other.values.cast_const(), other.unit.cast_const());
        self.launch(
            dev,
            "embeddings_dots",
            &EmbeddingsArgs { gradients, gradients_unit, dots, ..self.args() },
        )
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
