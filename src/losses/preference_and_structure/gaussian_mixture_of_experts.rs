//! -log sum_i pi_i N(y; mean_i, v_i) of rows behind two matrix products: scores of the gate, and means.
//!
//! A tile of rows at a time is multiplied out. Forward uses it while in cache. In backward scores and means become
//! their gradients, and these go through the products: to the rows of x, and to both weights, where tiles add up in
//! order. What a tile is depends on sizes alone, and so do the sums.

#[cfg(gpu)]
#[path = "gaussian_mixture_of_experts/device.rs"]
mod device;
#[path = "gaussian_mixture_of_experts/rows.rs"]
mod rows;

use self::rows::Rows;
use crate::cpu::Cpu;
use crate::cpu::largest;
use crate::cpu::linear_rows::sums::Sums;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, widen};
use crate::cpu::parallel::Cells;
use crate::cpu::reduction::{self, Upstream};
use crate::cpu::storage;
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::gaussian_mixture_of_experts::{Args, Call};
use crate::registry::{DType, Floats, FloatsMut, Reduction, Result};
use std::ops::Range;

#[cfg(gpu)]
pub use device::{cuda, cuda_workspace};

/// Rows of a tile that one thread does.
const UNIT: usize = 128;
/// Such units in a tile at most.
const UNITS: usize = 8;
/// Scores of a tile, as far as the units allow.
const TILE: usize = 1 << 17;
/// Rows and columns of the part of a gradient that one thread computes.
const PART: usize = 512;
/// Gradients of an expert that are sums over rows: of score, mean and log variance.
const SUMS: usize = 3;

/// What all rows share.
pub struct Mixture<'a> {
    y: Floats<'a>,
    k: usize,
    gate_bias: &'a [f32],
    expert_bias: &'a [f32],
    log_variance: &'a [f32],
    /// exp(-log_variance).
    precision: &'a [f64],
    losses: Option<Cells<'a>>,
    upstream: Upstream<'a>,
}

pub fn check(a: &Args) -> Result<()> {
    largest::check("gaussian_mixture_of_experts", a.opts.k, a.experts)
}

fn tile_rows(rows: usize, experts: usize) -> usize {
    rows.min((TILE / experts / UNIT).clamp(1, UNITS) * UNIT)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let tile = tile_rows(a.rows.min(1 << 32) as usize, a.experts.min(1 << 32) as usize) as u64;
    let scores = tile.saturating_mul(a.experts);
    let wide = |values: u64| if a.dtype == DType::F32 as i32 { 0 } else { values };
    let weight = wide(a.experts.saturating_mul(a.d));
    let sums = a.experts.saturating_mul(SUMS as u64);
    Size::default()
        .add::<f32>(a.experts)
        .add::<f32>(a.experts)
        .add::<f32>(a.experts)
        .add::<f64>(a.experts)
        .add::<f32>(scores)
        .add::<f32>(scores)
        .add::<f64>(sums.saturating_mul(UNITS as u64))
        .add::<f64>(sums)
        .add::<f32>(wide(tile.saturating_mul(a.d)))
        .add::<f32>(weight)
        .add::<f32>(weight)
        .bytes()
}

/// Where the gradients of a call go, and what they are before they are rounded.
struct Gradients<'a> {
    x: Option<FloatsMut<'a>>,
    x_sums: Option<Places<'a, f32>>,
    /// Of gate and experts.
    weights: [Option<Sums<'a>>; 2],
}

/// Tiles of scores and means, and of their gradients.
struct Tiles<'a> {
    x: Matrix<'a>,
    /// Of gate and experts.
    weights: [Matrix<'a>; 2],
    experts: usize,
    d: usize,
    tile: [Places<'a, f32>; 2],
    sums: Places<'a, f64>,
}

impl Tiles<'_> {
    /// The sum of the losses of a tile of rows; where they are wanted, gradients of scores and means.
    fn products(&self, cpu: &Cpu, mixture: &Mixture, rows: &Range<usize>, gradient: bool) -> f64 {
        let (n, d) = (self.experts, self.d);
        cpu.sum(rows.len().div_ceil(UNIT), rows.len() * n * (d + 16), &|unit| {
            let first = rows.start + unit * UNIT;
            let mine = first..rows.end.min(first + UNIT);
            // SAFETY: this unit's rows of the tile, written by the products; and its sums.
            let [scores, means] =
                [0, 1].map(|i| unsafe { self.tile[i].slice_mut(unit * UNIT * n, mine.len() * n) });
            for (weight, to) in [(self.weights[0], &mut *scores), (self.weights[1], &mut *means)] {
                let to = MatrixMut::of(to, mine.len(), n, n);
                multiply(cpu.isa, 1.0, self.x.block(mine.clone(), 0..d), weight.t(), 0.0, to);
            }
            let count = if gradient { SUMS * n } else { 0 };
            let sums = unsafe { self.sums.slice_mut(unit * SUMS * n, count) };
            cpu.isa.dispatch(Rows { mixture, rows: mine, scores, means, sums })
        })
    }

    /// From the gradients of a tile's scores and means to those of x and of the weights.
    fn spread(&self, cpu: &Cpu, rows: &Range<usize>, out: &Gradients) {
        let (n, d, count) = (self.experts, self.d, rows.len());
        // SAFETY: `products` has written them.
        let tile = [0, 1].map(|i| Matrix::of(unsafe { self.tile[i].slice(0, count * n) }, count, n, n));
        let x_sums = out.x.map(|x| Sums::part_of(x, out.x_sums, rows.start));
        let across = d.div_ceil(PART);
        let of_x = if x_sums.is_some() { count.div_ceil(UNIT) * across } else { 0 };
        let of_weight = n.div_ceil(PART) * across;
        cpu.run(of_x + 2 * of_weight, count * n * d, &|unit| {
            if let Some(sums) = x_sums.filter(|_| unit < of_x) {
                let (i, j) = (part(unit / across, UNIT, count), part(unit % across, PART, d));
                for which in 0..2 {
                    // SAFETY: this unit's part of the gradient.
                    let to = unsafe { MatrixMut::new(sums.at(i.start).add(j.start), i.len(), j.len(), d) };
                    let weight = self.weights[which].block(0..n, j.clone());
                    multiply(cpu.isa, 1.0, tile[which].block(i.clone(), 0..n), weight, which as f32, to);
                }
                return;
            }
            let unit = unit - of_x;
            let which = unit / of_weight;
            let Some(sums) = out.weights[which] else { return };
            let unit = unit % of_weight;
            let (k, j) = (part(unit / across, PART, n), part(unit % across, PART, d));
            // SAFETY: this unit's part of the sums, which were cleared.
            let to = unsafe { MatrixMut::new(sums.at(k.start).add(j.start), k.len(), j.len(), d) };
            let x = self.x.block(rows.clone(), j);
            multiply(cpu.isa, 1.0, tile[which].block(0..count, k).t(), x, 1.0, to);
        });
        if let Some(sums) = x_sums {
            sums.round(cpu, count);
        }
    }

    /// Adds the sums of a tile's units to those of the call.
    fn add_sums(&self, units: usize, totals: &mut [f64]) {
        for unit in 0..units {
            // SAFETY: `products` has written them.
            let sums = unsafe { self.sums.slice(unit * totals.len(), totals.len()) };
            totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
    }
}

/// Part `i` of `n` rows or columns.
fn part(i: usize, size: usize, n: usize) -> Range<usize> {
    i * size..n.min((i + 1) * size)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (rows, d, n) = (call.rows, call.d, call.experts);
    let of_experts = [call.grad_gate_bias, call.grad_expert_bias, call.grad_log_variance]
        .map(|g| g.filter(|_| call.pass.backward()));
    let weights =
        [call.grad_gate_weight, call.grad_expert_weight].map(|g| g.filter(|_| call.pass.backward()));
    let grad_x = call.grad_x.filter(|_| call.pass.backward());
    let spreads = grad_x.is_some() || weights.iter().any(Option::is_some);
    let gradient = spreads || of_experts.iter().any(Option::is_some);
    if !gradient && call.loss.is_none() {
        return Ok(());
    }

    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let mut widened = |from: Floats| {
        let to = work.take(n, 0f32);
        // SAFETY: a checked dense buffer of n values.
        let from = unsafe { Matrix::new(from.ptr, from.dtype, 1, n, n, 1) };
        widen(cpu.isa, from, MatrixMut::of(to, 1, n, n));
        &*to
    };
    let (gate_bias, expert_bias) = (widened(call.gate_bias), widened(call.expert_bias));
    let log_variance = widened(call.log_variance);
    let precision = work.take(n, 0f64);
    precision.iter_mut().zip(log_variance).for_each(|(p, &v)| *p = (-f64::from(v)).exp());

    let tile_rows = tile_rows(rows, n);
    let wide = call.x.dtype != DType::F32;
    let tiles = Tiles {
        x: Matrix::from_floats(call.x),
        weights: [Matrix::from_floats(call.gate_weight), Matrix::from_floats(call.expert_weight)],
        experts: n,
        d,
        tile: [work.take_places(tile_rows * n), work.take_places(tile_rows * n)],
        sums: work.take_places(UNITS * SUMS * n),
    };
    let totals = work.take(SUMS * n, 0f64);
    let x_sums = wide.then(|| work.take_places(tile_rows * d));
    let weights = weights.map(|g| {
        let sums = wide.then(|| work.take_places(n * d));
        g.map(|g| Sums::of(g, sums))
    });
    weights.iter().flatten().for_each(|sums| sums.clear(n));
    let out = Gradients { x: grad_x, x_sums, weights };

    let reduction = Reduction::from_code(call.opts.reduction);
    let scale = if reduction == Reduction::Mean { 1.0 / rows.max(1) as f64 } else { 1.0 };
    let (losses, reduced) = reduction::losses(call.loss.as_deref_mut(), reduction);
    let upstream = Upstream::new(call.grad_loss, reduction, scale);
    let k = if call.opts.k == 0 { n } else { call.opts.k as usize };
    let mixture = Mixture { y: call.y, k, gate_bias, expert_bias, log_variance, precision, losses, upstream };
    let mut total = 0.0;
    for first in (0..rows).step_by(tile_rows.max(1)) {
        let rows = first..rows.min(first + tile_rows);
        total += tiles.products(cpu, &mixture, &rows, gradient);
        if gradient {
            tiles.add_sums(rows.len().div_ceil(UNIT), totals);
        }
        if spreads {
            tiles.spread(cpu, &rows, &out);
        }
    }
    if let Some(loss) = reduced {
        loss[0] = (total * scale) as f32;
    }
    out.weights.iter().flatten().for_each(|sums| sums.round(cpu, n));
    for (to, sums) in of_experts.iter().zip(totals.chunks(n)) {
        for (i, &sum) in sums.iter().enumerate().filter(|_| to.is_some()) {
            // SAFETY: element i of a checked buffer of n.
            to.iter().for_each(|to| unsafe { storage::write_one(to.dtype, sum as f32, to.at(i)) });
        }
    }
    Ok(())
}
