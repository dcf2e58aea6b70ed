//! What is computed of one tile: its rows, its logits and what is made of them, and the products with their
//! gradients.

use super::sums::Sums;
use super::tiling::Tile;
use super::units::{ColumnSums, UnitRows};
use super::{BIAS_UNIT, LinearRows, UNIT};
use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, widen};
use std::ops::Range;

/// Whether a tile's logits are to be multiplied out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    Missing,
    There,
}

impl LinearRows<'_> {
    /// Copies the rows of a tile, as f32 and with their masks.
    pub fn read(&self, cpu: &Cpu, rows: &Range<usize>) {
        const TOGETHER: usize = 16;
        let blocks = rows.len().div_ceil(TOGETHER);
        let all = Matrix::from_floats(self.p.x);
        cpu.run(blocks, rows.len() * self.d * 8, &|block| {
            let first = rows.start + block * TOGETHER;
            for i in first..rows.end.min(first + TOGETHER) {
                // SAFETY: this block's row of the tile.
                let to = unsafe { self.x.slice_mut((i - rows.start) * self.d, self.d) };
                let r = self.row(i);
                widen(cpu.isa, all.block(r..r + 1, 0..self.d), MatrixMut::of(to, 1, self.d, self.d));
                if let Some(dropout) = &self.p.dropout {
                    dropout.apply(cpu.isa, i % self.samples, r, to);
                }
            }
        });
    }

    /// Takes the statistics of a tile of logits, or with a scale makes it the gradient.
    pub fn units<F: Fn(usize) -> f32 + Sync>(
        &self,
        cpu: &Cpu,
        tile: &Tile,
        logits: Logits,
        scale: Option<&F>,
    ) {
        let Tile { rows, classes, stride, .. } = tile;
        let (down, across) = (rows.len().div_ceil(UNIT), classes.len().div_ceil(UNIT));
        let (x, weight) = (self.rows_of_tile(rows), Matrix::from_floats(self.p.weight));
        let each = if logits == Logits::Missing { self.d / 4 } else { 8 };
        cpu.run(down * across, rows.len() * classes.len() * each, &|unit| {
            let i = part(unit / across, UNIT, rows.len());
            let k = part(unit % across, UNIT, classes.len());
            if logits == Logits::Missing {
                // SAFETY: this unit's part of the tile.
                let to = unsafe {
                    MatrixMut::new(self.tile.at(i.start * stride + k.start), i.len(), k.len(), *stride)
                };
                let w = weight.block(classes.start + k.start..classes.start + k.end, 0..self.d).t();
                multiply(cpu.isa, 1.0, x.block(i.clone(), 0..self.d), w, 0.0, to);
            }
            let slot = unit % across;
            cpu.isa.dispatch(UnitRows { all: self, tile, i, k, logits, scale, slot });
        });
    }

    fn rows_of_tile(&self, rows: &Range<usize>) -> Matrix<'_> {
        // SAFETY: `read` has written them.
        Matrix::of(unsafe { self.x.slice(0, rows.len() * self.d) }, rows.len(), self.d, self.d)
    }

    /// From a tile of gradients to those of its rows, of the weight and of the bias. The first tile of rows replaces
    /// what the weight's has.
    pub fn spread(&self, cpu: &Cpu, tile: &Tile, wants_x: bool, weight: Option<Sums>, wants_bias: bool) {
        let Tile { rows, classes, stride, .. } = tile;
        let (n, c, d) = (rows.len(), classes.len(), self.d);
        // SAFETY: `units` has written the tile.
        let g = Matrix::of(unsafe { self.tile.slice(0, (n - 1) * stride + c) }, n, c, *stride);
        let (x, w) =
            (self.rows_of_tile(rows), Matrix::from_floats(self.p.weight).block(classes.clone(), 0..d));
        // Sums over many classes are few and long: narrower ones keep threads busy.
        let wide = if c > n * 4 { (d / 4).next_multiple_of(64).clamp(256, UNIT) } else { UNIT };
        let x_across = d.div_ceil(wide);
        let across = d.div_ceil(UNIT);
        let of_x = if wants_x { n.div_ceil(UNIT) * x_across } else { 0 };
        let of_weight = if weight.is_some() { c.div_ceil(UNIT) * across } else { 0 };
        let of_bias = if wants_bias { c.div_ceil(BIAS_UNIT) } else { 0 };
        let beta = if rows.start == 0 { 0.0 } else { 1.0 };
        cpu.run(of_x + of_weight + of_bias, n * c * d / 4, &|unit| {
            if unit < of_x {
                let (i, j) = (part(unit / x_across, UNIT, n), part(unit % x_across, wide, d));
                // SAFETY: this unit's part of the gradients.
                let to = unsafe { MatrixMut::new(self.dx.at(i.start * d + j.start), i.len(), j.len(), d) };
                multiply(cpu.isa, 1.0, g.block(i, 0..c), w.block(0..c, j), 0.0, to);
            } else if let Some(sums) = weight.filter(|_| unit < of_x + of_weight) {
                let unit = unit - of_x;
                let (k, j) = (part(unit / across, UNIT, c), part(unit % across, UNIT, d));
                // SAFETY: this unit's part of the sums.
                let to = unsafe { MatrixMut::new(sums.at(k.start).add(j.start), k.len(), j.len(), d) };
                multiply(cpu.isa, 1.0, g.block(0..n, k).t(), x.block(0..n, j), beta, to);
            } else {
                let k = part(unit - of_x - of_weight, BIAS_UNIT, c);
                let g = self.tile.at(0);
                cpu.isa.dispatch(ColumnSums { g, rows: n, stride: *stride, k, sums: self.bias });
            }
        });
    }

    /// Adds the gradients of a tile's rows to those of the call's rows.
    pub fn fold(&self, cpu: &Cpu, rows: &Range<usize>, sums: Sums) {
        const TOGETHER: usize = 16;
        let groups = rows.start / self.samples..(rows.end - 1) / self.samples + 1;
        let blocks = groups.len().div_ceil(TOGETHER);
        cpu.run(blocks, rows.len() * self.d * 12, &|block| {
            let first = groups.start + block * TOGETHER;
            for group in first..groups.end.min(first + TOGETHER) {
                let r = self.index[group];
                // SAFETY: this block's row.
                let sum = unsafe { std::slice::from_raw_parts_mut(sums.at(r), self.d) };
                let members = group * self.samples..(group + 1) * self.samples;
                for i in members.start.max(rows.start)..members.end.min(rows.end) {
                    // SAFETY: `spread` has written it.
                    let g = unsafe { self.dx.slice_mut((i - rows.start) * self.d, self.d) };
                    if let Some(dropout) = &self.p.dropout {
                        dropout.apply(cpu.isa, i % self.samples, r, g);
                    }
                    sum.iter_mut().zip(&*g).for_each(|(sum, &g)| *sum += g);
                }
            }
        });
    }
}

/// Part `i` of `n` rows or columns, `each` in a part.
fn part(i: usize, each: usize, n: usize) -> Range<usize> {
    i * each..n.min((i + 1) * each)
}
