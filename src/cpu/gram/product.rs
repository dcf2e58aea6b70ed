//! Squared distances by a matrix product, where that keeps enough digits.

use super::scratch::Block;
use super::{DEPTH, ROWS, Space};
use crate::cpu::blocks::short;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply};
use crate::cpu::simd::Simd;
use crate::cpu::storage;
use crate::registry::Floats;
use std::ops::Range;

/// Largest scale (|x|^2 + |y|^2), of which an exponent has rounding errors.
pub const LARGEST: f32 = 4.0;
/// With fewer dimensions packing the operands takes longer than is saved; measured.
const LEAST_DIMS: usize = 64;

/// Writes the exponents of one space to the tile, or returns false if differences are needed.
#[inline(always)]
pub fn exponents<S: Simd>(
    s: S,
    block: &mut Block,
    index: usize,
    space: &Space,
    columns: Range<usize>,
    add: bool,
) -> bool {
    let Space { x, y, scale } = *space;
    let dims = x.columns;
    if dims < LEAST_DIMS {
        return false;
    }
    let keeps_digits = |squares: f32| scale * squares <= LARGEST;
    let (scratch, rows) = (block.scratch, block.rows.clone());
    // SAFETY: this thread alone has the scratch; rows and columns are within the buffers.
    unsafe {
        if block.squares.0 != index {
            block.squares = (index, squares(s, x, rows.clone(), (&raw mut (*scratch).x_squares).cast()));
        }
        // Before the columns are looked at: usually that decides.
        if !keeps_digits(block.squares.1) {
            return false;
        }
        let y_squares = (&raw mut (*scratch).y_squares).cast::<f32>();
        let largest = squares(s, y, columns.clone(), y_squares);
        if !keeps_digits(block.squares.1 + largest) {
            return false;
        }
        let matrix = |p: Floats, rows: Range<usize>| {
            Matrix::new(p.row(rows.start), p.dtype, rows.len(), dims, p.stride, 1)
        };
        let product = (&raw mut (*scratch).product).cast::<f32>();
        let to = MatrixMut::new(product, columns.len(), rows.len(), ROWS);
        multiply(S::ISA, -2.0, matrix(y, columns.clone()), matrix(x, rows.clone()).t(), 0.0, to);
        let x_squares = (&raw const (*scratch).x_squares).cast::<f32>();
        let tile = (&raw mut (*scratch).tile).cast::<f32>();
        for j in 0..columns.len() {
            let square = s.splat(*y_squares.add(j));
            for i in (0..rows.len()).step_by(S::LANES) {
                let (at, lanes) = (j * ROWS + i, S::LANES.min(rows.len() - i));
                let both = s.add(square, storage::load_lanes(s, x_squares.add(i), lanes));
                // Rounding must not make it negative; and a NaN stays one.
                let d = s.max(s.zero(), s.add(both, storage::load_lanes(s, product.add(at), lanes)));
                let before = if add { s.load(tile.add(at)) } else { s.zero() };
                s.store(tile.add(at), s.mul_add(s.splat(scale), d, before));
            }
        }
        // A point has no distance to itself.
        if std::ptr::eq(x.ptr, y.ptr) && !add {
            for j in columns.start.max(rows.start)..columns.end.min(rows.end) {
                *tile.add((j - columns.start) * ROWS + j - rows.start) = 0.0;
            }
        }
    }
    true
}

/// Squared lengths of points, and the largest of those that are numbers.
#[inline(always)]
unsafe fn squares<S: Simd>(s: S, points: Floats, rows: Range<usize>, to: *mut f32) -> f32 {
    let mut scratch = storage::Scratch::<DEPTH>::new();
    let mut largest = 0f32;
    for (slot, row) in rows.enumerate() {
        // Short sums in f32.
        let (mut sum, step) = (0.0, DEPTH.min(short::<S>()));
        for start in (0..points.columns).step_by(step) {
            let n = step.min(points.columns - start);
            let (mut sums, mut k) = ([s.zero(); 2], 0);
            unsafe {
                let from = points.row(row).add(start * points.dtype.size());
                let from = storage::read(s, points.dtype, from, n, scratch.ptr());
                while k < n {
                    let v = storage::load_lanes(s, from.add(k), S::LANES.min(n - k));
                    sums[k / S::LANES % 2] = s.mul_add(v, v, sums[k / S::LANES % 2]);
                    k += S::LANES;
                }
            }
            sum += f64::from(s.reduce_add(s.add(sums[0], sums[1])));
        }
        let sum = sum as f32;
        largest = if sum <= largest { largest } else { sum };
        unsafe { to.add(slot).write(sum) };
    }
    largest
}
