//! Small dense algebra in f64 (kernels/dense): products, LU, Cholesky, copies.

use std::ffi::c_void;
use std::ptr;

use super::{Device, Result, bytes_of};

const F32: i32 = 0;
/// Beside the codes of `DType`.
const F64: i32 = 3;

/// Device memory of floats.
#[derive(Clone, Copy)]
pub struct Buffer {
    ptr: *mut c_void,
    kind: i32,
}

impl Buffer {
    pub fn f32(ptr: *const f32) -> Buffer {
        Buffer { ptr: ptr.cast_mut().cast(), kind: F32 }
    }

    /// Of the type with the code `dtype`.
    pub fn of(ptr: *const c_void, dtype: i32) -> Buffer {
        Buffer { ptr: ptr.cast_mut(), kind: dtype }
    }

    pub fn f64(ptr: *mut f64) -> Buffer {
        Buffer { ptr: ptr.cast(), kind: F64 }
    }

    /// `rows` x `columns` dense rows of it.
    pub fn matrix(self, rows: u64, columns: u64) -> Matrix {
        let raw = RawMatrix {
            values: self.ptr,
            row_stride: columns,
            column_stride: 1,
            kind: self.kind,
            padding: 0,
        };
        Matrix { raw, rows, columns }
    }

    /// `rows` times the same row.
    pub fn repeated(self, rows: u64, columns: u64) -> Matrix {
        let matrix = self.matrix(rows, columns);
        Matrix { raw: RawMatrix { row_stride: 0, ..matrix.raw }, ..matrix }
    }
}

#[derive(Clone, Copy)]
pub struct Matrix {
    raw: RawMatrix,
    rows: u64,
    columns: u64,
}

impl Matrix {
    /// The transpose.
    pub fn t(self) -> Matrix {
        let RawMatrix { row_stride, column_stride, .. } = self.raw;
        let raw = RawMatrix { row_stride: column_stride, column_stride: row_stride, ..self.raw };
        Matrix { raw, rows: self.columns, columns: self.rows }
    }
}

// These mirror kernels/dense/dense.cuh.

#[repr(C)]
#[derive(Clone, Copy)]
struct RawMatrix {
    values: *const c_void,
    row_stride: u64,
    column_stride: u64,
    kind: i32,
    padding: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct ProductArgs {
    m: u64,
    n: u64,
    k: u64,
    a: RawMatrix,
    b: RawMatrix,
    scale: *const f64,
    scale_stride: u64,
    factor: f64,
    keep: RawMatrix,
    c: *mut c_void,
    c_stride: u64,
    c_kind: i32,
    lower: i32,
    splits: u64,
    k_each: u64,
    parts: *mut f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CopyArgs {
    count: u64,
    n: u64,
    from: *const c_void,
    to: *mut c_void,
    from_kind: i32,
    to_kind: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct LuArgs {
    n: u64,
    columns: u64,
    a: *mut f64,
    x: *mut f64,
    pivots: *mut u32,
}

/// Factors of the inner dimension of a product: `factor` times each `stride`-th of `values`.
#[derive(Clone, Copy)]
pub struct Scale {
    pub values: *const f64,
    pub stride: u64,
    pub factor: f64,
}

const TILE: u64 = 32;
const DEPTH: u64 = 16;
/// Blocks that fill the largest GPUs; fixed, so that sums do not depend on the GPU.
const ENOUGH_BLOCKS: u64 = 528;
const MAX_SPLITS: u64 = 32;
const MAX_BLOCKS: u64 = 1 << 20;

/// c = a diag(scale) b + keep; `keep` may be what `c` holds.
pub fn product(
    dev: &dyn Device,
    a: Matrix,
    b: Matrix,
    scale: Option<Scale>,
    keep: Option<Matrix>,
    c: Buffer,
) -> Result<()> {
    assert_eq!(a.columns, b.rows);
    if a.rows == 0 || b.columns == 0 {
        return Ok(());
    }
    let none = Scale { values: ptr::null(), stride: 0, factor: 1.0 };
    let lower = false;
    launch_product(dev, a, b, scale.unwrap_or(none), keep, c.matrix(a.rows, b.columns), lower, None)
}

/// Parts of the sums over k, and the length of each.
fn splits(m: u64, n: u64, k: u64, lower: bool) -> (u64, u64) {
    let tiles = m.div_ceil(TILE).saturating_mul(n.div_ceil(TILE)).max(1);
    let wanted = ENOUGH_BLOCKS.div_ceil(if lower { tiles.div_ceil(2) } else { tiles });
    let wanted = wanted.clamp(1, MAX_SPLITS).min(k.div_ceil(4 * DEPTH)).max(1);
    let each = k.div_ceil(wanted).next_multiple_of(DEPTH);
    (k.div_ceil(each.max(1)).max(1), each)
}

/// Values of room that [`long_product`] needs.
pub fn parts_len(m: u64, n: u64, k: u64, lower: bool) -> u64 {
    let (splits, _) = splits(m, n, k, lower);
    if splits == 1 { 0 } else { m.saturating_mul(n).saturating_mul(splits) }
}

/// c = a b for a long inner dimension, whose parts are summed side by side in `room`. `lower` where it is symmetric:
/// what lies above the diagonal is not known afterwards.
pub fn long_product(
    dev: &dyn Device,
    a: Matrix,
    b: Matrix,
    c: Buffer,
    lower: bool,
    room: *mut f64,
) -> Result<()> {
    assert!(a.columns == b.rows && (!lower || a.rows == b.columns));
    if a.rows == 0 || b.columns == 0 {
        return Ok(());
    }
    let none = Scale { values: ptr::null(), stride: 0, factor: 1.0 };
    launch_product(dev, a, b, none, None, c.matrix(a.rows, b.columns), lower, Some(room))
}

/// `c` is a matrix with `column_stride` 1.
#[allow(clippy::too_many_arguments)]
fn launch_product(
    dev: &dyn Device,
    a: Matrix,
    b: Matrix,
    scale: Scale,
    keep: Option<Matrix>,
    c: Matrix,
    lower: bool,
    room: Option<*mut f64>,
) -> Result<()> {
    let (splits, k_each) = match room {
        Some(_) => splits(a.rows, b.columns, a.columns, lower),
        None => (1, a.columns),
    };
    let Scale { values, stride, factor } = scale;
    let args = ProductArgs {
        m: a.rows,
        n: b.columns,
        k: a.columns,
        a: a.raw,
        b: b.raw,
        scale: values,
        scale_stride: stride,
        factor,
        keep: keep.unwrap_or(Buffer { ptr: ptr::null_mut(), kind: F32 }.matrix(0, 0)).raw,
        c: c.raw.values.cast_mut(),
        c_stride: c.raw.row_stride,
        c_kind: c.raw.kind,
        lower: lower.into(),
        splits,
        k_each,
        parts: room.unwrap_or(ptr::null_mut()),
    };
    let tiles = a.rows.div_ceil(TILE).saturating_mul(b.columns.div_ceil(TILE)).min(MAX_BLOCKS);
    // SAFETY: a struct of integers, floats and pointers.
    let bytes = unsafe { bytes_of(&args) };
    dev.launch("dense_product", [tiles as u32, splits as u32, 1], [16, 16, 1], 0, bytes)?;
    if splits == 1 {
        return Ok(());
    }
    let blocks = (a.rows * b.columns).div_ceil(256).min(4096);
    dev.launch("dense_parts", [blocks as u32, 1, 1], [256, 1, 1], 0, bytes)
}

/// `count` values; nothing to do where both are the same.
pub fn copy(dev: &dyn Device, from: Buffer, to: Buffer, count: u64) -> Result<()> {
    if ptr::eq(from.ptr, to.ptr) { Ok(()) } else { launch_copy(dev, Some(from), to, count, 1) }
}

/// The identity of n rows.
pub fn identity(dev: &dyn Device, to: Buffer, n: u64) -> Result<()> {
    launch_copy(dev, None, to, n * n, n)
}

fn launch_copy(dev: &dyn Device, from: Option<Buffer>, to: Buffer, count: u64, n: u64) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let args = CopyArgs {
        count,
        n,
        from: from.map_or(ptr::null(), |from| from.ptr.cast_const()),
        to: to.ptr,
        from_kind: from.map_or(F32, |from| from.kind),
        to_kind: to.kind,
    };
    let blocks = count.div_ceil(1024).min(4096);
    // SAFETY: as above.
    dev.launch("dense_copy", [blocks as u32, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(&args) })
}

/// x <- a^-1 x for `x` [n, columns]; `a` becomes its factors.
pub fn solve(
    dev: &dyn Device,
    a: *mut f64,
    n: u64,
    pivots: *mut u32,
    x: *mut f64,
    columns: u64,
) -> Result<()> {
    if n == 0 || columns == 0 {
        return Ok(());
    }
    let args = LuArgs { n, columns, a, x, pivots };
    // SAFETY: as above.
    let bytes = unsafe { bytes_of(&args) };
    let threads = n.saturating_mul(n).next_multiple_of(32).min(1024) as u32;
    dev.launch("dense_lu", [1, 1, 1], [threads, 1, 1], 0, bytes)?;
    dev.launch("dense_solve", [columns.div_ceil(128) as u32, 1, 1], [128, 1, 1], 0, bytes)
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CholeskyArgs {
    n: u64,
    first: u64,
    columns: u64,
    a: *mut f64,
    x: *mut f64,
}

/// Columns that are decomposed at a time.
const PANEL: u64 = 32;

/// x <- a^-1 x for `x` [n, columns] and a positive definite `a`, of which the lower half is read and becomes its
/// factor.
pub fn cholesky_solve(dev: &dyn Device, a: *mut f64, n: u64, x: *mut f64, columns: u64) -> Result<()> {
    let launch = |kernel: &str, first: u64, blocks: u64, [x_threads, y_threads]: [u32; 2]| {
        let args = CholeskyArgs { n, first, columns, a, x };
        // SAFETY: as above.
        dev.launch(kernel, [blocks as u32, 1, 1], [x_threads, y_threads, 1], 0, unsafe { bytes_of(&args) })
    };
    for first in (0..n).step_by(PANEL as usize) {
        launch("dense_cholesky_square", first, 1, [PANEL as u32, 8])?;
        let next = first + PANEL;
        if next >= n {
            break;
        }
        let rows = n - next;
        launch("dense_cholesky_panel", first, rows.div_ceil(64), [64, 1])?;
        let part = |column: u64, columns: u64| {
            let matrix = Buffer::f64(a.wrapping_add((next * n + column) as usize)).matrix(rows, columns);
            Matrix { raw: RawMatrix { row_stride: n, ..matrix.raw }, ..matrix }
        };
        let (panel, rest) = (part(first, PANEL), part(next, rows));
        let minus = Scale { values: ptr::null(), stride: 0, factor: -1.0 };
        launch_product(dev, panel, panel.t(), minus, Some(rest), rest, true, None)?;
    }
    if n == 0 || columns == 0 {
        return Ok(());
    }
    launch("dense_cholesky_solve", 0, columns.min(1 << 16), [256, 1])
}
