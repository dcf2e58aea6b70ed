//! Packed panels: blocks of the operands as f32, in the order in which the kernel reads them.

use super::Matrix;
use crate::cpu::simd::{Simd, convert};
use crate::cpu::storage::{Scratch, fetch_row, load_lanes, read, read_one};
use crate::registry::DType;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Depth of a panel at most, in elements of the inner dimension.
const DEPTH: usize = 512;
/// Rows of A in a panel, and columns of B. What is added to them below is for what whole vectors overrun.
pub const HEIGHT: usize = 72;
pub const WIDTH: usize = 512;

/// Rows of B that are asked for before they are packed.
const AHEAD: usize = 4;

/// Distance of the rows of A packed as rows: not a power of two, so that they spread over the sets of the
/// first-level cache.
pub const ROW: usize = DEPTH + 16;

/// 1.3 MB, the same for all products: allocated by a thread's first product, freed when the thread ends.
#[repr(C, align(64))]
pub struct Panels {
    a: [MaybeUninit<f32>; (HEIGHT + 16) * ROW],
    b: [MaybeUninit<f32>; (WIDTH + 48) * DEPTH],
}

impl Panels {
    pub fn a(&mut self) -> *mut f32 {
        self.a.as_mut_ptr().cast()
    }

    pub fn b(&mut self) -> *mut f32 {
        self.b.as_mut_ptr().cast()
    }
}

/// Runs `product` with the thread's panels.
pub fn with_panels(product: impl FnOnce(&mut Panels)) {
    thread_local!(static PANELS: Cell<Option<Box<Panels>>> = const { Cell::new(None) });
    // Gone already where a thread's destructors run: then for this product alone.
    let kept = PANELS.try_with(Cell::take).ok().flatten();
    // SAFETY: consists of MaybeUninit.
    let mut panels = kept.unwrap_or_else(|| unsafe { Box::new_uninit().assume_init() });
    product(&mut panels);
    let _ = PANELS.try_with(|place| place.set(Some(panels)));
}

/// Depth of a panel with strips of B so wide: a strip is 32 KB at most.
pub fn depth(width: usize) -> usize {
    DEPTH.min(8192 / width)
}

/// Whether rows of A are read where they stand.
pub fn in_place(a: &Matrix) -> bool {
    a.dtype == DType::F32 && a.column_stride == 1
}

/// A panel of A: its rows, [`ROW`] apart, and rows of 0 up to a multiple of `MR`.
///
/// # Safety
/// The ranges are within `a` and no larger than a panel; `to` is a panel.
#[inline(always)]
pub unsafe fn rows<S: Simd, const MR: usize>(
    s: S,
    a: &Matrix,
    rows: Range<usize>,
    depth: Range<usize>,
    to: *mut f32,
) {
    let n = depth.len();
    let count = rows.len();
    unsafe {
        if a.row_stride == 1 && a.column_stride != 1 {
            transposed(
                s,
                &a.t(),
                depth,
                rows,
                S::LANES,
                ROW,
                #[inline(always)]
                |p| to.add(p),
            );
        } else {
            for i in 0..count {
                line(s, a, rows.start + i, depth.start, n, to.add(i * ROW));
            }
        }
        for i in count..count.next_multiple_of(MR) {
            to.add(i * ROW).write_bytes(0, n);
        }
    }
}

/// A panel of B: strips of `width` columns, a whole number of vectors. Missing columns are 0.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
pub unsafe fn strips<S: Simd>(
    s: S,
    b: &Matrix,
    depth: Range<usize>,
    columns: Range<usize>,
    to: *mut f32,
    width: usize,
) {
    let (count, n) = (depth.len(), columns.len());
    if b.column_stride != 1 {
        unsafe {
            transposed(
                s,
                &b.t(),
                columns,
                depth,
                width,
                width,
                #[inline(always)]
                |j| to.add(j / width * width * count + j % width),
            );
        }
        return;
    }
    let mut scratch = Scratch::<WIDTH>::new();
    for p in 0..count {
        // Rows of a narrow block are too short for the processor to foresee the next.
        fetch_row(b.at(depth.start + p + AHEAD, columns.start), n * b.dtype.size());
        unsafe {
            let row = read(s, b.dtype, b.at(depth.start + p, columns.start), n, scratch.ptr());
            for j in (0..n.next_multiple_of(width)).step_by(S::LANES) {
                let left = n.saturating_sub(j).min(S::LANES);
                let v = if left > 0 { load_lanes(s, row.add(j), left) } else { s.zero() };
                s.store(to.add(j / width * width * count + p * width + j % width), v);
            }
        }
    }
}

/// `n <= BLOCK` values of a row from `column` on; may write a vector less one beyond them.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
unsafe fn line<S: Simd>(s: S, a: &Matrix, row: usize, column: usize, n: usize, to: *mut f32) {
    unsafe {
        if a.column_stride == 1 {
            let from = read(s, a.dtype, a.at(row, column), n, to);
            if from != to {
                convert::copy_f32(s, from, to, n, false);
            }
        } else {
            for p in 0..n {
                *to.add(p) = read_one(a.dtype, a.at(row, column + p));
            }
        }
    }
}

/// Turns `lines`, some rows of `from` or the part `along` of them, by 90 degrees: value `i` of line `l` goes
/// to `place(l) + i * stride`. Lines go in whole vectors to places side by side; missing ones up to a
/// `multiple` of lines are 0. Up to `LANES - 1` values beyond `along` are written too.
///
/// # Safety
/// As [`rows`]; what is written is within the panel.
#[inline(always)]
unsafe fn transposed<S: Simd>(
    s: S,
    from: &Matrix,
    lines: Range<usize>,
    along: Range<usize>,
    multiple: usize,
    stride: usize,
    place: impl Fn(usize) -> *mut f32,
) {
    const LINE: usize = DEPTH + 16;
    let mut scratch = Scratch::<{ 16 * LINE }>::new();
    let scratch = scratch.ptr();
    let n = along.len();
    for l in (0..lines.len().next_multiple_of(multiple)).step_by(S::LANES) {
        let count = lines.len().saturating_sub(l).min(S::LANES);
        let whole = count == S::LANES && n.is_multiple_of(S::LANES);
        unsafe {
            let (mut source, mut apart) = (scratch.cast_const(), LINE);
            if whole && from.dtype == DType::F32 && from.column_stride == 1 {
                (source, apart) = (from.at(lines.start + l, along.start).cast(), from.row_stride);
            } else {
                for i in 0..S::LANES {
                    let copy = scratch.add(i * LINE);
                    if i < count {
                        line(s, from, lines.start + l + i, along.start, n, copy);
                        s.store(copy.add(n), s.zero());
                    } else {
                        copy.write_bytes(0, n + S::LANES);
                    }
                }
            }
            let out = place(l);
            for i in (0..n).step_by(S::LANES) {
                s.transpose(source.add(i), apart, out.add(i * stride), stride);
            }
        }
    }
}
