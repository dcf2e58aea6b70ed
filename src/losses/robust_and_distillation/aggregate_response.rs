//! Losses of the means over bags and of the instances: sums per bag in parts of their own, then one more sweep.

#[path = "aggregate_response/bags.rs"]
mod bags;

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::special::exp_negative;
use crate::cpu::storage::{self, Scratch, read_one};
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::aggregate_response::{Args, Call};
use crate::registry::{Floats, FloatsMut, Result};
use bags::{Bag, Slope};

/// Elements at a time: what is gathered for them stays in the first-level cache.
const CHUNK: usize = 256;
const LANES: usize = 8;

/// How many parts of the instances have sums of their own: by sizes alone, as sums depend on it.
fn parts(n: u64, m: u64) -> u64 {
    (n >> 15).min(n / (4 * m.max(1))).clamp(1, 16)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<Bag>(a.m.saturating_mul(parts(a.n, a.m))).add::<Slope>(a.m).bytes()
}

#[derive(Clone, Copy)]
struct Instances<'a> {
    pred: Floats<'a>,
    bags: &'a [i64],
    logistic: bool,
}

impl Instances<'_> {
    /// Calls `f(start, n, values)` for a range, a chunk at a time; beyond `n` values are 0.
    #[inline(always)]
    fn sweep<S: Simd>(
        &self,
        s: S,
        range: std::ops::Range<usize>,
        mut f: impl FnMut(usize, usize, &[f32; CHUNK]),
    ) {
        let mut scratch = Scratch::<CHUNK>::new();
        let mut values = [0.0; CHUNK];
        let mut start = range.start;
        while start < range.end {
            let n = CHUNK.min(range.end - start);
            // SAFETY: within the buffer, and a chunk.
            let from = unsafe {
                let from = storage::read(s, self.pred.dtype, self.pred.at(start), n, scratch.ptr());
                std::slice::from_raw_parts(from, n)
            };
            values[..n].copy_from_slice(from);
            values[n..].fill(0.0);
            f(start, n, &values);
            start += n;
        }
    }
}

/// exp(-|x|), sigmoid(x) and sigmoid(-x).
#[inline(always)]
fn sigmoids(x: f64) -> (f64, f64, f64) {
    let (e, _) = exp_negative(-x.abs());
    let size = 1.0 / (1.0 + e);
    let (q, rest) = if x >= 0.0 { (1.0, e) } else { (e, 1.0) };
    (size, q * size, rest * size)
}

/// Adds instances to their bags.
struct Collect<'a> {
    instances: Instances<'a>,
    range: std::ops::Range<usize>,
    to: &'a mut [Bag],
}

impl Kernel for Collect<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Collect { instances, range, to } = self;
        let (mut q, mut rest) = ([0.0; CHUNK], [0.0; CHUNK]);
        instances.sweep(
            s,
            range,
            #[inline(always)]
            |start, n, values| {
                let bags = &instances.bags[start..start + n];
                if !instances.logistic {
                    for (&bag, &x) in bags.iter().zip(values) {
                        to[bag as usize].take(x);
                    }
                    return;
                }
                for i in 0..CHUNK {
                    (_, q[i], rest[i]) = sigmoids(f64::from(values[i]));
                }
                for (i, &bag) in bags.iter().enumerate() {
                    to[bag as usize].take_logit(values[i], q[i], rest[i]);
                }
            },
        );
    }
}

/// Losses of the instances, and the gradient.
struct Finish<'a> {
    instances: Instances<'a>,
    range: std::ops::Range<usize>,
    slopes: &'a [Slope],
    /// Some bag's sums are scaled.
    shifted: bool,
    /// What slopes of bags and of instances are multiplied by.
    factors: [f64; 2],
    gradient: Option<FloatsMut<'a>>,
}

impl Finish<'_> {
    /// Losses of a chunk.
    #[inline(always)]
    fn losses<S: Simd>(&self, s: S, values: &[f32; CHUNK], y: &[f64; CHUNK], losses: &mut [f64; CHUNK]) {
        if !self.instances.logistic {
            for i in 0..CHUNK {
                let d = f64::from(values[i]) - y[i];
                losses[i] = d * d;
            }
            return;
        }
        // softplus(x) and softplus(-x) have a common tail; one has |x| besides.
        let mut tails = [0.0f32; CHUNK];
        for i in (0..CHUNK).step_by(S::LANES) {
            // SAFETY: chunks are whole vectors.
            unsafe {
                let tail = math::ln_1p_unit(s, math::exp_neg_abs(s, s.load(values.as_ptr().add(i))));
                s.store(tails.as_mut_ptr().add(i), tail);
            }
        }
        for i in 0..CHUNK {
            let x = f64::from(values[i]);
            losses[i] = x.abs() * if x < 0.0 { y[i] } else { 1.0 - y[i] } + f64::from(tails[i]);
        }
    }

    #[inline(always)]
    fn gradients(&self, values: &[f32; CHUNK], gathered: &Gathered, to: &mut [f32; CHUNK]) {
        let [of_bag, of_instance] = self.factors;
        let Gathered { y, k, inverse: [p, r], shifts: [up, down] } = gathered;
        for i in 0..CHUNK {
            let x = f64::from(values[i]);
            if !self.instances.logistic {
                to[i] = (of_bag * k[i] + of_instance * 2.0 * (x - y[i])) as f32;
                continue;
            }
            let (size, q, rest) = sigmoids(x);
            let (mut own, mut other) = (q, rest);
            if self.shifted {
                own = exp_negative(x.min(0.0) + up[i]).0 * size;
                other = exp_negative((-x).min(0.0) + down[i]).0 * size;
            }
            let level = (1.0 - y[i]) * q - y[i] * rest;
            to[i] = (of_bag * (k[i] * (own * p[i]) * (other * r[i])) + of_instance * level) as f32;
        }
    }
}

/// Of the instances' bags.
struct Gathered {
    y: [f64; CHUNK],
    k: [f64; CHUNK],
    inverse: [[f64; CHUNK]; 2],
    shifts: [[f64; CHUNK]; 2],
}

impl Kernel for Finish<'_> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let zero = [0.0; CHUNK];
        let mut gathered = Gathered { y: zero, k: zero, inverse: [zero; 2], shifts: [zero; 2] };
        let (mut losses, mut slopes, mut sums) = (zero, [0.0f32; CHUNK], [0.0; LANES]);
        self.instances.sweep(
            s,
            self.range.clone(),
            #[inline(always)]
            |start, n, values| {
                for (i, &bag) in self.instances.bags[start..start + n].iter().enumerate() {
                    let slope = &self.slopes[bag as usize];
                    (gathered.y[i], gathered.k[i]) = (slope.y, slope.k);
                    for side in 0..2 {
                        gathered.inverse[side][i] = slope.inverse[side];
                        gathered.shifts[side][i] = slope.shifts[side];
                    }
                }
                self.losses(s, values, &gathered.y, &mut losses);
                losses[n..].fill(0.0);
                for start in (0..CHUNK).step_by(LANES) {
                    for lane in 0..LANES {
                        sums[lane] += losses[start + lane];
                    }
                }
                if let Some(to) = &self.gradient {
                    self.gradients(values, &gathered, &mut slopes);
                    // SAFETY: this block alone writes its range.
                    unsafe { storage::write(s, to.dtype, slopes.as_ptr(), to.at(start), n, false) };
                }
            },
        );
        sums.iter().sum()
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, m, targets) = (call.n, call.m, call.bag_targets);
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let parts = parts(n as u64, m as u64) as usize;
    let sums = room.take(parts * m, Bag::EMPTY);
    let slopes = room.take(m, Slope::default());
    let instances = Instances { pred: call.pred, bags: call.bags, logistic: call.opts.kind != 0 };
    let places = Cells::new(sums);
    cpu.run(parts, 16 * n, &|part| {
        let range = n * part / parts..n * (part + 1) / parts;
        // SAFETY: this part's sums.
        let to = unsafe { std::slice::from_raw_parts_mut(places.at(part * m), m) };
        cpu.isa.dispatch(Collect { instances, range, to });
    });

    let mut results = [(0.0, 0.0, false); MAX_BLOCKS];
    let (of_blocks, of_bags) = (Cells::new(&mut results), Cells::new(slopes));
    let blocks = Blocks::new(m, 1024, 1);
    cpu.run(blocks.count, 64 * m * parts, &|block| {
        let (mut loss, mut count, mut shifted) = (0.0, 0.0, false);
        for b in blocks.range(block) {
            let mut bag = places.get(b);
            (1..parts).for_each(|part| bag.merge(&places.get(part * m + b)));
            if bag.is_empty() {
                continue;
            }
            // SAFETY: bag b is within the checked buffer.
            let y = f64::from(unsafe { read_one(targets.dtype, targets.at(b)) });
            let (of_bag, slope) = bag.finish(instances.logistic, y);
            loss += of_bag;
            count += 1.0;
            shifted |= slope.shifts != [0.0; 2];
            of_bags.set(b, slope);
        }
        of_blocks.set(block, (loss, count, shifted));
    });
    let (mut of_bags, mut count, mut shifted) = (0.0, 0.0f64, false);
    for result in &results[..blocks.count] {
        of_bags += result.0;
        count += result.1;
        shifted |= result.2;
    }

    let weight = call.opts.instance_weight;
    let g = call.grad_loss.map_or(1.0, |g| f64::from(g[0]));
    let factors = [g * (1.0 - weight) / count.max(1.0), g * weight / n.max(1) as f64];
    let gradient = call.grad_pred;
    let mut of_instances = 0.0;
    if call.loss.is_some() || call.instance_loss.is_some() || gradient.is_some() {
        let slopes: &[Slope] = slopes;
        let blocks = Blocks::new(n, 4096, CHUNK);
        of_instances = cpu.sum(blocks.count, 16 * n, &|block| {
            let range = blocks.range(block);
            cpu.isa.dispatch(Finish { instances, range, slopes, shifted, factors, gradient })
        });
    }
    let (bag, instance) = (of_bags / count.max(1.0), of_instances / n.max(1) as f64);
    let total = (1.0 - weight) * bag + weight * instance;
    for (out, value) in [(&mut call.loss, total), (&mut call.bag_loss, bag), (&mut call.instance_loss, instance)] {
        if let Some(out) = out {
            out[0] = value as f32;
        }
    }
    Ok(())
}

/// Blocks that leave sums, of bags and of instances.
#[cfg(gpu)]
const BLOCKS: u64 = 512;

/// The three kinds of memory: sums of bags, their slopes, sums of blocks.
#[cfg(gpu)]
fn regions(a: &Args) -> [u64; 3] {
    let part = |count: u64, each: u64| count.saturating_mul(each).div_ceil(256).saturating_mul(256);
    [part(a.m, 48), part(a.m, 24), part(2 * BLOCKS, 16)]
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::registry::Pass;
    let pass = Pass::from_code(a.pass);
    let outputs = [a.loss, a.bag_loss, a.instance_loss];
    let wants_loss = pass.forward() && outputs.iter().any(|out| !out.is_null());
    let wants_gradient = pass.backward() && !a.grad_pred.is_null();
    if !wants_loss && !wants_gradient {
        return Ok(());
    }
    let launch = |kernel: &str, blocks: u64| {
        let grid = [blocks.clamp(1, BLOCKS) as u32, 1, 1];
        device.launch(kernel, grid, [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })
    };
    if a.n > 0 {
        let (instances, bags) = (a.n.div_ceil(1024), a.m.div_ceil(256));
        launch("aggregate_response_clear", bags)?;
        launch("aggregate_response_ranges", instances)?;
        launch("aggregate_response_sums", instances)?;
        launch("aggregate_response_bags", bags)?;
        launch("aggregate_response", instances)?;
    }
    if wants_loss {
        launch("aggregate_response_value", 1)?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    regions(a).into_iter().fold(0, u64::saturating_add)
}
