//! Host half of kernels/skeletons/matrix_product.cuh: products of matrices on tensor cores.

use super::tiles::parts;
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
    F16,
    Bf16,
}

impl Product {
    pub fn of(dtype: i32) -> Product {
        match dtype {
            reduce::F32 => Product::F32,
            reduce::F16 => Product::F16,
            _ => Product::Bf16,
        }
    }

    /// Parts of a factor that comes from f32 arithmetic.
    pub fn parts(self) -> u64 {
        match self {
            Product::F32 => 1,
            Product::F16 => 2,
            Product::Bf16 => 3,
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> u64 {
        if self == Product::F32 { 4 } else { 2 }
    }

    /// How many lanes of a block share a row of the product.
    pub fn lanes(self) -> u64 {
        if self == Product::F32 { 8 } else { 4 }
    }

    /// Threads of a block, and the name of the kernel.
    fn kernel(self, name: &str) -> (u32, String) {
        match self {
            Product::F32 => (256, format!("{name}_f32")),
            Product::F16 => (128, format!("{name}_f16")),
            Product::Bf16 => (128, format!("{name}_bf16")),
        }
    }

    /// Launches a kernel with a factor in one part.
    pub fn launch(self, dev: &dyn Device, name: &str, grid: [u64; 3], args: &[u8]) -> Result<()> {
        let stages = if self == Product::F32 { 2 } else { 3 };
        self.launch_with(dev, name, grid, stages * 2 * PANEL, args)
    }

    /// Launches one with a factor in `parts`.
    pub fn launch_parts(self, dev: &dyn Device, name: &str, grid: [u64; 3], args: &[u8]) -> Result<()> {
        self.launch_with(dev, name, grid, 2 * (self.parts() as u32 + 1) * PANEL, args)
    }

    fn launch_with(
        self,
        dev: &dyn Device,
        name: &str,
        grid: [u64; 3],
        shared: u32,
        args: &[u8],
    ) -> Result<()> {
        let (threads, kernel) = self.kernel(name);
        dev.launch(&kernel, grid.map(|n| n as u32), [threads, 1, 1], shared, args)
    }
}

/// Parts of the depth of a product of `rows` x `columns`, so that few tiles still fill the GPU.
pub fn depth_parts(rows: u64, columns: u64, depth: u64) -> u64 {
    let blocks = rows.div_ceil(SIDE).saturating_mul(columns.div_ceil(SIDE));
    parts(blocks, ENOUGH_BLOCKS, MOST_PARTS, depth)
}

/// Elements from row to row of what is in the workspace: whole chunks of 16 bytes.
pub fn padded(columns: u64) -> u64 {
    columns.saturating_add(7) & !7
}
