//! Coordinates in slabs that belong to the classes by turns.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::philox::Philox;
use crate::cpu::storage::read_one;
#[cfg(gpu)]
use crate::registry::entries::slab_features::Args;
use crate::registry::entries::slab_features::Call;
use crate::registry::{Error, Result};

/// Coordinates under way at a time.
const TILE: usize = 128;

/// What a coordinate is made of.
#[derive(Clone, Copy, Default)]
struct Slabs {
    /// One slab only.
    single: bool,
    width: f64,
    /// Slabs of class -1, then of class +1.
    owned: [f64; 2],
}

impl Slabs {
    fn new(k: i64) -> Slabs {
        let above = ((k - 1) / 2) as f64;
        Slabs { single: k == 1, width: 2.0 / k as f64, owned: [above + 1.0, above] }
    }

    fn place(&self, t: f32, u: f32, margin: f64) -> f32 {
        let (t, u) = (f64::from(t), f64::from(u));
        let class = match t {
            1.0 => 1,
            -1.0 => 0,
            _ => return f32::NAN,
        };
        if self.single {
            return (t * (margin / 2.0 + (1.0 - margin / 2.0) * u)) as f32;
        }
        let v = u * self.owned[class];
        let number = v.floor();
        let slab = 2.0 * number + class as f64;
        (-1.0 + self.width * slab + margin / 2.0 + (self.width - margin) * (v - number)) as f32
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
            let mut tile = [Slabs::default(); TILE];
            tile.iter_mut().zip(&slabs[start..]).for_each(|(to, &k)| *to = Slabs::new(k));
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
                for (c, (&u, slabs)) in uniforms.iter().zip(&tile).enumerate() {
                    out.set(first + c, slabs.place(t, u, margin));
                }
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
