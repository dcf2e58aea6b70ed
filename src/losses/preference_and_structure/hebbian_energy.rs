//! E = -w/2 sum_k o_k^2, dE = -w sum_k o_k x_k with overlaps o_k = state . x_k: x_k are the means of the examples of each
//! pattern (supervised), or all examples (unsupervised, w divided by their number).

use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, tile};
use crate::cpu::overlaps::{CHUNK, fields, overlaps};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage;
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{overlaps::Overlaps, products::Product, reduce, tiles};
use crate::registry::entries::hebbian_energy::{Args, Call, Options};
use crate::registry::{Floats, Result};
#[cfg(gpu)]
use std::ffi::c_void;
use std::ops::Range;

const SUPERVISED: i32 = 0;

/// Whether the points are means of several examples.
fn has_means(mode: i32, samples: u64) -> bool {
    mode == SUPERVISED && samples > 1
}

/// Number of points x_k.
fn points(a: &Args) -> u64 {
    if has_means(a.opts.mode, a.samples) { a.patterns } else { a.patterns.saturating_mul(a.samples) }
}

/// w and what magnetisations are divided by; the mean over `samples` points of a pattern in both.
fn factors(o: &Options, n: usize, samples: usize) -> (f64, f64) {
    let r2 = o.quality * o.quality;
    let load = n as f64 * (1.0 - o.dilution);
    let each = if has_means(o.mode, samples as u64) { 1.0 } else { samples as f64 };
    (1.0 / (load * (r2 + (1.0 - r2) / samples as f64) * each), load * each)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let means = if has_means(a.opts.mode, a.samples) { a.patterns.saturating_mul(a.n) } else { 0 };
    let overlaps = a.batch.min(CHUNK as u64).saturating_mul(points(a));
    Size::default().add::<f32>(means).add::<f32>(overlaps).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (batch, patterns, samples, n) = (call.batch, call.patterns, call.samples, call.n);
    let (weight, load) = factors(call.opts, n, samples);
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let averaged = has_means(call.opts.mode, samples as u64);
    // SAFETY: the checked buffers, as rows of n values.
    let matrix = |x: Floats, first: usize, rows: usize| unsafe {
        Matrix::new(x.at(first * n), x.dtype, rows, n, n, 1)
    };
    let (points, each) = if averaged {
        let means = work.take(patterns * n, 0.0f32);
        average(cpu, call.examples, samples, n, means);
        (Matrix::of(means, patterns, n, n), 1)
    } else {
        (matrix(call.examples, 0, patterns * samples), samples)
    };
    let all = work.take(batch.min(CHUNK) * points.rows, 0.0f32);
    let [energy, magnetization] =
        [&mut call.energy, &mut call.magnetization].map(|out| out.as_deref_mut().map(Cells::new));
    for first in (0..batch).step_by(CHUNK) {
        let rows = CHUNK.min(batch - first);
        let found = &mut all[..rows * points.rows];
        overlaps(cpu, matrix(call.state, first, rows), points, found);
        let blocks = Blocks::new(rows, 16, 1);
        cpu.run(blocks.count, found.len() * 8, &|block| {
            for b in blocks.range(block) {
                let overlaps = &found[b * points.rows..][..points.rows];
                // SAFETY: those of this state.
                let magnetization = magnetization.map(|out| unsafe {
                    std::slice::from_raw_parts_mut(out.at((first + b) * patterns), patterns)
                });
                let squares = cpu.isa.dispatch(Summary { overlaps, each, load, magnetization });
                if let Some(energy) = energy {
                    energy.set(first + b, (0.0 - 0.5 * weight * squares) as f32);
                }
            }
        });
        if let Some(to) = call.grad_state {
            let upstream = call.grad_loss;
            fields(cpu, found, rows, points, &|rows, columns, tile| {
                let rows = first + rows.start..first + rows.end;
                // SAFETY: this call alone writes these gradients.
                unsafe {
                    tile::store(
                        cpu.isa,
                        tile,
                        to,
                        rows.clone(),
                        columns,
                        #[inline(always)]
                        |slot| (-weight * upstream.map_or(1.0, |g| f64::from(g[rows.start + slot]))) as f32,
                    );
                }
            });
        }
    }
    Ok(())
}

/// Sum of the squares of a state's overlaps; sets its magnetizations, means over `each` points.
struct Summary<'a> {
    overlaps: &'a [f32],
    each: usize,
    load: f64,
    magnetization: Option<&'a mut [f32]>,
}

impl Kernel for Summary<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Summary { overlaps, each, load, magnetization } = self;
        match magnetization {
            Some(out) if each == 1 => {
                let scale = 1.0 / load;
                for (out, &o) in out.iter_mut().zip(overlaps) {
                    *out = (f64::from(o) * scale) as f32;
                }
            }
            Some(out) => {
                for (out, overlaps) in out.iter_mut().zip(overlaps.chunks_exact(each)) {
                    *out = (overlaps.iter().map(|&o| f64::from(o)).sum::<f64>() / load) as f32;
                }
            }
            None => {}
        }
        let mut sum = s.d_zero();
        for some in overlaps.chunks(S::LANES) {
            // SAFETY: within the overlaps.
            let o = unsafe { storage::load_lanes(s, some.as_ptr(), some.len()) };
            sum = s.d_mul_add(sum, o, o);
        }
        s.d_sum(sum)
    }
}

/// The mean of the `samples` rows of each pattern.
fn average(cpu: &Cpu, examples: Floats, samples: usize, n: usize, means: &mut [f32]) {
    let patterns = means.len() / n;
    let out = Cells::new(means);
    let blocks = Blocks::new(patterns, 1, 1);
    cpu.run(blocks.count, examples.len.saturating_mul(4), &|block| {
        cpu.isa.dispatch(Average { examples, samples, n, patterns: blocks.range(block), out });
    });
}

struct Average<'a> {
    examples: Floats<'a>,
    samples: usize,
    n: usize,
    patterns: Range<usize>,
    out: Cells<'a>,
}

impl Kernel for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Average { examples, samples, n, patterns, out } = self;
        let scale = 1.0 / samples as f64;
        for pattern in patterns {
            for start in (0..n).step_by(4 * S::LANES) {
                let mut sums = [s.d_zero(); 4];
                for m in 0..samples {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let i = n.min(start + v * S::LANES);
                        // SAFETY: within the row of an example.
                        let x = unsafe {
                            let from = examples.at((pattern * samples + m) * n + i);
                            storage::load_typed(s, examples.dtype, from, S::LANES.min(n - i))
                        };
                        *sum = s.d_add(*sum, x);
                    }
                }
                let mut means = [0.0f64; 64];
                const { assert!(S::LANES <= 16) };
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: just checked.
                    unsafe { s.d_add_to(means.as_mut_ptr().add(v * S::LANES), sum) };
                }
                for (k, sum) in means.iter().enumerate().take((n - start).min(4 * S::LANES)) {
                    out.set(pattern * n + start + k, (sum * scale) as f32);
                }
            }
        }
    }
}

/// What a device's workspace has.
#[cfg(gpu)]
struct CudaPlan {
    means: *mut f32,
    /// A chunk of the states in f32, where the means are and they are not.
    states: *mut f32,
    overlaps: Overlaps,
    bytes: u64,
}

#[cfg(gpu)]
fn cuda_plan(a: &Args, base: *mut c_void) -> CudaPlan {
    let mut work = tiles::Workspace::new(base);
    let averaged = has_means(a.opts.mode, a.samples);
    let means = work.take(if averaged { a.patterns.saturating_mul(a.n) } else { 0 });
    let dtype = if averaged { reduce::F32 } else { a.dtype };
    let overlaps = Overlaps::new(a.batch, points(a), a.n, dtype, &mut work);
    let states = work.take(if dtype == a.dtype { 0 } else { overlaps.batch.saturating_mul(a.n) });
    let pick = |present: bool, p: *mut f32| if present { p } else { std::ptr::null_mut() };
    CudaPlan {
        means: pick(averaged, means),
        states: pick(dtype != a.dtype, states),
        overlaps,
        bytes: work.bytes(),
    }
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda_plan(a, std::ptr::null_mut()).bytes
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    let pass = crate::registry::Pass::from_code(a.pass);
    let wants_energy = pass.forward() && (!a.energy.is_null() || !a.magnetization.is_null());
    let wants_gradient = pass.backward() && !a.grad_state.is_null();
    if a.batch == 0 || !(wants_energy || wants_gradient) {
        return Ok(());
    }
    let CudaPlan { means, states, overlaps, .. } = cuda_plan(a, a.workspace);
    let launch = |kernel: &str, blocks: u64, args: &StepArgs| {
        // SAFETY: a struct of integers, floats and pointers.
        device.launch(kernel, [blocks.max(1) as u32, 1, 1], [256, 1, 1], 0, unsafe {
            crate::cuda::bytes_of(args)
        })
    };
    let all = StepArgs { call: *a, overlaps, means, states };
    if !means.is_null() {
        let runs = a.patterns * a.n.div_ceil(8);
        launch("hebbian_energy_means", runs.div_ceil(256).min(tiles::MOST_BLOCKS), &all)?;
    }
    let size = Product::of(a.dtype).size();
    for (first, batch) in Overlaps::chunks(a.batch) {
        let f32_at = |p: *mut f32, each: u64| {
            if p.is_null() { p } else { p.wrapping_add((first * each) as usize) }
        };
        let output =
            |p: *mut f32, each: u64| if wants_energy { f32_at(p, each) } else { std::ptr::null_mut() };
        let bytes = (first * a.n * size) as usize;
        let mut part = all;
        part.call = Args {
            batch,
            state: a.state.wrapping_byte_add(bytes),
            energy: output(a.energy, 1),
            magnetization: output(a.magnetization, a.patterns),
            grad_loss: f32_at(a.grad_loss.cast_mut(), 1),
            grad_state: if wants_gradient { a.grad_state.wrapping_byte_add(bytes) } else { a.grad_state },
            ..*a
        };
        if !states.is_null() {
            let runs = (batch * a.n).div_ceil(8);
            launch("hebbian_energy_states", runs.div_ceil(256).min(tiles::MOST_BLOCKS), &part)?;
        }
        let from = if states.is_null() { part.call.state } else { states.cast_const().cast() };
        let points = if means.is_null() { a.examples } else { means.cast_const().cast() };
        part.overlaps = overlaps.of(from, batch, points, wants_gradient);
        part.overlaps.launch(device)?;
        if wants_energy || part.overlaps.unsettled() {
            launch("hebbian_energy", batch, &part)?;
        }
        if wants_gradient {
            // SAFETY: as above.
            let args = unsafe { crate::cuda::bytes_of(&part) };
            let add_parts = "hebbian_energy_add_parts";
            part.overlaps.launch_fields(device, "hebbian_energy_gradient", add_parts, args)?;
        }
    }
    Ok(())
}

/// Mirrors kernels/preference_and_structure/hebbian_energy.cuh.
#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct StepArgs {
    call: Args,
    overlaps: Overlaps,
    means: *mut f32,
    states: *mut f32,
}
