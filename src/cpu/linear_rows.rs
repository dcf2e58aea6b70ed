//! Skeleton "rows behind a matrix product": softmax cross entropy of logits x weight^T + bias that never exist as a
//! whole. A tile of some rows and classes at a time is multiplied out, used while in cache, and forgotten.
//!
//! Forward is one product. Backward is three for each tile: the logits again, from which the tile becomes their
//! gradient G; G weight into the gradient of x; G^T x into that of weight. Where both are wanted at once and a tile
//! has room for all classes of enough rows, the logits are not made again; see [`Tilings`]. What a tile is depends on
//! sizes alone, and so do the sums.

mod products;
pub mod sums;
mod sweeps;
mod tiling;
mod units;

use self::tiling::Tilings;
use self::units::LossOf;
use crate::cpu::Cpu;
use crate::cpu::cross_entropy::{CrossEntropy, Part, Stats};
use crate::cpu::dropout::Dropout;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::reduction::Upstream;
use crate::cpu::simd::Isa;
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::{DType, Floats, FloatsMut, Pass, Reduction};

/// Rows, and columns, of the part of a product that one thread computes.
const UNIT: usize = 512;
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
    let tilings = Tilings::new(all as usize, classes as usize, is_f32);
    let room = tilings.room();
    let wide = |values: u64| if is_f32 { 0 } else { values };
    Size::default()
        .add::<usize>(rows)
        .add::<Stats>(all)
        .add::<Part>(room.parts as u64)
        .add::<f32>((room.rows as u64).saturating_mul(d))
        .add::<f32>((room.rows as u64).saturating_mul(d))
        .add::<f32>(room.logits as u64)
        .add::<f64>(room.classes as u64)
        .add::<f32>(wide(rows.saturating_mul(d)))
        .add::<f32>(wide((tilings.passing.classes as u64).saturating_mul(d)))
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
    tilings: Tilings,
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
        let wide = p.x.dtype != DType::F32;
        let tilings = Tilings::new(all, classes, !wide);
        let room = tilings.room();
        LinearRows {
            p,
            samples,
            classes,
            d,
            // SAFETY: just written.
            index: unsafe { index.slice(0, count) },
            tilings,
            stats: workspace.take_places(all),
            parts: workspace.take_places(room.parts),
            x: workspace.take_places(room.rows * d),
            dx: workspace.take_places(room.rows * d),
            tile: workspace.take_places(room.logits),
            bias: workspace.take_places(room.classes),
            x_sums: wide.then(|| workspace.take_places(rows * d)),
            weight_sums: wide.then(|| workspace.take_places(tilings.passing.classes * d)),
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

    /// The loss of row `i`.
    pub fn loss(&self, isa: Isa, i: usize) -> f32 {
        // SAFETY: `forward` has been called.
        let stats = unsafe { self.stats.get(i) };
        isa.dispatch(LossOf { loss: self.p.loss, stats, label: self.label(i) })
    }

    /// A call with a reduction: the loss of a row is the mean over its samples.
    pub fn run(&self, cpu: &Cpu, wanted: Wanted) {
        let Wanted { pass, reduction, loss, saved_in, saved_out, grad_loss, gradients } = wanted;
        let wants_gradient = pass.backward() && gradients.any();
        let divisor = match reduction {
            Reduction::Mean => self.index.iter().map(|&r| self.weight_of(r)).sum(),
            _ => 1.0,
        };
        let factor = if divisor == 0.0 { 0.0 } else { 1.0 / divisor };
        let upstream = Upstream::new(grad_loss, reduction, factor / self.samples as f64);
        let scale = |i| upstream.of(self.row(i)) as f32;
        match saved_in {
            Some(saved) if wants_gradient => {
                self.restore(saved);
                self.backward(cpu, scale, gradients);
            }
            None if wants_gradient => self.forward_backward(cpu, saved_out, scale, gradients),
            None if loss.is_some() || saved_out.is_some() => self.forward(cpu, saved_out),
            _ => return,
        }
        let per_row = reduction == Reduction::None;
        if let Some(out) = loss {
            out.fill(0.0);
            let total = self.losses(cpu, per_row.then(|| Cells::new(out)));
            if !per_row {
                out[0] = if factor == 0.0 { 0.0 } else { (total * factor) as f32 };
            }
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
}

#[cfg(test)]
mod tests;
