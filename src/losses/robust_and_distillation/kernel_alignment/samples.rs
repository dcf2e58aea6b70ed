//! More columns than samples: the kernels K = a a' and L = b b' of pairs of samples, in tiles.

use super::{Norms, SIDE, Target, write_gradient};
use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, tile};
use crate::cpu::workspace::{Places, Size, Workspace};
use std::ops::Range;

/// Samples whose weights for all others are in the workspace at a time.
const STRIP: usize = 256;

pub fn size(size: Size, n: u64) -> Size {
    let tiles = n.div_ceil(SIDE as u64);
    let strip = n.min(STRIP as u64).saturating_mul(n);
    size.add::<Norms>(tiles.saturating_mul(tiles)).add::<f32>(strip).add::<f32>(strip)
}

/// Calls `take` with K and L of some pairs, dense rows.
fn kernels(
    cpu: &Cpu,
    z: Matrix,
    d: usize,
    i: Range<usize>,
    j: Range<usize>,
    take: impl FnOnce(&[f32], &[f32]),
) {
    let (rows, columns, w) = (i.len(), j.len(), z.columns);
    tile::with_tile(|tile| {
        const { assert!(2 * SIDE <= tile::COLUMNS && SIDE <= tile::ROWS) };
        // SAFETY: the tile has room for two of SIDE x SIDE.
        unsafe {
            let second = tile.add(SIDE * SIDE);
            for (to, range) in [(tile, 0..d), (second, d..w)] {
                let (p, q) = (z.block(i.clone(), range.clone()), z.block(j.clone(), range));
                multiply(cpu.isa, 1.0, p, q.t(), 0.0, MatrixMut::new(to, rows, columns, columns));
            }
            let values = |at: *mut f32| std::slice::from_raw_parts(at.cast_const(), rows * columns);
            take(values(tile), values(second));
        }
    });
}

/// The norms of the kernels and of what lies between them, and the gradients.
pub fn run(cpu: &Cpu, z: Matrix, d: usize, targets: &[Option<Target>; 2], work: &mut Workspace) -> Norms {
    let (n, w) = (z.rows, z.columns);
    let tiles = n.div_ceil(SIDE);
    let parts = work.take(tiles * tiles, Norms::default());
    let cells = crate::cpu::parallel::Cells::new(parts);
    let side = |tile: usize| tile * SIDE..((tile + 1) * SIDE).min(n);
    cpu.run(tiles * tiles, n.saturating_mul(n).saturating_mul(w) / 8, &|tile| {
        let (row, column) = (tile / tiles, tile % tiles);
        if column > row {
            return;
        }
        kernels(cpu, z, d, side(row), side(column), |k, l| {
            let mut sum = Norms::default();
            for (&k, &l) in k.iter().zip(l) {
                let (k, l) = (f64::from(k), f64::from(l));
                sum = sum.plus(Norms { cross: k * l, a: k * k, b: l * l });
            }
            // The other half.
            cells.set(tile, if column < row { sum.plus(sum) } else { sum });
        });
    });
    let norms = parts.iter().fold(Norms::default(), |sum, &part| sum.plus(part));
    if targets.iter().all(Option::is_none) {
        return norms;
    }
    let [cross, of_a, of_b] = norms.factors();
    let strips: [Places<f32>; 2] = [0; 2].map(|_| work.take_places(n.min(STRIP) * n));
    for first in (0..n).step_by(STRIP) {
        let count = STRIP.min(n - first);
        let down = count.div_ceil(SIDE);
        cpu.run(down * tiles, count.saturating_mul(n).saturating_mul(w) / 4, &|tile| {
            let (row, column) = (tile / tiles * SIDE, tile % tiles);
            let rows = first + row..(first + row + SIDE).min(first + count);
            let columns = side(column);
            kernels(cpu, z, d, rows.clone(), columns.clone(), |k, l| {
                for (e, (&k, &l)) in k.iter().zip(l).enumerate() {
                    let at = (row + e / columns.len()) * n + columns.start + e % columns.len();
                    let (k, l) = (f64::from(k), f64::from(l));
                    strips[0].set(at, (cross * l + of_a * k) as f32);
                    strips[1].set(at, (cross * k + of_b * l) as f32);
                }
            });
        });
        for (target, strip) in targets.iter().zip(strips) {
            if let Some(target) = target {
                // SAFETY: just written.
                let weights = Matrix::of(unsafe { strip.slice(0, count * n) }, count, n, n);
                write_gradient(cpu, weights, z, *target, first);
            }
        }
    }
    norms
}
