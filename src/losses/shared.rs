//! Mathematics that several entries have in common. Not in the file of one of them: any may be built alone.

use crate::cpu::elements::{Block, ElementLoss};
use crate::cpu::simd::{Simd, batch::Function};
use crate::registry::{Error, Result};

/// (pred - target)^2.
pub struct MseLoss;

impl ElementLoss<2, 2> for MseLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        let d = s.sub(pred, target);
        s.mul(d, d)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let d = s.sub(pred, target);
        let g = s.add(d, d);
        [g, s.neg(g)]
    }
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

    /// Derives input 1, |x|^(1/o - 1), from input 0, x.
    #[inline(always)]
    pub fn derive<S: Simd>(&self, s: S, block: Block<2>) {
        block.map(
            s,
            1,
            #[inline(always)]
            |[x, _]| s.abs(x),
        );
        block.apply(s, Function::Ln, 1, 1);
        block.map(
            s,
            1,
            #[inline(always)]
            |[_, log]| s.mul(s.splat(self.power), log),
        );
        block.apply(s, Function::Exp, 1, 1);
    }

    /// Of |x| and that power.
    #[inline(always)]
    pub fn at<S: Simd>(&self, s: S, x: S::F, power: S::F) -> S::F {
        let curve = s.mul(s.splat(self.root), power);
        let inner = s.select(s.le(x, s.splat(self.interval)), s.splat(self.steepest), curve);
        s.select(s.gt(x, s.splat(self.clip)), s.zero(), inner)
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
