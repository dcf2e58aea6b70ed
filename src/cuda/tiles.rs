//! Host half of kernels/skeletons/tiles.cuh and kernels/tiles/embeddings.cu: losses on the similarities of rows.

use std::ffi::c_void;
use std::ptr;

use super::{Device, Result, align_up, bytes_of};

/// Owners per block, and threads along each side of it.
const TILE: u64 = 64;
const SIDE: u32 = 16;

/// Mirrors `lk_tiles`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tiles {
    pub x: *const f32,
    pub y: *const f32,
    pub owners: u64,
    pub others: u64,
    pub d: u64,
    pub scale: *const f32,
    pub gradient: *mut f32,
    pub alpha: f32,
    pub side: i32,
}

/// Launches a kernel made of `tile_statistics` or `tile_gradients`.
pub fn launch(dev: &dyn Device, kernel: &str, owners: u64, args: &[u8]) -> Result<()> {
    if owners == 0 {
        return Ok(());
    }
    dev.launch(kernel, [owners.div_ceil(TILE).min(0x7fff_ffff) as u32, 1, 1], [SIDE, SIDE, 1], 0, args)
}

/// Mirrors `lk_embeddings_args`.
#[repr(C)]
#[derive(Clone, Copy)]
struct EmbeddingsArgs {
    x: *const c_void,
    grad_x: *mut c_void,
    values: *mut f32,
    inverse: *mut f32,
    gradients: *const f32,
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
    pub values: *mut f32,
    inverse: *mut f32,
    rows: u64,
    d: u64,
    dtype: i32,
    normalize: bool,
}

impl Embeddings {
    pub fn new(rows: u64, d: u64, dtype: i32, normalize: bool, work: &mut Workspace) -> Embeddings {
        let (values, inverse) = (work.take(rows.saturating_mul(d)), work.take(rows));
        Embeddings { values, inverse, rows, d, dtype, normalize }
    }

    /// `rows` of them from `first` on, where several inputs are stacked.
    pub fn part(&self, first: u64, rows: u64) -> Embeddings {
        let at = |p: *mut f32, n: u64| p.wrapping_add(n as usize);
        Embeddings {
            values: at(self.values, first * self.d),
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
            inverse: self.inverse,
            gradients: ptr::null(),
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
