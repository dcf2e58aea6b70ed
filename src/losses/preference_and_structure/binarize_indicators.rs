//! Estimating error and gradient stability of binarisation: sums over the elements.

use crate::cpu::Cpu;
use crate::cpu::elements::{self, Block, ElementLoss, Operand};
use crate::cpu::simd::{Simd, batch::Function, math};
#[cfg(gpu)]
use crate::cuda::{Device, bytes_of};
use crate::losses::shared::{ResteSlope, check_interval};
use crate::registry::entries::binarize_indicators::{Args, Call};
use crate::registry::{Reduction, Result};

/// (1 - |x|^(1/o))^2.
struct Error2 {
    root: f32,
}

/// Inputs: x; ln |x|.
impl ElementLoss<2, 0> for Error2 {
    const DERIVED: usize = 1;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<2>, _: bool) {
        block.map(
            s,
            1,
            #[inline(always)]
            |[x, _]| s.abs(x),
        );
        block.apply(s, Function::Ln, 1, 1);
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [_, log]: [S::F; 2]) -> S::F {
        // |x|^(1/o) - 1 = expm1(ln |x| / o) keeps its digits near 1; at 0 it is -1.
        let e = math::exp_m1(s, s.mul(s.splat(self.root), log));
        s.mul(e, e)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, _s: S, _: [S::F; 2]) -> [S::F; 0] {
        []
    }
}

/// A power of the slope's difference from `about`.
struct Slope {
    reste: ResteSlope,
    about: f32,
    squared: bool,
}

impl ElementLoss<2, 0> for Slope {
    const DERIVED: usize = 1;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<2>, _: bool) {
        self.reste.derive(s, block);
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [x, power]: [S::F; 2]) -> S::F {
        let d = s.sub(self.reste.at(s, s.abs(x), power), s.splat(self.about));
        let d = s.select(s.is_nan(x), x, d);
        if self.squared { s.mul(d, d) } else { d }
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, _s: S, _: [S::F; 2]) -> [S::F; 0] {
        []
    }
}

pub fn check(a: &Args) -> Result<()> {
    check_interval("binarize_indicators", a.opts.interval, a.opts.clip)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let o = call.opts;
    let input = Operand::Full(call.input);
    if let Some(out) = call.estimating_error.as_deref_mut() {
        let squares = total(cpu, input, call.n, Reduction::Sum, &Error2 { root: (1.0 / o.o) as f32 });
        out[0] = squares.sqrt();
    }
    if let Some(out) = call.gradient_stability.as_deref_mut() {
        let slope =
            |about, squared| Slope { reste: ResteSlope::new(o.o, o.clip, o.interval), about, squared };
        let mean = total(cpu, input, call.n, Reduction::Mean, &slope(0.0, false));
        out[0] = total(cpu, input, call.n, Reduction::Mean, &slope(mean, true));
    }
    Ok(())
}

fn total<L: ElementLoss<2, 0>>(cpu: &Cpu, input: Operand, n: usize, reduction: Reduction, loss: &L) -> f32 {
    let mut out = [0.0];
    let inputs = [input, Operand::Derived];
    let problem = elements::Problem {
        n,
        rows: 0,
        inputs,
        reduction,
        loss: Some(&mut out),
        grad_loss: None,
        gradients: [],
    };
    elements::run(cpu, loss, problem);
    out[0]
}

/// Blocks of the sweep; of n alone, so that the sums do not depend on the GPU.
#[cfg(gpu)]
fn blocks(n: u64) -> u32 {
    n.div_ceil(2048).clamp(1, 1024) as u32
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let args = unsafe { bytes_of(a) };
    let blocks = blocks(a.n);
    device.launch("binarize_indicators_sums", [blocks, 1, 1], [256, 1, 1], 0, args)?;
    let threads = blocks.next_multiple_of(32);
    Ok(device.launch("binarize_indicators_finish", [1, 1, 1], [threads, 1, 1], 0, args)?)
}

/// Four f64 per block.
#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    u64::from(blocks(a.n)) * 32
}
