//! G1 / (G1 + G0) of Gamma variates by Marsaglia and Tsang. Only operations that round the same way everywhere, so
//! that every device and instruction set draws the same bits.

use crate::cpu::Cpu;
use crate::cpu::parallel::Blocks;
use crate::cpu::philox::{Philox, normals};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::special::{exp_neg, ln};
use crate::cpu::storage::{read_one, write_one};
use crate::registry::entries::beta_mask_sample::Call;
use crate::registry::{DType, Result};

/// Counter blocks of an element.
const BLOCKS: u64 = 16;
/// Elements side by side; vectors of f64 of every width.
const CHUNK: usize = 32;

#[inline(always)]
fn unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) * (1.0 / 4_294_967_296.0)
}

/// d, c of a shape of at least 1, and the logarithm of what lifts a shape below 1.
#[inline(always)]
fn prepare(shape: f64, word: u32) -> (f64, f64, f64) {
    let low = shape < 1.0;
    let d = if low { shape + 1.0 } else { shape } - 1.0 / 3.0;
    let lift = ln(unit(word)) / shape;
    (d, 1.0 / (9.0 * d).sqrt(), if low { lift } else { 0.0 })
}

/// A try: G / d, and whether it is accepted.
#[inline(always)]
fn attempt(d: f64, c: f64, normal: f32, word: u32) -> (f64, bool) {
    let x = f64::from(normal);
    let (u, xx, root) = (unit(word), x * x, 1.0 + c * x);
    let v = root * root * root;
    // The first condition implies the second: on devices it mostly spares it.
    let quick = u < 1.0 - 0.0331 * (xx * xx);
    let accepted = quick | (ln(u) < 0.5 * xx + d * ((1.0 - v) + ln(v)));
    (v, (root > 0.0) & accepted)
}

/// Elements from `first` on.
struct Chunk<'a> {
    philox: Philox,
    first: u64,
    shapes: &'a [[f64; CHUNK]; 2],
    out: &'a mut [f64; CHUNK],
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // arrays of the same length are walked side by side by index
    fn run<S: Simd>(self, _s: S) {
        let Chunk { philox, first, shapes, out } = self;
        let at = |k: usize, turn: u64| first.wrapping_add(k as u64).wrapping_mul(BLOCKS).wrapping_add(turn);
        let mut words = [[[0u32; CHUNK]; 4]; 2];
        for (turn, words) in words.iter_mut().enumerate() {
            for k in 0..CHUNK {
                let block = philox.block(at(k, turn as u64));
                for j in 0..4 {
                    words[j][k] = block[j];
                }
            }
        }
        let mut z = [[0.0f32; CHUNK]; 2];
        for k in 0..CHUNK {
            (z[0][k], z[1][k]) = normals(words[1][0][k], words[1][1][k]);
        }
        let zeros = [[0.0f64; CHUNK]; 2];
        let (mut d, mut c, mut lift, mut v) = (zeros, zeros, zeros, zeros);
        let mut accepted = [[false; CHUNK]; 2];
        for side in 0..2 {
            for k in 0..CHUNK {
                (d[side][k], c[side][k], lift[side][k]) = prepare(shapes[side][k], words[0][side][k]);
            }
            for k in 0..CHUNK {
                (v[side][k], accepted[side][k]) =
                    attempt(d[side][k], c[side][k], z[side][k], words[1][2 + side][k]);
            }
        }
        for k in 0..CHUNK {
            let mut turn = 2;
            while turn < BLOCKS && !(accepted[0][k] && accepted[1][k]) {
                let words = philox.block(at(k, turn));
                let (x, y) = normals(words[0], words[1]);
                for (side, x) in [x, y].into_iter().enumerate() {
                    if !accepted[side][k] {
                        (v[side][k], accepted[side][k]) = attempt(d[side][k], c[side][k], x, words[2 + side]);
                    }
                }
                turn += 1;
            }
            for side in 0..2 {
                v[side][k] = if accepted[side][k] { v[side][k] } else { 1.0 };
            }
        }
        for k in 0..CHUNK {
            let lead = (ln(d[0][k] * v[0][k]) + lift[0][k]) - (ln(d[1][k] * v[1][k]) + lift[1][k]);
            let e = exp_neg(lead.abs());
            out[k] = if lead < 0.0 { e } else { 1.0 } / (1.0 + e);
        }
    }
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
    let inputs = [call.concentration1, call.concentration0];
    let philox = Philox::new(call.opts.seed, call.opts.offset);
    let (low, high) = bounds(out.dtype);
    let blocks = Blocks::new(call.n, 8 * CHUNK, CHUNK);
    // An element takes as long as much traffic.
    cpu.run(blocks.count, call.n.saturating_mul(512), &|block| {
        let range = blocks.range(block);
        for first in range.clone().step_by(CHUNK) {
            let (mut shapes, mut drawn) = ([[1.0; CHUNK]; 2], [0.0; CHUNK]);
            let count = CHUNK.min(range.end - first);
            // SAFETY: elements within the checked buffers, which this block alone writes.
            unsafe {
                for (shapes, x) in shapes.iter_mut().zip(inputs) {
                    for (k, shape) in shapes.iter_mut().enumerate().take(count) {
                        *shape = f64::from(read_one(x.dtype, x.at(first + k)));
                    }
                }
                cpu.isa.dispatch(Chunk { philox, first: first as u64, shapes: &shapes, out: &mut drawn });
                for (k, &value) in drawn.iter().enumerate().take(count) {
                    let valid = shapes.iter().all(|s| s[k] > 0.0);
                    let value = if valid { (value as f32).clamp(low, high) } else { f32::NAN };
                    write_one(out.dtype, value, out.at(first + k));
                }
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
