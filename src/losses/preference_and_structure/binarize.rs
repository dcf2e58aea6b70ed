//! The sign, and a surrogate for its gradient.

use crate::cpu::Cpu;
use crate::cpu::elements::{self, Block, ElementLoss, Operand};
use crate::cpu::simd::Simd;
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, elements::ElementsPlan};
use crate::losses::shared::{ResteSlope, check_interval};
use crate::registry::entries::binarize::{Args, Call};
use crate::registry::{FloatsMut, Pass, Reduction, Result};

/// In the order of the declaration.
#[derive(Clone, Copy)]
enum Kind {
    Identity,
    Clipped,
    Polynomial,
    Reste,
}

struct Sign;

impl ElementLoss<1, 1> for Sign {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, _: [S::F; 1]) -> S::F {
        s.zero()
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x]: [S::F; 1]) -> [S::F; 1] {
        let sign = s.select(s.ge(x, s.zero()), s.splat(1.0), s.splat(-1.0));
        [s.select(s.is_nan(x), x, sign)]
    }
}

struct Surrogate {
    kind: Kind,
    clip: f32,
    reste: ResteSlope,
}

/// Inputs: x; of the last kind a power of |x|.
impl ElementLoss<2, 1> for Surrogate {
    const DERIVED: usize = 1;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<2>, _: bool) {
        if let Kind::Reste = self.kind {
            self.reste.derive(s, block);
        }
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, _: [S::F; 2]) -> S::F {
        s.zero()
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x, power]: [S::F; 2]) -> [S::F; 1] {
        let a = s.abs(x);
        let inside = s.splat(self.clip);
        let slope = match self.kind {
            Kind::Identity => s.splat(1.0),
            Kind::Clipped => s.select(s.le(a, inside), s.splat(1.0), s.zero()),
            Kind::Polynomial => {
                let scale = s.splat(2.0 / self.clip);
                let slope = s.mul(scale, s.sub(s.splat(1.0), s.div(a, inside)));
                s.select(s.lt(a, inside), slope, s.zero())
            }
            Kind::Reste => self.reste.at(s, a, power),
        };
        [s.select(s.is_nan(x), x, slope)]
    }
}

pub fn check(a: &Args) -> Result<()> {
    if a.opts.kind != Kind::Reste as i32 {
        return Ok(());
    }
    check_interval("binarize", a.opts.interval, a.opts.clip)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    fn problem<'a, const I: usize>(
        call: &Call<'a>,
        inputs: [Operand<'a>; I],
        to: Option<FloatsMut<'a>>,
    ) -> elements::Problem<'a, I, 1> {
        elements::Problem {
            n: call.n,
            rows: 0,
            inputs,
            reduction: Reduction::None,
            loss: None,
            grad_loss: call.grad_loss,
            gradients: [to],
        }
    }
    let input = Operand::Full(call.input);
    if call.pass == Pass::Forward {
        elements::run(cpu, &Sign, problem(call, [input], call.output));
        return Ok(());
    }
    let o = call.opts;
    let kind = [Kind::Identity, Kind::Clipped, Kind::Polynomial, Kind::Reste][o.kind as usize];
    let reste = ResteSlope::new(o.o, o.clip, o.interval);
    let loss = Surrogate { kind, clip: o.clip as f32, reste };
    elements::run(cpu, &loss, problem(call, [input, Operand::Derived], call.grad_input));
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = ElementsPlan {
        n: a.n,
        rows: 0,
        reduction: Reduction::None,
        pass: Pass::from_code(a.pass),
        loss: a.output.cast(),
        wants_more: false,
        wants_gradient: !a.grad_input.is_null(),
        workspace: a.workspace,
    };
    Ok(cuda::elements::run(device, "binarize", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
