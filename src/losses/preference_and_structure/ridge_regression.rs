//! (F'F + n lambda I) W = F' t, or with more features than samples W = F' (F F' + n lambda I)^-1 t. In f64, of
//! blocks of F widened to f32 where it has 16 bits.

#[cfg(gpu)]
#[path = "ridge_regression/device.rs"]
mod device;

use crate::cpu::Cpu;
use crate::cpu::dense::{PANEL, View, cholesky, cholesky_solve, lower_product, product};
use crate::cpu::matmul::{Matrix, MatrixMut, widen};
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::ridge_regression::{Args, Call};
use crate::registry::{DType, Floats, Result};
use std::ops::Range;

#[cfg(gpu)]
pub use device::{cuda, cuda_workspace};

/// Samples, or features of the dual system, under way at a time.
const CHUNK: usize = 512;

pub fn cpu_workspace(a: &Args) -> u64 {
    let chunk = CHUNK as u64;
    let side = a.n.min(a.m);
    let size = Size::default()
        .add::<f64>(side.saturating_mul(side))
        .add::<f64>(side.saturating_mul(PANEL as u64))
        .add::<f64>(a.m.saturating_mul(a.k));
    if a.m > a.n {
        size.add::<f32>(a.n.saturating_mul(a.m.min(chunk)))
            .add::<f64>(a.n.saturating_mul(a.k))
            .add::<f64>(a.n.saturating_mul(a.k))
            .bytes()
    } else {
        let rows = a.n.min(chunk);
        size.add::<f32>(rows.saturating_mul(a.m))
            .add::<f32>(rows.saturating_mul(a.k))
            .add::<f64>(rows.saturating_mul(a.k))
            .bytes()
    }
}

/// A block of an input as it is, or widened into `room`.
fn block<'a>(
    cpu: &Cpu,
    from: Floats<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    room: &'a mut [f32],
) -> View<'a> {
    let (height, width) = (rows.len(), columns.len());
    if from.dtype == DType::F32 {
        // SAFETY: a checked dense buffer of f32 that nobody writes.
        let values = unsafe { std::slice::from_raw_parts(from.ptr.cast::<f32>(), from.len) };
        return View::f32(values, from.len / from.columns, from.columns).block(rows, columns);
    }
    widen(cpu.isa, Matrix::from_floats(from).block(rows, columns), MatrixMut::of(room, height, width, width));
    View::f32(room, height, width)
}

fn chunks(total: usize) -> impl Iterator<Item = Range<usize>> {
    (0..total).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(total))
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum()
}

fn add_to_diagonal(a: &mut [f64], n: usize, value: f64) {
    (0..n).for_each(|i| a[i * n + i] += value);
}

/// What the systems are made of.
struct Problem<'a> {
    features: Floats<'a>,
    target: Floats<'a>,
    n: usize,
    m: usize,
    k: usize,
    lambda: f64,
}

impl Problem<'_> {
    /// Writes the weights, returns the sum of squared residuals.
    fn primal(&self, cpu: &Cpu, work: &mut Workspace, weights: &mut [f64]) -> f64 {
        let &Problem { features, target, n, m, k, lambda } = self;
        let (matrix, panel) = (work.take(m * m, 0.0), work.take(m * PANEL, 0.0));
        let rows = n.min(CHUNK);
        let (room, target_room) = (work.take(rows * m, 0f32), work.take(rows * k, 0f32));
        let residuals = work.take(rows * k, 0f64);
        for rows in chunks(n) {
            let f = block(cpu, features, rows.clone(), 0..m, room);
            let t = block(cpu, target, rows, 0..k, target_room);
            lower_product(cpu, f.t(), f, 1.0, matrix);
            product(cpu, f.t(), t, 1.0, weights);
        }
        add_to_diagonal(matrix, m, n as f64 * lambda);
        cholesky(cpu, matrix, m, panel);
        cholesky_solve(cpu, matrix, m, weights, k);
        let mut sum = 0.0;
        for rows in chunks(n) {
            let residuals = &mut residuals[..rows.len() * k];
            let t = block(cpu, target, rows.clone(), 0..k, target_room);
            let f = block(cpu, features, rows.clone(), 0..m, room);
            for (e, to) in residuals.iter_mut().enumerate() {
                *to = -t.get(e / k, e % k);
            }
            product(cpu, f, View::f64(weights, m, k), 1.0, residuals);
            sum += squares(residuals);
        }
        sum
    }

    fn dual(&self, cpu: &Cpu, work: &mut Workspace, weights: &mut [f64]) -> f64 {
        let &Problem { features, target, n, m, k, lambda } = self;
        let (matrix, panel) = (work.take(n * n, 0.0), work.take(n * PANEL, 0.0));
        let room = work.take(n * m.min(CHUNK), 0f32);
        let (dual, residuals) = (work.take(n * k, 0f64), work.take(n * k, 0f64));
        for columns in chunks(m) {
            let f = block(cpu, features, 0..n, columns, room);
            lower_product(cpu, f, f.t(), 1.0, matrix);
        }
        add_to_diagonal(matrix, n, n as f64 * lambda);
        for (e, (x, residual)) in dual.iter_mut().zip(residuals.iter_mut()).enumerate() {
            // SAFETY: within the checked buffer.
            *x = f64::from(unsafe { crate::cpu::storage::read_one(target.dtype, target.at(e)) });
            *residual = -*x;
        }
        cholesky(cpu, matrix, n, panel);
        cholesky_solve(cpu, matrix, n, dual, k);
        for columns in chunks(m) {
            let weights = &mut weights[columns.start * k..columns.end * k];
            let width = columns.len();
            let f = block(cpu, features, 0..n, columns, room);
            product(cpu, f.t(), View::f64(dual, n, k), 0.0, weights);
            product(cpu, f, View::f64(weights, width, k), 1.0, residuals);
        }
        squares(residuals)
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, m, k, lambda) = (call.n, call.m, call.k, call.opts.regularization);
    if call.weights.is_none() && call.loss.is_none() {
        return Ok(());
    }
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let weights = work.take(m * k, 0f64);
    let problem = Problem { features: call.features, target: call.target, n, m, k, lambda };
    let error = match n {
        0 => 0.0,
        _ if m > n => problem.dual(cpu, &mut work, weights),
        _ => problem.primal(cpu, &mut work, weights),
    };
    if let Some(out) = call.weights.as_deref_mut() {
        out.iter_mut().zip(weights.iter()).for_each(|(to, &x)| *to = x as f32);
    }
    if let Some(loss) = call.loss.as_deref_mut() {
        loss[0] = (error / n.max(1) as f64 + lambda * squares(weights)) as f32;
    }
    Ok(())
}
