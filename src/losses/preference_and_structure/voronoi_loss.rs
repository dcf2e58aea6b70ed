//! Fitted components in the cells of the nearest true ones, and how far they are from them.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::storage::read_one;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::voronoi_loss::{Args, Call};
use crate::registry::{Floats, Result};

/// Parameters of the components of a mixture.
struct Mixture<'a> {
    d: usize,
    gate_bias: Floats<'a>,
    weights: [Floats<'a>; 2],
    scalars: [Floats<'a>; 2],
}

fn read(from: &Floats, i: usize) -> f64 {
    assert!(i < from.len);
    // SAFETY: within the dense buffer.
    f64::from(unsafe { read_one(from.dtype, from.at(i)) })
}

/// Distances of two components: of gate weights, expert weights, expert biases and variances.
fn distances(p: &Mixture, i: usize, q: &Mixture, j: usize) -> [f64; 4] {
    let weight = |which: usize| {
        let (a, b) = (&p.weights[which], &q.weights[which]);
        let square = |c| (read(a, i * p.d + c) - read(b, j * p.d + c)).powi(2);
        (0..p.d).map(square).sum::<f64>().sqrt()
    };
    let scalar = |which: usize| (read(&p.scalars[which], i) - read(&q.scalars[which], j)).abs();
    [weight(0), weight(1), scalar(0), scalar(1)]
}

/// The nearest true component, and the distances from it.
fn nearest(p: &Mixture, i: usize, q: &Mixture, k: usize) -> (usize, [f64; 4]) {
    let size = |distances: &[f64; 4]| distances.iter().map(|d| d * d).sum::<f64>();
    let mut best = (0, distances(p, i, q, 0));
    let mut least = size(&best.1);
    for j in 1..k {
        let candidate = distances(p, i, q, j);
        let square = size(&candidate);
        if square < least {
            (best, least) = ((j, candidate), square);
        }
    }
    best
}

/// What a cell of `members` makes of the distances of one of them.
fn discrepancy(distances: [f64; 4], members: u64, over_specified: bool) -> f64 {
    let r = match members {
        _ if !over_specified => 0,
        0 | 1 => 0,
        2 => 4,
        _ => 6,
    };
    match r {
        0 => distances.iter().sum(),
        r => {
            let [gate, expert, bias, variance] = distances;
            gate.powi(r) + expert.powi(r / 2) + bias.powi(r) + variance.powi(r / 2)
        }
    }
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<usize>(a.m).add::<[f64; 4]>(a.m).add::<f64>(a.k).add::<u64>(a.k).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (m, k) = (call.m, call.k);
    let fitted = Mixture {
        d: call.d,
        gate_bias: call.gate_bias,
        weights: [call.gate_weight, call.expert_weight],
        scalars: [call.expert_bias, call.variance],
    };
    let truth = Mixture {
        d: call.d,
        gate_bias: call.true_gate_bias,
        weights: [call.true_gate_weight, call.true_expert_weight],
        scalars: [call.true_expert_bias, call.true_variance],
    };
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let (cells, found) = (work.take(m, 0usize), work.take(m, [0f64; 4]));
    let (sums, members) = (work.take(k, 0f64), work.take(k, 0u64));
    let (cell_of, found_of) = (Cells::new(cells), Cells::new(found));
    let blocks = Blocks::new(m, (1 << 14) / (k * (call.d + 1)) + 1, 1);
    cpu.run(blocks.count, m * k * (call.d + 1) * 16, &|block| {
        for i in blocks.range(block) {
            let (cell, distances) = nearest(&fitted, i, &truth, k);
            cell_of.set(i, cell);
            found_of.set(i, distances);
        }
    });
    for (i, &cell) in cells.iter().enumerate() {
        sums[cell] += read(&fitted.gate_bias, i).exp();
        members[cell] += 1;
    }
    let of_cells: f64 =
        sums.iter().enumerate().map(|(j, sum)| (sum - read(&truth.gate_bias, j).exp()).abs()).sum();
    let of_members: f64 = (0..m)
        .map(|i| {
            let over = call.opts.over_specified != 0;
            read(&fitted.gate_bias, i).exp() * discrepancy(found[i], members[cells[i]], over)
        })
        .sum();
    if let Some(value) = call.value.as_deref_mut() {
        value[0] = (of_cells + of_members) as f32;
    }
    if let Some(out) = call.cells.as_deref_mut() {
        out.iter_mut().zip(&*cells).for_each(|(out, &cell)| *out = cell as i64);
    }
    Ok(())
}

/// Mirrors the kernels' layout: a cell and four distances of each fitted component, the terms of the true ones.
#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let of_fitted = a.m.saturating_mul(40);
    crate::cuda::align_up(of_fitted.saturating_add(a.k.saturating_mul(16)).min(u64::MAX / 2))
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    if a.value.is_null() && a.cells.is_null() {
        return Ok(());
    }
    let launch = |kernel: &str, blocks: u64| {
        let grid = [blocks.clamp(1, 65536) as u32, 1, 1];
        device.launch(kernel, grid, [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })
    };
    launch("voronoi_nearest", a.m.div_ceil(8))?;
    if !a.value.is_null() {
        launch("voronoi_cells", a.k.div_ceil(8))?;
        launch("voronoi_loss", 1)?;
    }
    Ok(())
}
