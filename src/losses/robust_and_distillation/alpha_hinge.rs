//! l = max(0, margin - alpha t (f - f0)) / alpha^p.

use crate::cpu::elements::{ElementLoss, hinged};
use crate::cpu::simd::Simd;

struct AlphaHinge {
    alpha: f32,
    margin: f32,
    /// alpha^-p and alpha^(1 - p).
    scale: f32,
    slope: f32,
}

impl AlphaHinge {
    #[inline(always)]
    fn violation<S: Simd>(&self, s: S, [f, initial, t]: [S::F; 3]) -> S::F {
        let moved = s.mul(s.splat(self.alpha), s.sub(f, initial));
        s.sub(s.splat(self.margin), s.mul(t, moved))
    }
}

impl ElementLoss<3, 1> for AlphaHinge {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: [S::F; 3]) -> S::F {
        s.mul(s.splat(self.scale), s.max(s.zero(), self.violation(s, x)))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: [S::F; 3]) -> [S::F; 1] {
        [hinged(s, self.violation(s, x), s.mul(s.splat(-self.slope), x[2]))]
    }
}

elements_entry!(
    alpha_hinge,
    n,
    [full scores, full initial, full target],
    [grad_scores],
    |call: &Call| {
        let (alpha, p) = (call.opts.alpha, call.opts.scale_power);
        AlphaHinge {
            alpha: alpha as f32,
            margin: call.opts.margin as f32,
            scale: alpha.powf(-p) as f32,
            slope: alpha.powf(1.0 - p) as f32,
        }
    }
);
