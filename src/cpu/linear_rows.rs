//! Skeleton "rows behind a matrix product": softmax cross entropy of logits x weight^T + bias that never exist as a
//! whole. A tile of some rows and classes at a time is multiplied out, used while in cache, and forgotten.
//!
//! Forward is one product. Backward is three for each tile: the logits again, from which the tile becomes their
//! gradient G; G weight into the gradient of x; G^T x into that of weight. Class tiles are the outer loop, so that
//! the gradient of weight needs f32 memory for one of them only. What a tile is depends on sizes alone, and so do
//! the sums.

pub mod sums;
mod units;

use self::sums::Sums;
use self::units::{ColumnSums, LossOf, UnitRows};
use crate::cpu::Cpu;
use crate::cpu::cross_entropy::{CrossEntropy, Part, Stats};
use crate::cpu::dropout::Dropout;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, widen};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::reduction::Upstream;
use crate::cpu::rows::RowLoss;
use crate::cpu::simd::Isa;
use crate::cpu::storage;
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::{DType, Floats, FloatsMut, Pass, Reduction};
use std::ops::Range;

/// Rows and classes of a tile.
const ROWS: usize = 1024;
const CLASSES: usize = 2048;
/// Rows, and columns, of the part of a product that one thread computes.
const UNIT: usize = 512;
/// Such parts side by side in a tile.
const PARTS: usize = CLASSES / UNIT;
/// Columns of the gradient of the bias that are summed together.
const BIAS_UNIT: usize = 64;

#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// [rows, d].
    pub x: Floats<'a>,
    /// [classes, d].
    pub weight: Floats<'a>,
    pub bias: Option<Floats<'a>>,
    pub labels: &'a [i64],
    pub ignore_index: Option<i64>,
    /// Every row counts once for each of its samples.
    pub dropout: Option<Dropout<'a>>,
    pub loss: &'a CrossEntropy<'a>,
}

/// Where gradients go.
#[derive(Clone, Copy)]
pub struct Gradients<'a> {
    pub x: Option<FloatsMut<'a>>,
    pub weight: Option<FloatsMut<'a>>,
    pub bias: Option<FloatsMut<'a>>,
}

impl Gradients<'_> {
    pub fn any(&self) -> bool {
        self.x.is_some() || self.weight.is_some() || self.bias.is_some()
    }
}

/// What a call with a reduction wants.
pub struct Wanted<'a> {
    pub pass: Pass,
    pub reduction: Reduction,
    pub loss: Option<&'a mut [f32]>,
    pub saved_in: Option<&'a [f32]>,
    pub saved_out: Option<&'a mut [f32]>,
    pub grad_loss: Option<&'a [f32]>,
    pub gradients: Gradients<'a>,
}

/// Bytes of workspace for the samples of `rows` rows.
pub fn workspace_bytes(rows: u64, samples: u64, d: u64, classes: u64, is_f32: bool) -> u64 {
    let all = rows.saturating_mul(samples);
    let (tile_rows, tile_classes) = (all.min(ROWS as u64), classes.min(CLASSES as u64));
    let wide = |values: u64| if is_f32 { 0 } else { values };
    Size::default()
        .add::<usize>(rows)
        .add::<Stats>(all)
        .add::<Part>(tile_rows * PARTS as u64)
        .add::<f32>(tile_rows.saturating_mul(d))
        .add::<f32>(tile_rows.saturating_mul(d))
        .add::<f32>(tile_rows * tile_classes)
        .add::<f64>(tile_classes)
        .add::<f32>(wide(rows.saturating_mul(d)))
        .add::<f32>(wide(tile_classes.saturating_mul(d)))
        .bytes()
}

/// The rows of a problem that count, with all their samples. Row `i` is sample `i % samples` of row
/// `index[i / samples]`.
pub struct LinearRows<'a> {
    p: Problem<'a>,
    samples: usize,
    classes: usize,
    d: usize,
    index: &'a [usize],
    stats: Places<'a, Stats>,
    parts: Places<'a, Part>,
    /// Rows of the tile, and their gradients.
    x: Places<'a, f32>,
    dx: Places<'a, f32>,
    tile: Places<'a, f32>,
    bias: Places<'a, f64>,
    /// What 16-bit gradients are before they are rounded.
    x_sums: Option<Places<'a, f32>>,
    weight_sums: Option<Places<'a, f32>>,
}

impl<'a> LinearRows<'a> {
    pub fn new(p: Problem<'a>, mut workspace: Workspace<'a>) -> Self {
        let (d, classes, rows) = (p.x.columns, p.weight.len / p.weight.columns, p.labels.len());
        let samples = p.dropout.map_or(1, |dropout| dropout.samples);
        let index = workspace.take_places::<usize>(rows);
        let mut count = 0;
        for (r, &label) in p.labels.iter().enumerate() {
            if p.ignore_index != Some(label) {
                index.set(count, r);
                count += 1;
            }
        }
        let all = rows * samples;
        let (tile_rows, tile_classes) = (all.min(ROWS), classes.min(CLASSES));
        let wide = p.x.dtype != DType::F32;
        LinearRows {
            p,
            samples,
            classes,
            d,
            // SAFETY: just written.
            index: unsafe { index.slice(0, count) },
            stats: workspace.take_places(all),
            parts: workspace.take_places(tile_rows * PARTS),
            x: workspace.take_places(tile_rows * d),
            dx: workspace.take_places(tile_rows * d),
            tile: workspace.take_places(tile_rows * tile_classes),
            bias: workspace.take_places(tile_classes),
            x_sums: wide.then(|| workspace.take_places(rows * d)),
            weight_sums: wide.then(|| workspace.take_places(tile_classes * d)),
        }
    }

    /// How many rows there are, and the row of the call that each belongs to.
    pub fn len(&self) -> usize {
        self.index.len() * self.samples
    }

    pub fn row(&self, i: usize) -> usize {
        self.index[i / self.samples]
    }

    fn label(&self, i: usize) -> usize {
        self.p.labels[self.row(i)] as usize
    }

    /// Place of row `i` among all samples of all rows.
    fn place(&self, i: usize) -> usize {
        self.row(i) * self.samples + i % self.samples
    }

    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let len = self.len();
        (0..len).step_by(ROWS).map(move |first| first..len.min(first + ROWS))
    }

    fn class_tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let classes = self.classes;
        (0..classes).step_by(CLASSES).map(move |first| first..classes.min(first + CLASSES))
    }

    /// Forward: statistics of all rows, which the other functions need.
    pub fn forward(&self, cpu: &Cpu, saved: Option<&mut [f32]>) {
        for rows in self.tiles() {
            self.read(cpu, &rows);
            (0..rows.len() * PARTS).for_each(|i| self.parts.set(i, Part::EMPTY));
            for classes in self.class_tiles() {
                self.products(cpu, &rows, &classes, None::<&fn(usize) -> f32>);
            }
            for i in rows.clone() {
                let slots = (i - rows.start) * PARTS..(i - rows.start + 1) * PARTS;
                // SAFETY: all have been written.
                let part = slots
                    .map(|slot| unsafe { self.parts.get(slot) })
                    .fold(Part::EMPTY, |a, b| self.p.loss.merge(a, b));
                self.stats.set(i, self.p.loss.finish(part));
            }
        }
        if let Some(saved) = saved {
            saved.fill(0.0);
            for i in 0..self.len() {
                // SAFETY: just written.
                let stats = unsafe { self.stats.get(i) };
                let at = self.place(i) * CrossEntropy::SAVED;
                saved[at..][..CrossEntropy::SAVED]
                    .copy_from_slice(&bytemuck::cast_slice(&[stats])[..CrossEntropy::SAVED]);
            }
        }
    }

    /// Instead of [`LinearRows::forward`]: what an earlier call saved; the losses are not known then.
    pub fn restore(&self, saved: &[f32]) {
        for i in 0..self.len() {
            let mut stats = <Stats as bytemuck::Zeroable>::zeroed();
            let at = self.place(i) * CrossEntropy::SAVED;
            bytemuck::cast_slice_mut(std::slice::from_mut(&mut stats))[..CrossEntropy::SAVED]
                .copy_from_slice(&saved[at..][..CrossEntropy::SAVED]);
            self.stats.set(i, stats);
        }
    }

    /// The loss of row `i`.
    pub fn loss(&self, isa: Isa, i: usize) -> f32 {
        // SAFETY: `forward` has been called.
        let stats = unsafe { self.stats.get(i) };
        isa.dispatch(LossOf { loss: self.p.loss, stats, label: self.label(i) })
    }

    /// Backward: `scale(i)` is what the gradient of row `i` is multiplied by.
    pub fn backward(&self, cpu: &Cpu, scale: impl Fn(usize) -> f32 + Sync, out: Gradients) {
        if !out.any() {
            return;
        }
        let x_sums = out.x.map(|out| Sums::of(out, self.x_sums));
        if let Some(sums) = x_sums {
            sums.clear(self.p.labels.len());
        }
        let mut held = 0..0;
        for classes in self.class_tiles() {
            let weight_sums = out.weight.map(|out| Sums::part_of(out, self.weight_sums, classes.start));
            if let Some(sums) = weight_sums {
                sums.clear(classes.len());
            }
            (0..classes.len()).for_each(|k| self.bias.set(k, 0.0));
            for rows in self.tiles() {
                if held != rows {
                    self.read(cpu, &rows);
                    held = rows.clone();
                }
                self.products(cpu, &rows, &classes, Some(&scale));
                self.spread(cpu, &rows, &classes, x_sums.is_some(), weight_sums, out.bias.is_some());
                if let Some(sums) = x_sums {
                    self.fold(cpu, &rows, sums);
                }
            }
            if let Some(sums) = weight_sums {
                sums.round(cpu, classes.len());
            }
            if let Some(bias) = out.bias {
                for k in classes.clone() {
                    // SAFETY: one sum and one element per class.
                    unsafe {
                        let sum = self.bias.get(k - classes.start);
                        storage::write_one(bias.dtype, sum as f32, bias.at(k));
                    }
                }
            }
        }
        if let Some(sums) = x_sums {
            sums.round(cpu, self.p.labels.len());
        }
    }

    /// A call with a reduction: the loss of a row is the mean over its samples.
    pub fn run(&self, cpu: &Cpu, wanted: Wanted) {
        let Wanted { pass, reduction, loss, saved_in, saved_out, grad_loss, gradients } = wanted;
        let wants_gradient = pass.backward() && gradients.any();
        match saved_in {
            Some(saved) if wants_gradient => self.restore(saved),
            None if loss.is_some() || saved_out.is_some() || wants_gradient => self.forward(cpu, saved_out),
            _ => return,
        }
        let divisor = match reduction {
            Reduction::Mean => self.index.iter().map(|&r| self.weight_of(r)).sum(),
            _ => 1.0,
        };
        let scale = if divisor == 0.0 { 0.0 } else { 1.0 / divisor };
        let per_row = reduction == Reduction::None;
        if let Some(out) = loss {
            out.fill(0.0);
            let total = self.losses(cpu, per_row.then(|| Cells::new(out)));
            if !per_row {
                out[0] = if scale == 0.0 { 0.0 } else { (total * scale) as f32 };
            }
        }
        if wants_gradient {
            let upstream = Upstream::new(grad_loss, reduction, scale / self.samples as f64);
            self.backward(cpu, |i| upstream.of(self.row(i)) as f32, gradients);
        }
    }

    fn weight_of(&self, r: usize) -> f64 {
        self.p.loss.class_weight(self.p.labels[r] as usize)
    }

    /// The sum of the losses, each of which goes to its row if that is wanted.
    pub fn losses(&self, cpu: &Cpu, out: Option<Cells>) -> f64 {
        let blocks = Blocks::new(self.index.len(), 64, 1);
        cpu.sum(blocks.count, self.len() * 64, &|block| {
            let mut sum = 0.0;
            for group in blocks.range(block) {
                let samples = group * self.samples..(group + 1) * self.samples;
                let total: f64 = samples.map(|i| f64::from(self.loss(cpu.isa, i))).sum();
                let loss = total / self.samples as f64;
                sum += loss;
                if let Some(out) = out {
                    out.set(self.index[group], loss as f32);
                }
            }
            sum
        })
    }

    /// Copies the rows of a tile, as f32 and with their masks.
    fn read(&self, cpu: &Cpu, rows: &Range<usize>) {
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

    /// Multiplies out a tile of logits, and either takes its statistics or makes it the gradient.
    fn products<F: Fn(usize) -> f32 + Sync>(
        &self,
        cpu: &Cpu,
        rows: &Range<usize>,
        classes: &Range<usize>,
        scale: Option<&F>,
    ) {
        let (down, across) = (rows.len().div_ceil(UNIT), classes.len().div_ceil(UNIT));
        let flops = rows.len() * classes.len() * self.d;
        let (x, weight) = (self.rows_of_tile(rows), Matrix::from_floats(self.p.weight));
        cpu.run(down * across, flops / 4, &|unit| {
            let i = part(unit / across, rows.len());
            let k = part(unit % across, classes.len());
            // SAFETY: this unit's part of the tile.
            let logits = unsafe {
                let at = self.tile.at(i.start * classes.len() + k.start);
                MatrixMut::new(at, i.len(), k.len(), classes.len())
            };
            let k_all = classes.start + k.start..classes.start + k.end;
            let w = weight.block(k_all.clone(), 0..self.d).t();
            multiply(cpu.isa, 1.0, x.block(i.clone(), 0..self.d), w, 0.0, logits);
            let slot = unit % across;
            cpu.isa.dispatch(UnitRows { rows: self, first: rows.start, i, k, classes, scale, slot });
        });
    }

    fn rows_of_tile(&self, rows: &Range<usize>) -> Matrix<'_> {
        // SAFETY: `read` has written them.
        Matrix::of(unsafe { self.x.slice(0, rows.len() * self.d) }, rows.len(), self.d, self.d)
    }

    /// From a tile of gradients to those of its rows, of the weight and of the bias.
    fn spread(
        &self,
        cpu: &Cpu,
        rows: &Range<usize>,
        classes: &Range<usize>,
        wants_x: bool,
        weight: Option<Sums>,
        wants_bias: bool,
    ) {
        let (n, c, d) = (rows.len(), classes.len(), self.d);
        // SAFETY: `products` has written the tile.
        let g = Matrix::of(unsafe { self.tile.slice(0, n * c) }, n, c, c);
        let (x, w) =
            (self.rows_of_tile(rows), Matrix::from_floats(self.p.weight).block(classes.clone(), 0..d));
        let across = d.div_ceil(UNIT);
        let of_x = if wants_x { n.div_ceil(UNIT) * across } else { 0 };
        let of_weight = if weight.is_some() { c.div_ceil(UNIT) * across } else { 0 };
        let of_bias = if wants_bias { c.div_ceil(BIAS_UNIT) } else { 0 };
        cpu.run(of_x + of_weight + of_bias, n * c * d / 4, &|unit| {
            if unit < of_x {
                let (i, j) = (part(unit / across, n), part(unit % across, d));
                // SAFETY: this unit's part of the gradients.
                let to = unsafe { MatrixMut::new(self.dx.at(i.start * d + j.start), i.len(), j.len(), d) };
                multiply(cpu.isa, 1.0, g.block(i, 0..c), w.block(0..c, j), 0.0, to);
            } else if let Some(sums) = weight.filter(|_| unit < of_x + of_weight) {
                let (k, j) = (part((unit - of_x) / across, c), part((unit - of_x) % across, d));
                // SAFETY: this unit's part of the sums.
                let to = unsafe { MatrixMut::new(sums.at(k.start).add(j.start), k.len(), j.len(), d) };
                multiply(cpu.isa, 1.0, g.block(0..n, k).t(), x.block(0..n, j), 1.0, to);
            } else {
                let first = (unit - of_x - of_weight) * BIAS_UNIT;
                let k = first..c.min(first + BIAS_UNIT);
                cpu.isa.dispatch(ColumnSums { g: self.tile.at(0), rows: n, stride: c, k, sums: self.bias });
            }
        });
    }

    /// Adds the gradients of a tile's rows to those of the call's rows.
    fn fold(&self, cpu: &Cpu, rows: &Range<usize>, sums: Sums) {
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

/// Part `i` of `n` rows or columns.
fn part(i: usize, n: usize) -> Range<usize> {
    i * UNIT..n.min((i + 1) * UNIT)
}

#[cfg(test)]
mod tests;
