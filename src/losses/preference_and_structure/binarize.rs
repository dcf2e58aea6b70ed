//! The sign, and a surrogate for its gradient.

use crate::cpu::Cpu;
use crate::cpu::elements::{self, ElementLoss, Operand};
use crate::cpu::simd::{Simd, math};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, elements::ElementsPlan};
use crate::registry::entries::binarize::{Args, Call};
use crate::registry::{Error, Pass, Reduction, Result};

/// In the order of the declaration.
#[derive(Clone, Copy)]
enum Kind {
    Identity,
    Clipped,
    Polynomial,
    Reste,
}

/// Slope of sign(x)|x|^(1/o), bounded near 0 and cut off at `clip`.
pub struct ResteSlope {
    clip: f32,
    interval: f32,
    /// 1/o, and 1/o - 1.
    root: f32,
    power: f32,
    /// At 0.
    steepest: f32,
}

impl ResteSlope {
    pub fn new(o: f64, clip: f64, interval: f64) -> ResteSlope {
        let power = 1.0 / o - 1.0;
        ResteSlope {
            clip: clip as f32,
            interval: interval as f32,
            root: (1.0 / o) as f32,
            power: power as f32,
            steepest: interval.powf(power) as f32,
        }
    }

    /// Of |x|.
    #[inline(always)]
    pub fn at<S: Simd>(&self, s: S, x: S::F) -> S::F {
        let curve = s.mul(s.splat(self.root), math::exp(s, s.mul(s.splat(self.power), math::ln(s, x))));
        let inner = s.select(s.le(x, s.splat(self.interval)), s.splat(self.steepest), curve);
        s.select(s.gt(x, s.splat(self.clip)), s.zero(), inner)
    }
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

impl ElementLoss<1, 1> for Surrogate {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, _: [S::F; 1]) -> S::F {
        s.zero()
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x]: [S::F; 1]) -> [S::F; 1] {
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
            Kind::Reste => self.reste.at(s, a),
        };
        [s.select(s.is_nan(x), x, slope)]
    }
}

/// What options of the slope must be to each other.
pub fn check_interval(entry: &str, interval: f64, clip: f64) -> Result<()> {
    if interval < clip {
        return Ok(());
    }
    Err(Error::option(format!(
        "{entry}: option 'interval' is {interval}, expected less than 'clip' ({clip})"
    )))
}

pub fn check(a: &Args) -> Result<()> {
    if a.opts.kind != Kind::Reste as i32 {
        return Ok(());
    }
    check_interval("binarize", a.opts.interval, a.opts.clip)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let problem = |to| elements::Problem {
        n: call.n,
        rows: 0,
        inputs: [Operand::Full(call.input)],
        reduction: Reduction::None,
        loss: None,
        grad_loss: call.grad_loss,
        gradients: [to],
    };
    if call.pass == Pass::Forward {
        elements::run(cpu, &Sign, problem(call.output));
        return Ok(());
    }
    let o = call.opts;
    let kind = [Kind::Identity, Kind::Clipped, Kind::Polynomial, Kind::Reste][o.kind as usize];
    let reste = ResteSlope::new(o.o, o.clip, o.interval);
    elements::run(cpu, &Surrogate { kind, clip: o.clip as f32, reste }, problem(call.grad_input));
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
