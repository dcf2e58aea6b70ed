//! From differences, however small: the inner loops of the Gram tiles. With the state's sign changed, sums are
//! differences too.

use super::{COLUMNS, Pairs, ROWS, WIDTH};
use crate::cpu::gram::{ROWS as MOST, kernel};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::Simd;
use crate::cpu::storage;
use crate::registry::{Floats, FloatsMut};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// States of a block of losses.
pub const MANY: usize = 32;
/// Patterns at a time: few enough for f32 sums.
const SOME: usize = 16;
/// Neurons that are summed up in one go in f32, and sums that are.
const DEPTH: usize = 16;
const PARTS: usize = 16;
/// Floats from one pattern to the next; not a multiple of a page.
const PITCH: usize = WIDTH + 16;

/// One thread's, of fixed size.
#[repr(C, align(64))]
struct Scratch {
    /// States as they are, then packed.
    states: [f32; MOST * PITCH],
    panel: [f32; MOST * WIDTH],
    patterns: [f32; SOME * PITCH],
    /// Squared distances or weights, `[pattern][state]`.
    tile: [f32; COLUMNS * MOST],
    /// Of the losses, `[pattern][state]`.
    wide: [f64; COLUMNS * MANY],
    /// Of the gradients.
    sums: [f32; MOST * WIDTH],
}

thread_local! {
    static SCRATCH: Box<MaybeUninit<UnsafeCell<Scratch>>> = Box::new_uninit();
}

/// Part `columns` of some rows of a matrix as f32 times `sign`, `PITCH` apart.
///
/// # Safety
/// They are within the matrix; `to` has room for as many rows.
#[inline(always)]
unsafe fn copy<S: Simd>(s: S, from: Floats, rows: &[usize], columns: &Range<usize>, sign: f32, to: *mut f32) {
    let (sign, size) = (s.splat(sign), from.dtype.size());
    for (slot, &row) in rows.iter().enumerate() {
        for k in (0..columns.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(columns.len() - k);
            unsafe {
                let x =
                    storage::load_typed(s, from.dtype, from.row(row).add((columns.start + k) * size), lanes);
                s.store(to.add(slot * PITCH + k), s.mul(sign, x));
            }
        }
    }
}

/// Losses of at most [`MANY`] states for at most [`COLUMNS`] patterns, each with a bit for every state that is wanted.
///
/// # Safety
/// They are within the buffers, and nobody else writes these losses.
#[inline(always)]
pub unsafe fn losses<S: Simd>(s: S, pairs: &Pairs, rows: &[usize], columns: &[(usize, u32)], out: Cells) {
    let &Pairs { state, patterns, pattern_count, n, sign } = pairs;
    const { assert!(MANY <= MOST) };
    assert!(rows.len() <= MANY && columns.len() <= COLUMNS);
    let scratch = SCRATCH.with(|scratch| UnsafeCell::raw_get(scratch.as_ptr()));
    // SAFETY: this thread alone has the scratch.
    unsafe {
        let states = (&raw mut (*scratch).states).cast::<f32>();
        let panel = (&raw mut (*scratch).panel).cast::<f32>();
        let points = (&raw mut (*scratch).patterns).cast::<f32>();
        let tile = (&raw mut (*scratch).tile).cast::<f32>();
        let wide = (&raw mut (*scratch).wide).cast::<f64>();
        for start in (0..n).step_by(DEPTH) {
            let part = start..n.min(start + DEPTH);
            let first_part = (start / DEPTH).is_multiple_of(PARTS);
            let depth = part.len();
            copy(s, state, rows, &part, sign, states);
            kernel::pack(s, states, PITCH, rows.len(), depth, panel);
            for first in (0..columns.len()).step_by(SOME) {
                let (mut some, width) = ([0; SOME], SOME.min(columns.len() - first));
                for (index, &(column, _)) in some.iter_mut().zip(&columns[first..]) {
                    *index = column;
                }
                copy(s, patterns, &some[..width], &part, 1.0, points);
                let (tile, height) = (tile.add(first * MOST), rows.len());
                kernel::distances(s, panel, points, PITCH, height, width, depth, 1.0, !first_part, tile);
            }
            if part.end == n || part.end.is_multiple_of(DEPTH * PARTS) {
                for j in 0..columns.len() {
                    for i in 0..rows.len() {
                        let before = if part.end <= DEPTH * PARTS { 0.0 } else { *wide.add(j * MANY + i) };
                        *wide.add(j * MANY + i) = before + f64::from(*tile.add(j * MOST + i));
                    }
                }
            }
        }
        let scale = 0.25 / n as f64;
        for (i, row) in rows.iter().enumerate() {
            for (j, &(column, wanted)) in columns.iter().enumerate() {
                if wanted >> i & 1 == 1 {
                    out.set(row * pattern_count + column, (*wide.add(j * MANY + i) * scale) as f32);
                }
            }
        }
    }
}

/// Neurons `part`, at most [`WIDTH`], of the gradients of at most [`ROWS`] states.
///
/// # Safety
/// They are within the buffers, and nobody else reads these states or writes these gradients.
#[inline(always)]
pub unsafe fn gradients<S: Simd>(
    s: S,
    pairs: &Pairs,
    rows: &[usize],
    part: &Range<usize>,
    grad_loss: Option<&[f32]>,
    out: FloatsMut,
) {
    assert!(rows.len() <= ROWS);
    for start in (0..rows.len()).step_by(MOST) {
        let rows = &rows[start..rows.len().min(start + MOST)];
        unsafe { block(s, pairs, rows, part, grad_loss, out) };
    }
}

/// # Safety
/// See [`gradients`].
#[inline(always)]
unsafe fn block<S: Simd>(
    s: S,
    pairs: &Pairs,
    rows: &[usize],
    part: &Range<usize>,
    grad_loss: Option<&[f32]>,
    out: FloatsMut,
) {
    let &Pairs { state, patterns, pattern_count, n, sign } = pairs;
    let depth = part.len();
    let scratch = SCRATCH.with(|scratch| UnsafeCell::raw_get(scratch.as_ptr()));
    // SAFETY: as above.
    unsafe {
        let states = (&raw mut (*scratch).states).cast::<f32>();
        let panel = (&raw mut (*scratch).panel).cast::<f32>();
        let points = (&raw mut (*scratch).patterns).cast::<f32>();
        let weights = (&raw mut (*scratch).tile).cast::<f32>();
        let sums = (&raw mut (*scratch).sums).cast::<f32>();
        copy(s, state, rows, part, sign, states);
        kernel::pack(s, states, PITCH, rows.len(), depth, panel);
        let wide = 2 * S::LANES;
        let height = rows.len().next_multiple_of(wide);
        std::ptr::write_bytes(sums, 0, height * depth);
        let mut columns = [0; SOME];
        for first in (0..pattern_count).step_by(SOME) {
            let count = SOME.min(pattern_count - first);
            for (j, column) in columns.iter_mut().enumerate() {
                *column = first + j;
            }
            copy(s, patterns, &columns[..count], part, 1.0, points);
            for i in 0..height {
                for j in 0..count {
                    let g = match grad_loss {
                        _ if i >= rows.len() => 0.0,
                        Some(g) => g[rows[i] * pattern_count + first + j],
                        None => 1.0,
                    };
                    weights.add(j * MOST + i).write(g);
                }
            }
            kernel::weighted_differences(s, panel, points, PITCH, rows.len(), count, depth, weights, sums);
        }
        let scale = f64::from(sign) * 0.5 / n as f64;
        for (i, &row) in rows.iter().enumerate() {
            let to = out.row(row).add(part.start * out.dtype.size());
            for k in 0..depth {
                let sum = f64::from(*sums.add(i / wide * wide * depth + k * wide + i % wide));
                storage::write_one(out.dtype, (sum * scale) as f32, to.add(k * out.dtype.size()));
            }
        }
    }
}
