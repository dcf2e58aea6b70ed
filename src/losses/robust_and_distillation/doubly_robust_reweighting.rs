//! r log sum_i prior_i exp(l_i / r), about the largest loss; with a prior in f64: terms of any keep their digits.

#[path = "doubly_robust_reweighting/equal.rs"]
mod equal;

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::special::exp_negative_to;
use crate::cpu::storage::{self, BLOCK, Scratch};
#[cfg(gpu)]
use crate::registry::entries::doubly_robust_reweighting::Args;
use crate::registry::entries::doubly_robust_reweighting::Call;
use crate::registry::{DType, Floats, FloatsMut, Result};

/// Sums over samples, with `e = exp((l - top) / r)`.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Of prior e: what weights are divided by.
    terms: f64,
    /// Of prior (e - 1): keeps its digits where all e are near 1.
    less: f64,
    prior: f64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.terms += other.terms;
        self.less += other.less;
        self.prior += other.prior;
    }

    /// log(terms / prior).
    fn log_mean(&self) -> f64 {
        let mean = self.terms / self.prior;
        if mean > 0.5 { (self.less / self.prior).ln_1p() } else { mean.ln() }
    }
}

#[derive(Clone, Copy)]
struct Samples<'a> {
    losses: Floats<'a>,
    prior: Option<&'a [f32]>,
    temperature: f64,
}

/// Calls `f(start, losses)` for the losses of a range, a block at a time.
#[inline(always)]
fn sweep<S: Simd>(s: S, losses: Floats, range: std::ops::Range<usize>, mut f: impl FnMut(usize, &[f32])) {
    let mut scratch = Scratch::<BLOCK>::new();
    let mut start = range.start;
    while start < range.end {
        let n = BLOCK.min(range.end - start);
        // SAFETY: within the buffer, and a block.
        let values = unsafe {
            let from = storage::read(s, losses.dtype, losses.at(start), n, scratch.ptr());
            std::slice::from_raw_parts(from, n)
        };
        f(start, values);
        start += n;
    }
}

struct Largest<'a> {
    losses: Floats<'a>,
    range: std::ops::Range<usize>,
}

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut top = [f32::NEG_INFINITY; 16];
        sweep(
            s,
            self.losses,
            self.range,
            #[inline(always)]
            |_, losses| {
                for some in losses.chunks(16) {
                    for (top, &loss) in top.iter_mut().zip(some) {
                        *top = if loss > *top { loss } else { *top };
                    }
                }
            },
        );
        top.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// The second pass over the samples, and the third one.
struct Terms<'a> {
    samples: Samples<'a>,
    range: std::ops::Range<usize>,
    top: f64,
    /// What weights are multiplied by; absent in the second pass.
    inverse: Option<f64>,
    upstream: f64,
    weights: Option<Cells<'a>>,
    gradient: Option<FloatsMut<'a>>,
}

const LANES: usize = 8;

impl Kernel for Terms<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Sums {
        let (mut terms, mut less, mut all) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let Samples { losses, prior, temperature } = self.samples;
        // Finite: at temperatures lower still, f32 losses that differ at all are far apart, too.
        let scale = 1.0 / temperature.max(1e-300);
        let (mut values, mut priors) = ([0.0f32; BLOCK], [1.0f32; BLOCK]);
        let (mut weights, mut slopes) = ([0.0; BLOCK], [0.0; BLOCK]);
        let mut scaled = [[0.0; BLOCK]; 2];
        sweep(
            s,
            losses,
            self.range,
            #[inline(always)]
            |start, losses| {
                let n = losses.len();
                values[..n].copy_from_slice(losses);
                if let Some(prior) = prior {
                    priors[..n].copy_from_slice(&prior[start..start + n]);
                }
                let Some(inverse) = self.inverse else {
                    // Whole vectors; what fills the last one up counts nothing.
                    let whole = n.next_multiple_of(LANES);
                    values[n..whole].fill(self.top as f32);
                    priors[n..whole].fill(0.0);
                    for i in 0..whole {
                        let (e, m) = exp_negative_to::<8>(S::FMA, (f64::from(values[i]) - self.top) * scale);
                        let p = f64::from(priors[i]);
                        (scaled[0][i], scaled[1][i]) = (p * e, p * m);
                    }
                    for start in (0..whole).step_by(LANES) {
                        for lane in 0..LANES {
                            terms[lane] += scaled[0][start + lane];
                            less[lane] += scaled[1][start + lane];
                            all[lane] += f64::from(priors[start + lane]);
                        }
                    }
                    return;
                };
                for i in 0..n {
                    let (e, _) = exp_negative_to::<8>(S::FMA, (f64::from(values[i]) - self.top) * scale);
                    let w = f64::from(priors[i]) * e * inverse;
                    weights[i] = w as f32;
                    slopes[i] = (w * self.upstream) as f32;
                }
                // SAFETY: this block alone writes its part.
                unsafe {
                    if let Some(to) = self.weights {
                        storage::write(s, DType::F32, weights.as_ptr(), to.at(start).cast(), n, false);
                    }
                    if let Some(to) = &self.gradient {
                        storage::write(s, to.dtype, slopes.as_ptr(), to.at(start), n, false);
                    }
                }
            },
        );
        Sums { terms: terms.iter().sum(), less: less.iter().sum(), prior: all.iter().sum() }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    if call.loss.is_none() && call.weights.is_none() && call.grad_losses.is_none() {
        return Ok(());
    }
    if call.prior.is_none() && equal::serves(call.opts.temperature) {
        equal::cpu(cpu, call);
        return Ok(());
    }
    let samples = Samples { losses: call.losses, prior: call.prior, temperature: call.opts.temperature };
    let weights = call.weights.as_deref_mut().map(Cells::new);
    let gradient = call.grad_losses;
    let blocks = Blocks::new(n, 2 * BLOCK, BLOCK);
    // Arithmetic rather than memory takes the time.
    let work = 32 * n;

    let mut tops = [f32::NEG_INFINITY; MAX_BLOCKS];
    let places = Cells::new(&mut tops);
    cpu.run(blocks.count, n * call.losses.dtype.size(), &|block| {
        places.set(block, cpu.isa.dispatch(Largest { losses: samples.losses, range: blocks.range(block) }));
    });
    let top = f64::from(tops[..blocks.count].iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let part = |block: usize, inverse: Option<f64>| {
        cpu.isa.dispatch(Terms {
            samples,
            range: blocks.range(block),
            top,
            inverse,
            upstream: call.grad_loss.map_or(1.0, |g| f64::from(g[0])),
            weights,
            gradient,
        })
    };

    let mut parts = [Sums::default(); MAX_BLOCKS];
    let places = Cells::new(&mut parts);
    cpu.run(blocks.count, work, &|block| places.set(block, part(block, None)));
    let mut sums = Sums::default();
    parts[..blocks.count].iter().for_each(|part| sums.add(part));
    if let Some(loss) = call.loss.as_deref_mut() {
        loss[0] = (top + samples.temperature * sums.log_mean()) as f32;
    }
    if weights.is_some() || gradient.is_some() {
        cpu.run(blocks.count, work, &|block| _ = part(block, Some(1.0 / sums.terms)));
    }
    Ok(())
}

/// Up to so many samples one block and one launch do everything.
#[cfg(gpu)]
const ONE_BLOCK: u64 = 8192;
#[cfg(gpu)]
const BLOCKS: u64 = 512;

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    let forward = a.pass != crate::registry::Pass::Backward as i32;
    let wanted = if forward { !a.loss.is_null() || !a.weights.is_null() } else { false };
    let backward = a.pass != crate::registry::Pass::Forward as i32 && !a.grad_losses.is_null();
    if !wanted && !backward {
        return Ok(());
    }
    let launch = |kernel: &str, blocks: u64, threads: u64| {
        let bytes = unsafe { crate::cuda::bytes_of(a) };
        device.launch(kernel, [blocks as u32, 1, 1], [threads as u32, 1, 1], 0, bytes)
    };
    if a.n <= ONE_BLOCK {
        return Ok(launch("doubly_robust_reweighting_small", 1, a.n.next_multiple_of(32).min(1024))?);
    }
    let blocks = a.n.div_ceil(1024).min(BLOCKS);
    launch("doubly_robust_reweighting_largest", blocks, 256)?;
    launch("doubly_robust_reweighting_sums", blocks, 256)?;
    Ok(launch("doubly_robust_reweighting", blocks, 256)?)
}

/// The largest loss and three sums of each block.
#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    crate::cuda::align_up(BLOCKS * 32)
}
