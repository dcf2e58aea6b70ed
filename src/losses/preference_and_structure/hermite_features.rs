//! h_(k+1) = (x h_k - sqrt(k) h_(k-1)) / sqrt(k+1), in f64.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{read_one, write_one};
#[cfg(gpu)]
use crate::cuda::{Device, bytes_of};
#[cfg(gpu)]
use crate::registry::entries::hermite_features::Args;
use crate::registry::entries::hermite_features::Call;
use crate::registry::{Floats, FloatsMut, Pass, Result};

/// Elements done side by side.
const GROUP: usize = 16;
const MOST_DEGREE: usize = 64;
const ZEROS: [f64; MOST_DEGREE + 1] = [0.0; MOST_DEGREE + 1];

/// What the recurrence needs of each k: h_(k+1) = x h_k times[k] - h_(k-1) before[k].
struct Recurrence {
    degree: usize,
    times: [f64; MOST_DEGREE + 1],
    before: [f64; MOST_DEGREE + 1],
    roots: [f64; MOST_DEGREE + 1],
}

impl Recurrence {
    fn new(degree: usize) -> Recurrence {
        let mut all = Recurrence { degree, times: ZEROS, before: ZEROS, roots: ZEROS };
        for k in 0..=degree {
            all.roots[k] = (k as f64).sqrt();
            all.times[k] = 1.0 / (k as f64 + 1.0).sqrt();
            all.before[k] = all.roots[k] * all.times[k];
        }
        all
    }

    /// `f(k, h_k, h_k')` for k = 0 .. degree.
    #[inline(always)]
    fn walk(&self, x: &[f64; GROUP], mut f: impl FnMut(usize, &[f64; GROUP], &[f64; GROUP])) {
        let (mut before, mut h, mut slope) = ([0.0; GROUP], [1.0; GROUP], [0.0; GROUP]);
        for k in 0..=self.degree {
            for j in 0..GROUP {
                slope[j] = self.roots[k] * before[j];
            }
            f(k, &h, &slope);
            for j in 0..GROUP {
                let next = x[j] * h[j] * self.times[k] - before[j] * self.before[k];
                (before[j], h[j]) = (h[j], next);
            }
        }
    }
}

struct Sweep<'a> {
    recurrence: &'a Recurrence,
    x: Floats<'a>,
    range: std::ops::Range<usize>,
    to: To<'a>,
}

#[derive(Clone, Copy)]
enum To<'a> {
    Features(Cells<'a>),
    Gradient { to: FloatsMut<'a>, upstream: Option<&'a [f32]> },
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let width = self.recurrence.degree + 1;
        for start in self.range.clone().step_by(GROUP) {
            let count = GROUP.min(self.range.end - start);
            let mut x = [0.0; GROUP];
            for (j, x) in x.iter_mut().enumerate().take(count) {
                // SAFETY: an element of the call.
                *x = f64::from(unsafe { read_one(self.x.dtype, self.x.at(start + j)) });
            }
            match self.to {
                To::Features(features) => self.recurrence.walk(
                    &x,
                    #[inline(always)]
                    |k, h, _| {
                        for (j, &h) in h.iter().enumerate().take(count) {
                            features.set((start + j) * width + k, h as f32);
                        }
                    },
                ),
                To::Gradient { to, upstream } => {
                    let mut sums = [0.0; GROUP];
                    self.recurrence.walk(
                        &x,
                        #[inline(always)]
                        |k, _, slope| {
                            let mut g = [1.0; GROUP];
                            if let Some(upstream) = upstream {
                                for (j, g) in g.iter_mut().enumerate().take(count) {
                                    *g = f64::from(upstream[(start + j) * width + k]);
                                }
                            }
                            for j in 0..GROUP {
                                sums[j] += slope[j] * g[j];
                            }
                        },
                    );
                    for (j, &sum) in sums.iter().enumerate().take(count) {
                        // SAFETY: as above; this block alone writes the element.
                        unsafe { write_one(to.dtype, sum as f32, to.at(start + j)) };
                    }
                }
            }
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let recurrence = Recurrence::new(call.opts.degree as usize);
    let to = match call.pass {
        Pass::Forward => call.features.as_deref_mut().map(|out| To::Features(Cells::new(out))),
        _ => call.grad_x.map(|to| To::Gradient { to, upstream: call.grad_loss }),
    };
    let Some(to) = to else { return Ok(()) };
    let blocks = Blocks::new(call.n, 1024, GROUP);
    cpu.run(blocks.count, call.n * (recurrence.degree + 1) * 16, &|block| {
        cpu.isa.dispatch(Sweep { recurrence: &recurrence, x: call.x, range: blocks.range(block), to });
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
