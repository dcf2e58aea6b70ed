//! States of an associative memory and its patterns: overlaps O = S X' and fields H = O X, a tile at a time. The
//! n x n couplings X'X between the two never exist.

#![allow(dead_code)] // not every build has an entry for each part of it

use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, tile};
use std::ops::Range;

/// States under way at once: what bounds the overlaps in memory.
pub const CHUNK: usize = 1024;
/// States of a tile of overlaps: enough to be worth packing the patterns, which are turned by 90 degrees.
const HIGH: usize = 512;
/// States of a tile of fields, which stays in the second-level cache with the patterns.
const LOW: usize = 256;
/// Patterns or neurons.
pub const WIDTH: usize = 128;
const _: () = assert!(LOW * WIDTH <= tile::ROWS * tile::COLUMNS);

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
    let (down, across) = (batch.div_ceil(HIGH), count.div_ceil(WIDTH));
    let out = Shared(out.as_mut_ptr());
    cpu.run(down * across, (batch * count).saturating_mul(n) / 4, &|task| {
        let (row, column) = (task / across * HIGH, task % across * WIDTH);
        let (rows, columns) = (row..batch.min(row + HIGH), column..count.min(column + WIDTH));
        // SAFETY: a tile of `out`, which this task alone writes.
        let to = unsafe { MatrixMut::new(out.at(row * count + column), rows.len(), columns.len(), count) };
        multiply(cpu.isa, 1.0, states.block(rows, 0..n), points.block(columns, 0..n).t(), 0.0, to);
    });
}

/// Calls `each(states, neurons, tile)` for tiles of fields, `sum over k of overlaps[b][k] points[k][i]`, rows
/// `neurons.len()` apart.
pub fn fields(
    cpu: &Cpu,
    overlaps: &[f32],
    batch: usize,
    points: Matrix,
    each: &(dyn Fn(Range<usize>, Range<usize>, *mut f32) + Sync),
) {
    let (count, n) = (points.rows, points.columns);
    let overlaps = Matrix::of(overlaps, batch, count, count);
    let (down, across) = (batch.div_ceil(LOW), n.div_ceil(WIDTH));
    cpu.run(down * across, (batch * n).saturating_mul(count + 4) / 4, &|task| {
        let (row, column) = (task / across * LOW, task % across * WIDTH);
        let (rows, columns) = (row..batch.min(row + LOW), column..n.min(column + WIDTH));
        tile::with_tile(|tile| {
            // SAFETY: this thread alone has the tile, which has room for as much.
            let to = unsafe { MatrixMut::new(tile, rows.len(), columns.len(), columns.len()) };
            let (left, right) =
                (overlaps.block(rows.clone(), 0..count), points.block(0..count, columns.clone()));
            multiply(cpu.isa, 1.0, left, right, 0.0, to);
            each(rows, columns, tile);
        });
    });
}
