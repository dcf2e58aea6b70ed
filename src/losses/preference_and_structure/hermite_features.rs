//! h_(k+1) = (x h_k - sqrt(k) h_(k-1)) / sqrt(k+1), in f64.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::storage::{read_one, write_one};
#[cfg(gpu)]
use crate::cuda::{Device, bytes_of};
#[cfg(gpu)]
use crate::registry::entries::hermite_features::Args;
use crate::registry::entries::hermite_features::Call;
use crate::registry::{Pass, Result};

/// Calls `f(k, h_k, h_k')` for k = 0 .. degree.
fn polynomials(x: f64, degree: usize, mut f: impl FnMut(usize, f64, f64)) {
    let (mut before, mut h) = (0.0, 1.0);
    for k in 0..=degree {
        let root = (k as f64).sqrt();
        f(k, h, root * before);
        (before, h) = (h, (x * h - root * before) / (k as f64 + 1.0).sqrt());
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let degree = call.opts.degree as usize;
    let width = degree + 1;
    let (x, to, upstream) = (call.x, call.grad_x, call.grad_loss);
    // SAFETY: i is an element of the call.
    let value = |i: usize| f64::from(unsafe { read_one(x.dtype, x.at(i)) });
    let blocks = Blocks::new(call.n, 1024, 1);
    let traffic = call.n * width * 16;
    if call.pass == Pass::Forward {
        let Some(features) = call.features.as_deref_mut().map(Cells::new) else { return Ok(()) };
        cpu.run(blocks.count, traffic, &|block| {
            for i in blocks.range(block) {
                polynomials(value(i), degree, |k, h, _| features.set(i * width + k, h as f32));
            }
        });
        return Ok(());
    }
    let Some(to) = to else { return Ok(()) };
    cpu.run(blocks.count, traffic, &|block| {
        for i in blocks.range(block) {
            let mut sum = 0.0;
            polynomials(value(i), degree, |k, _, slope| {
                sum += slope * upstream.map_or(1.0, |g| f64::from(g[i * width + k]));
            });
            // SAFETY: as above; this block alone writes element i.
            unsafe { write_one(to.dtype, sum as f32, to.at(i)) };
        }
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let wanted = if a.pass == Pass::Forward as i32 { !a.features.is_null() } else { !a.grad_x.is_null() };
    if a.n == 0 || !wanted {
        return Ok(());
    }
    let blocks = a.n.div_ceil(256).min(4096) as u32;
    Ok(device.launch("hermite_features", [blocks, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(a) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
