//! States of an associative memory and its patterns: overlaps O = S X' and fields H = O X, a tile at a time. The
//! n x n couplings X'X between the two never exist.

#![allow(dead_code)] // not every build has an entry for each part of it

use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// States under way at once: what bounds the overlaps in memory.
pub const CHUNK: usize = 512;
/// States, and patterns or neurons, of a tile: high enough to be worth packing the patterns.
const HEIGHT: usize = 256;
pub const WIDTH: usize = 128;

thread_local! {
    /// A tile of fields.
    static TILE: Box<MaybeUninit<UnsafeCell<[f32; HEIGHT * WIDTH]>>> = Box::new_uninit();
}

struct Shared(*mut f32);

// SAFETY: tasks write disjoint tiles.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(&self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// `out[b][k] = states_b . points_k`.
pub fn overlaps(cpu: &Cpu, states: Matrix, points: Matrix, out: &mut [f32]) {
    let (batch, count, n) = (states.rows, points.rows, states.columns);
    assert!(out.len() >= batch * count);
    let (down, across) = (batch.div_ceil(HEIGHT), count.div_ceil(WIDTH));
    let out = Shared(out.as_mut_ptr());
    cpu.run(down * across, (batch * count).saturating_mul(n) / 4, &|task| {
        let (row, column) = (task / across * HEIGHT, task % across * WIDTH);
        let (rows, columns) = (row..batch.min(row + HEIGHT), column..count.min(column + WIDTH));
        // SAFETY: a tile of `out`, which this task alone writes.
        let to = unsafe { MatrixMut::new(out.at(row * count + column), rows.len(), columns.len(), count) };
        multiply(cpu.isa, 1.0, states.block(rows, 0..n), points.block(columns, 0..n).t(), 0.0, to);
    });
}

/// Calls `each(b, i, values)` for the fields i .. of state b, `values[j] = sum over k of overlaps[b][k] points[k][i + j]`.
pub fn fields(
    cpu: &Cpu,
    overlaps: &[f32],
    batch: usize,
    points: Matrix,
    each: &(dyn Fn(usize, usize, &mut [f32]) + Sync),
) {
    let (count, n) = (points.rows, points.columns);
    let overlaps = Matrix::of(overlaps, batch, count, count);
    let (down, across) = (batch.div_ceil(HEIGHT), n.div_ceil(WIDTH));
    cpu.run(down * across, (batch * n).saturating_mul(count + 4) / 4, &|task| {
        let (row, column) = (task / across * HEIGHT, task % across * WIDTH);
        let (rows, columns) = (row..batch.min(row + HEIGHT), column..n.min(column + WIDTH));
        let tile = TILE.with(|tile| UnsafeCell::raw_get(tile.as_ptr())).cast::<f32>();
        // SAFETY: this thread alone has the tile, which `multiply` writes before it is read.
        unsafe {
            let to = MatrixMut::new(tile, rows.len(), columns.len(), WIDTH);
            multiply(
                cpu.isa,
                1.0,
                overlaps.block(rows.clone(), 0..count),
                points.block(0..count, columns.clone()),
                0.0,
                to,
            );
            for (i, b) in rows.enumerate() {
                each(b, column, std::slice::from_raw_parts_mut(tile.add(i * WIDTH), columns.len()));
            }
        }
    });
}
