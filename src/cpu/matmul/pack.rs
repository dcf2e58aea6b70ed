//! Packed panels: blocks of the operands as f32, in the order in which the kernel reads them.

use super::Matrix;
use crate::cpu::simd::{Simd, convert};
use crate::cpu::storage::{Scratch, load_lanes, read, read_one};
use crate::registry::DType;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Depth of a panel, in elements of the inner dimension.
pub const DEPTH: usize = 256;
/// Rows of A in a panel, and columns of B.
pub const HEIGHT: usize = 256;
pub const WIDTH: usize = 512;

/// Distance of the rows of A packed as rows: not a power of two, so that they spread over the sets of the
/// first-level cache.
pub const ROW: usize = DEPTH + 16;

/// Slack for whole vectors stored at the end, and for the last strip's missing rows and columns.
const SLACK: usize = 64;

/// 800 KB, the same for all products: allocated by a thread's first product, freed when the thread ends.
#[repr(C, align(64))]
pub struct Panels {
    a: [MaybeUninit<f32>; (HEIGHT + 16) * ROW + SLACK],
    b: [MaybeUninit<f32>; (WIDTH + 48) * DEPTH + SLACK],
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

/// How a panel of A lies: element (row `i` of a strip, depth `p`) is at `i * row + p * step`, and the strips
/// of `MR` rows are `strip` apart.
pub trait Layout {
    const ROW: usize;
    const STEP: usize;
    const STRIP: usize;
}

/// Rows as they are: no transposition for a row-major A.
pub struct AsRows<const MR: usize>;
impl<const MR: usize> Layout for AsRows<MR> {
    const ROW: usize = ROW;
    const STEP: usize = 1;
    const STRIP: usize = MR * ROW;
}

/// `MR` rows side by side: for a column-major A.
pub struct Interleaved<const MR: usize>;
impl<const MR: usize> Layout for Interleaved<MR> {
    const ROW: usize = 1;
    const STEP: usize = MR;
    const STRIP: usize = MR * DEPTH + 16;
}

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
    for i in 0..rows.len().next_multiple_of(MR) {
        unsafe {
            let out = to.add(i * ROW);
            if i < rows.len() {
                line(s, a, rows.start + i, depth.start, n, out);
            } else {
                out.write_bytes(0, n);
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

/// Strips of `count` columns side by side, `strip` apart; missing ones are 0. For A, its transpose.
///
/// # Safety
/// As [`rows`]; columns of `b` lie side by side.
#[inline(always)]
pub unsafe fn columns<S: Simd>(
    s: S,
    b: &Matrix,
    depth: Range<usize>,
    columns: Range<usize>,
    to: *mut f32,
    count: usize,
    strip: usize,
) {
    let mut scratch = Scratch::<WIDTH>::new();
    let n = columns.len();
    for p in 0..depth.len() {
        unsafe {
            let row = read(s, b.dtype, b.at(depth.start + p, columns.start), n, scratch.ptr());
            for j in (0..n).step_by(count) {
                let out = to.add(j / count * strip + p * count);
                for at in (0..count).step_by(S::LANES) {
                    // May store beyond `count`: the next depth's place, written next, or slack.
                    let left = n.saturating_sub(j + at).min(S::LANES);
                    let v = match left {
                        0 => s.zero(),
                        left => load_lanes(s, row.add(j + at), left),
                    };
                    s.store(out.add(at), v);
                }
            }
        }
    }
}

/// As [`columns`], where the values of a column lie side by side.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
pub unsafe fn transposed<S: Simd>(
    s: S,
    b: &Matrix,
    depth: Range<usize>,
    columns: Range<usize>,
    to: *mut f32,
    count: usize,
    strip: usize,
) {
    let mut scratch = Scratch::<{ 16 * ROW }>::new();
    let scratch = scratch.ptr();
    let n = depth.len();
    for j in (0..columns.len().next_multiple_of(count)).step_by(S::LANES) {
        let filled = columns.len().saturating_sub(j).min(S::LANES);
        let in_place =
            b.dtype == DType::F32 && b.row_stride == 1 && filled == S::LANES && n.is_multiple_of(S::LANES);
        unsafe {
            let out = to.add(j / count * strip + j % count);
            let (mut from, mut stride) = (scratch.cast_const(), ROW);
            if in_place {
                (from, stride) = (b.at(depth.start, columns.start + j).cast(), b.column_stride);
            } else {
                for i in 0..S::LANES {
                    let place = scratch.add(i * ROW);
                    if i < filled {
                        line(s, &b.t(), columns.start + j + i, depth.start, n, place);
                    } else {
                        place.write_bytes(0, n);
                    }
                }
            }
            // What comes after the last depth goes to the next strip, written next, or to slack.
            for p in (0..n).step_by(S::LANES) {
                s.transpose(from.add(p), stride, out.add(p * count), count);
            }
        }
    }
}
