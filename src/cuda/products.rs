//! Host half of kernels/skeletons/matrix_product.cuh: products of matrices on tensor cores.

use super::{Device, Result, reduce};

/// Rows and columns of a tile.
pub const SIDE: u64 = 128;
/// Blocks that fill the largest GPUs; fixed, so that the sums do not depend on the GPU.
const ENOUGH_BLOCKS: u64 = 256;
const MOST_PARTS: u64 = 8;
/// Bytes of a strip of one factor in shared memory.
const PANEL: u32 = 8192;

/// A kernel of this kind exists once for each type of its factors, as `name_f32` and so on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Product {
    F32,
    /// f32 that holds values of halves.
    Tf32,
    F16,
    Bf16,
}

impl Product {
    /// Of inputs as they are.
    pub fn of(dtype: i32) -> Product {
        match dtype {
            reduce::F32 => Product::F32,
            reduce::F16 => Product::F16,
            _ => Product::Bf16,
        }
    }

    /// Of copies of inputs that are multiplied by factors of any size: f16 has not the range for these.
    pub fn of_copies(dtype: i32) -> Product {
        if dtype == reduce::F16 { Product::Tf32 } else { Product::of(dtype) }
    }

    fn floats(self) -> bool {
        matches!(self, Product::F32 | Product::Tf32)
    }

    /// Code of the type in memory.
    pub fn dtype(self) -> i32 {
        match self {
            Product::F32 | Product::Tf32 => reduce::F32,
            Product::F16 => reduce::F16,
            Product::Bf16 => reduce::BF16,
        }
    }

    /// Parts of a factor that comes from f32 arithmetic.
    pub fn parts(self) -> u64 {
        match self {
            Product::F32 | Product::Tf32 => 1,
            Product::F16 => 2,
            Product::Bf16 => 3,
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> u64 {
        if self.floats() { 4 } else { 2 }
    }

    /// How many lanes of a block share a row of the product.
    pub fn lanes(self) -> u64 {
        if self.floats() { 8 } else { 4 }
    }

    /// Launches a kernel with a factor in one part.
    pub fn launch(self, dev: &dyn Device, name: &str, grid: [u64; 3], args: &[u8]) -> Result<()> {
        let (threads, stages) = if self.floats() { (256, 2) } else { (128, 3) };
        self.launch_with(dev, name, grid, threads, stages * 2 * PANEL, args)
    }

    /// Launches one with a factor in `parts`.
    pub fn launch_parts(self, dev: &dyn Device, name: &str, grid: [u64; 3], args: &[u8]) -> Result<()> {
        self.launch_with(dev, name, grid, 256, 2 * (self.parts() as u32 + 1) * PANEL, args)
    }

    fn launch_with(
        self,
        dev: &dyn Device,
        name: &str,
        grid: [u64; 3],
        threads: u32,
        shared: u32,
        args: &[u8],
    ) -> Result<()> {
        let suffix = match self {
            Product::F32 => "f32",
            Product::Tf32 => "tf32",
            Product::F16 => "f16",
            Product::Bf16 => "bf16",
        };
        dev.launch(&format!("{name}_{suffix}"), grid.map(|n| n as u32), [threads, 1, 1], shared, args)
    }
}

/// Parts of a product of `rows` x `columns`, so that few tiles still fill the GPU: of its depth,
pub fn depth_parts(rows: u64, columns: u64, depth: u64) -> u64 {
    let tiles = rows.div_ceil(SIDE).saturating_mul(columns.div_ceil(SIDE));
    parts(tiles, ENOUGH_BLOCKS, MOST_PARTS, depth)
}

/// or of its columns, where a block goes through them tile by tile.
pub fn column_parts(rows: u64, columns: u64, most: u64) -> u64 {
    parts(rows.div_ceil(SIDE), 2 * ENOUGH_BLOCKS, most, columns)
}

/// Parts that `size` is cut into, at most `most` and of 256 or more, to make `enough` of `blocks`.
fn parts(blocks: u64, enough: u64, most: u64, size: u64) -> u64 {
    enough.div_ceil(blocks.max(1)).clamp(1, most).min(size.div_ceil(256)).max(1)
}

/// Elements from row to row of what is in the workspace: whole chunks of 16 bytes.
pub fn padded(columns: u64) -> u64 {
    columns.saturating_add(7) & !7
}
