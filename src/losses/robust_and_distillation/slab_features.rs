//! Coordinates in slabs that belong to the classes by turns.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::philox::Philox;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::read_one;
#[cfg(gpu)]
use crate::registry::entries::slab_features::Args;
use crate::registry::entries::slab_features::Call;
use crate::registry::{Error, Result};

/// Coordinates under way at a time.
const TILE: usize = 128;

/// What coordinates are made of.
struct Slabs {
    /// 1 where there is one slab only.
    single: [f64; TILE],
    width: [f64; TILE],
    /// Slabs of class -1, then of class +1.
    owned: [[f64; TILE]; 2],
}

impl Slabs {
    fn new(slabs: &[i64]) -> Slabs {
        let mut made = Slabs { single: [0.0; TILE], width: [0.0; TILE], owned: [[0.0; TILE]; 2] };
        for (c, &k) in slabs.iter().enumerate().take(TILE) {
            made.single[c] = if k == 1 { 1.0 } else { 0.0 };
            made.width[c] = 2.0 / k as f64;
            made.owned[1][c] = ((k - 1) / 2) as f64;
            made.owned[0][c] = made.owned[1][c] + 1.0;
        }
        made
    }
}

/// Some coordinates of a sample.
struct Sample<'a> {
    slabs: &'a Slabs,
    margin: f64,
    t: f32,
    uniforms: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Sample { slabs, margin, t, uniforms, to } = self;
        let count = uniforms.len();
        if t != 1.0 && t != -1.0 {
            to.fill(f32::NAN);
            return;
        }
        let class = usize::from(t > 0.0);
        let (t, own) = (f64::from(t), class as f64);
        let (single, width, owned) =
            (&slabs.single[..count], &slabs.width[..count], &slabs.owned[class][..count]);
        let to = &mut to[..count];
        // Without branches: vectorised.
        for c in 0..count {
            let u = f64::from(uniforms[c]);
            let v = u * owned[c];
            let number = v.floor();
            let place =
                -1.0 + width[c] * (2.0 * number + own) + margin / 2.0 + (width[c] - margin) * (v - number);
            let one = t * (margin / 2.0 + (1.0 - margin / 2.0) * u);
            to[c] = (if single[c] == 1.0 { one } else { place }) as f32;
        }
    }
}

fn check(slabs: &[i64], margin: f64) -> Result<()> {
    for (row, &k) in slabs.iter().enumerate() {
        if k < 1 || k % 2 == 0 {
            return Err(Error::argument(format!(
                "slab_features: argument 'slabs' has value {k} in row {row}, expected an odd number of at least 1"
            )));
        }
        if margin >= 2.0 / k as f64 {
            return Err(Error::option(format!(
                "slab_features: option 'margin' is {margin}, expected less than 2 / {k}, the width of slabs[{row}]"
            )));
        }
    }
    Ok(())
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, coordinates, margin) = (call.n, call.coordinates, call.opts.margin);
    check(call.slabs, margin)?;
    let Some(out) = call.features.as_deref_mut().map(Cells::new) else { return Ok(()) };
    let (target, given, slabs) = (call.target, call.uniforms, call.slabs);
    let philox = Philox::new(call.opts.seed, call.opts.offset);
    let blocks = Blocks::new(n, (8192 / coordinates).max(1), 1);
    cpu.run(blocks.count, n * coordinates * 16, &|block| {
        for start in (0..coordinates).step_by(TILE) {
            let count = TILE.min(coordinates - start);
            let tile = Slabs::new(&slabs[start..]);
            let mut drawn = [0f32; TILE];
            for i in blocks.range(block) {
                // SAFETY: a sample of the call.
                let t = unsafe { read_one(target.dtype, target.at(i)) };
                let first = i * coordinates + start;
                let uniforms = match given {
                    Some(all) => &all[first..first + count],
                    None => {
                        philox.uniforms(cpu.isa, first as u64, &mut drawn[..count]);
                        &drawn[..count]
                    }
                };
                // SAFETY: places of this block's.
                let to = unsafe { std::slice::from_raw_parts_mut(out.at(first), count) };
                cpu.isa.dispatch(Sample { slabs: &tile, margin, t, uniforms, to });
            }
        }
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    if a.n == 0 || a.features.is_null() {
        return Ok(());
    }
    let blocks = (a.n * a.coordinates).div_ceil(256).min(1 << 16) as u32;
    Ok(device.launch("slab_features", [blocks, 1, 1], [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
