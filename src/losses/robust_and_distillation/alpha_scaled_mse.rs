//! l = (alpha (f - f0) - y)^2 / alpha^2 = (f - f0 - y / alpha)^2.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::Simd;

struct AlphaScaledMse {
    alpha: f32,
    inverse: f32,
}

impl AlphaScaledMse {
    #[inline(always)]
    fn residual<S: Simd>(&self, s: S, [f, initial, y]: [S::F; 3]) -> S::F {
        s.mul(s.splat(self.inverse), s.sub(s.mul(s.splat(self.alpha), s.sub(f, initial)), y))
    }
}

impl ElementLoss<3, 1> for AlphaScaledMse {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: [S::F; 3]) -> S::F {
        let r = self.residual(s, x);
        s.mul(r, r)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: [S::F; 3]) -> [S::F; 1] {
        let r = self.residual(s, x);
        [s.add(r, r)]
    }
}

elements_entry!(
    alpha_scaled_mse,
    n,
    [full pred, full initial, full target],
    [grad_pred],
    |call: &Call| AlphaScaledMse {
        alpha: call.opts.alpha as f32,
        inverse: (1.0 / call.opts.alpha) as f32,
    }
);
