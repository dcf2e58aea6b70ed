//! G1 / (G1 + G0) of Gamma variates by Marsaglia and Tsang. Only operations that round the same way everywhere, so
//! that every device and instruction set draws the same bits.

use crate::cpu::Cpu;
use crate::cpu::parallel::Blocks;
use crate::cpu::philox::{Philox, normals};
use crate::cpu::special::{exp_neg, ln};
use crate::cpu::storage::{read_one, write_one};
use crate::registry::entries::beta_mask_sample::Call;
use crate::registry::{DType, Result};

/// Counter blocks of an element.
const BLOCKS: u64 = 16;

fn unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) * (1.0 / 4_294_967_296.0)
}

/// A variate of one shape parameter in the making.
struct Variate {
    /// The parameter less 1/3, of a shape of at least 1.
    d: f64,
    c: f64,
    /// Logarithm of what lifts a shape below 1.
    lift: f64,
    /// G / d, once a try is accepted.
    v: Option<f64>,
}

impl Variate {
    fn new(shape: f64, word: u32) -> Variate {
        let (above, lift) = if shape < 1.0 { (shape + 1.0, ln(unit(word)) / shape) } else { (shape, 0.0) };
        let d = above - 1.0 / 3.0;
        Variate { d, c: 1.0 / (9.0 * d).sqrt(), lift, v: None }
    }

    fn take(&mut self, normal: f32, word: u32) {
        let x = f64::from(normal);
        let root = 1.0 + self.c * x;
        if self.v.is_some() || root <= 0.0 {
            return;
        }
        let (u, xx, v) = (unit(word), x * x, root * root * root);
        // The first condition implies the second, and mostly spares it.
        if u < 1.0 - 0.0331 * (xx * xx) || ln(u) < 0.5 * xx + self.d * ((1.0 - v) + ln(v)) {
            self.v = Some(v);
        }
    }

    /// ln G
    fn ln(&self) -> f64 {
        ln(self.d * self.v.unwrap_or(1.0)) + self.lift
    }
}

fn sample(philox: &Philox, element: u64, one: f64, zero: f64) -> f64 {
    if !(one > 0.0 && zero > 0.0 && one + zero < f64::INFINITY) {
        return f64::NAN;
    }
    let first = element.wrapping_mul(BLOCKS);
    let lifts = philox.block(first);
    let mut both = [Variate::new(one, lifts[0]), Variate::new(zero, lifts[1])];
    for turn in 1..BLOCKS {
        let words = philox.block(first.wrapping_add(turn));
        let (x, y) = normals(words[0], words[1]);
        both[0].take(x, words[2]);
        both[1].take(y, words[3]);
        if both[0].v.is_some() && both[1].v.is_some() {
            break;
        }
    }
    let lead = both[0].ln() - both[1].ln();
    let e = exp_neg(lead.abs());
    if lead < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// The largest number of a type below 1, and the smallest that is handed out.
fn bounds(dtype: DType) -> (f32, f32) {
    match dtype {
        DType::F32 => (f32::MIN_POSITIVE, 1.0 - f32::EPSILON / 2.0),
        DType::F16 => (1.0 / 16_777_216.0, 1.0 - 1.0 / 2048.0),
        DType::Bf16 => (f32::MIN_POSITIVE, 1.0 - 1.0 / 256.0),
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Some(out) = call.actions else { return Ok(()) };
    let (one, zero) = (call.concentration1, call.concentration0);
    let philox = Philox::new(call.opts.seed, call.opts.offset);
    let (low, high) = bounds(out.dtype);
    let blocks = Blocks::new(call.n, 256, 64);
    // An element takes as long as much traffic.
    cpu.run(blocks.count, call.n.saturating_mul(512), &|block| {
        for e in blocks.range(block) {
            // SAFETY: element e is within the checked buffers, and this block alone writes it.
            unsafe {
                let [a, b] = [one, zero].map(|x| f64::from(read_one(x.dtype, x.at(e))));
                let value = sample(&philox, e as u64, a, b) as f32;
                write_one(out.dtype, value.clamp(low, high), out.at(e));
            }
        }
    });
    Ok(())
}

#[cfg(gpu)]
use crate::registry::entries::beta_mask_sample::Args;

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    if a.n == 0 || a.actions.is_null() {
        return Ok(());
    }
    let blocks = a.n.div_ceil(128).min(65_536) as u32;
    // SAFETY: a struct of integers, floats and pointers.
    let args = unsafe { crate::cuda::bytes_of(a) };
    Ok(device.launch("beta_mask_sample", [blocks, 1, 1], [128, 1, 1], 0, args)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
