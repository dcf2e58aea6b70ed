//! |a'b|^2 / (|a'a| |b'b|) of centred columns. Scaled by powers of two to about 1, [a b] is one matrix z of n rows and
//! w = d + k columns; z'z holds all three products, and the gradient is z times z'z with a factor for each of its blocks.

#[path = "kernel_alignment/centred.rs"]
mod centred;
#[cfg(gpu)]
#[path = "kernel_alignment/device.rs"]
mod device;
#[path = "kernel_alignment/samples.rs"]
mod samples;

use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, tile};
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::simd::Isa;
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::kernel_alignment::{Args, Call};
use crate::registry::{FloatsMut, Pass, Result};
use centred::Centred;

#[cfg(gpu)]
pub use device::{cuda, cuda_workspace};

/// Samples of z in the workspace at a time.
const CHUNK: usize = 1024;
/// Samples whose products are summed in f32.
const DEPTH: usize = 128;
/// Side of a tile of products.
const SIDE: usize = 128;

/// Whether n x n kernels are less work than products of columns.
fn by_samples(n: u64, d: u64, k: u64) -> bool {
    d.max(k) > n
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let columns = a.d.saturating_add(a.k);
    let common = centred::size(Size::default(), a.d, a.k);
    if by_samples(a.n, a.d, a.k) {
        return samples::size(common.add::<f32>(a.n.saturating_mul(columns)), a.n).bytes();
    }
    let products = columns.saturating_mul(columns);
    common
        .add::<f32>(a.n.min(CHUNK as u64).saturating_mul(columns))
        .add::<f64>(products)
        .add::<f32>(products)
        .bytes()
}

/// |X|^2, |A|^2 and |B|^2 of the scaled columns.
#[derive(Clone, Copy, Default)]
struct Norms {
    cross: f64,
    a: f64,
    b: f64,
}

impl Norms {
    fn plus(self, other: Norms) -> Norms {
        Norms { cross: self.cross + other.cross, a: self.a + other.a, b: self.b + other.b }
    }

    fn value(&self) -> f64 {
        if self.a == 0.0 || self.b == 0.0 { 0.0 } else { self.cross / (self.a.sqrt() * self.b.sqrt()) }
    }

    /// What blocks X, A and B are multiplied by in the gradient.
    fn factors(&self) -> [f64; 3] {
        if self.a == 0.0 || self.b == 0.0 {
            return [0.0; 3];
        }
        let value = self.value();
        [2.0 / (self.a.sqrt() * self.b.sqrt()), -2.0 * value / self.a, -2.0 * value / self.b]
    }
}

/// Where the gradient of one of the inputs goes: columns of z from `first` on, times `factor`.
#[derive(Clone, Copy)]
struct Target<'a> {
    to: FloatsMut<'a>,
    first: usize,
    factor: f32,
}

/// Gradients of the samples from `first` on: `left` times the target's columns of `right`.
fn write_gradient(cpu: &Cpu, left: Matrix, right: Matrix, target: Target, first: usize) {
    let columns = target.to.columns;
    let (down, across) = (left.rows.div_ceil(tile::ROWS), columns.div_ceil(tile::COLUMNS));
    let work = left.rows.saturating_mul(columns).saturating_mul(left.columns) / 4;
    cpu.run(down * across, work, &|task| {
        let (row, column) = (task / across * tile::ROWS, task % across * tile::COLUMNS);
        let rows = row..(row + tile::ROWS).min(left.rows);
        let columns = column..(column + tile::COLUMNS).min(columns);
        let (height, width) = (rows.len(), columns.len());
        tile::with_tile(|tile| {
            let left = left.block(rows.clone(), 0..left.columns);
            let right = right.block(0..right.rows, target.first + columns.start..target.first + columns.end);
            // SAFETY: the tile has room for as many rows and columns.
            multiply(cpu.isa, 1.0, left, right, 0.0, unsafe { MatrixMut::new(tile, height, width, width) });
            let rows = first + rows.start..first + rows.end;
            // SAFETY: the tile is full, and this part of the gradient is this task's.
            unsafe { tile::store(cpu.isa, tile, target.to, rows, columns, |_| target.factor) };
        });
    });
}

/// Adds z_I' z_J of a chunk of samples to the tile of z'z that begins at `row`, `column`.
fn add_products(isa: Isa, z: Matrix, row: usize, column: usize, sums: Places<f64>, fresh: bool) {
    let w = z.columns;
    let (rows, columns) = (row..(row + SIDE).min(w), column..(column + SIDE).min(w));
    let width = columns.len();
    for start in (0..z.rows).step_by(DEPTH) {
        let samples = start..(start + DEPTH).min(z.rows);
        let (p, q) = (z.block(samples.clone(), rows.clone()), z.block(samples, columns.clone()));
        tile::with_tile(|tile| {
            // SAFETY: a tile has room for SIDE x SIDE; the places are this task's own.
            unsafe {
                multiply(isa, 1.0, p.t(), q, 0.0, MatrixMut::new(tile, rows.len(), width, width));
                for (slot, i) in rows.clone().enumerate() {
                    let from = std::slice::from_raw_parts(tile.add(slot * width), width);
                    let to = sums.at(i * w + columns.start);
                    for (j, &x) in from.iter().enumerate() {
                        let before = if fresh && start == 0 { 0.0 } else { *to.add(j) };
                        to.add(j).write(before + f64::from(x));
                    }
                }
            }
        });
    }
}

/// The norms of the blocks of z'z, whose lower half is known.
fn norms(cpu: &Cpu, products: &[f64], d: usize, w: usize) -> Norms {
    let blocks = Blocks::new(w, 16, 1);
    let mut parts = [Norms::default(); MAX_BLOCKS];
    let cells = Cells::new(&mut parts);
    cpu.run(blocks.count, w * w * 4, &|block| {
        let mut sum = Norms::default();
        for i in blocks.range(block) {
            let line = &products[i * w..][..=i];
            let square = |line: &[f64]| line.iter().map(|x| x * x).sum::<f64>();
            let diagonal = line[i] * line[i];
            if i < d {
                sum.a += 2.0 * square(&line[..i]) + diagonal;
            } else {
                sum.cross += square(&line[..d]);
                sum.b += 2.0 * square(&line[d..i]) + diagonal;
            }
        }
        cells.set(block, sum);
    });
    parts[..blocks.count].iter().fold(Norms::default(), |sum, &part| sum.plus(part))
}

/// z'z with the factors of its blocks.
fn weigh(cpu: &Cpu, products: &[f64], factors: [f64; 3], d: usize, w: usize, to: Places<f32>) {
    let [cross, a, b] = factors;
    cpu.run(w, w * w * 12, &|i| {
        for j in 0..w {
            let factor = if (i < d) != (j < d) {
                cross
            } else if i < d {
                a
            } else {
                b
            };
            to.set(i * w + j, (factor * products[i.max(j) * w + i.min(j)]) as f32);
        }
    });
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, d, k) = (call.n, call.d, call.k);
    let w = d + k;
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let z = Centred::new(cpu, [call.a, call.b], call.opts.centered != 0, &mut work);
    let g = call.grad_loss.map_or(1.0, |g| f64::from(g[0]));
    let targets = [(call.grad_a, 0), (call.grad_b, d)].map(|(to, first)| {
        let factor = (g * z.scale(first >= d)) as f32;
        to.map(|to| Target { to, first, factor })
    });
    let value = if call.pass == Pass::Backward { None } else { call.value.as_deref_mut() };
    if by_samples(n as u64, d as u64, k as u64) {
        let rows = work.take_places::<f32>(n * w);
        z.fill(cpu, 0..n, rows);
        // SAFETY: just filled.
        let rows = Matrix::of(unsafe { rows.slice(0, n * w) }, n, w, w);
        let norms = samples::run(cpu, rows, d, &targets, &mut work);
        value.into_iter().for_each(|value| value[0] = norms.value() as f32);
        return Ok(());
    }
    let chunk = n.min(CHUNK);
    let rows = work.take_places::<f32>(chunk * w);
    let (products, weights) = (work.take_places::<f64>(w * w), work.take_places::<f32>(w * w));
    // A chunk of samples at a time, as a matrix.
    let chunks = |use_chunk: &mut dyn FnMut(Matrix, usize)| {
        for first in (0..n).step_by(CHUNK) {
            let count = chunk.min(n - first);
            z.fill(cpu, first..first + count, rows);
            // SAFETY: just filled.
            use_chunk(Matrix::of(unsafe { rows.slice(0, count * w) }, count, w, w), first);
        }
    };
    let tiles = w.div_ceil(SIDE);
    chunks(&mut |z, first| {
        let work = z.rows.saturating_mul(w).saturating_mul(w) / 4;
        cpu.run(tiles * tiles, work, &|tile| {
            let (row, column) = (tile / tiles, tile % tiles);
            if column <= row {
                add_products(cpu.isa, z, row * SIDE, column * SIDE, products, first == 0);
            }
        });
    });
    // SAFETY: the lower half has been written, and nothing else is read.
    let products = unsafe { products.slice(0, w * w) };
    let norms = norms(cpu, products, d, w);
    value.into_iter().for_each(|value| value[0] = norms.value() as f32);
    if targets.iter().all(Option::is_none) {
        return Ok(());
    }
    weigh(cpu, products, norms.factors(), d, w, weights);
    // SAFETY: just written.
    let weights = Matrix::of(unsafe { weights.slice(0, w * w) }, w, w, w);
    chunks(&mut |z, first| {
        targets.iter().flatten().for_each(|&target| write_gradient(cpu, z, weights, target, first));
    });
    Ok(())
}
