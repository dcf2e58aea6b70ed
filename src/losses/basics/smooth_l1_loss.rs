//! l = d^2 / (2 beta) below beta, |d| - beta / 2 from there on.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::{Simd, math};

struct SmoothL1Loss {
    beta: f32,
    /// 0 where there is no square.
    inverse: f32,
}

impl ElementLoss<2, 2> for SmoothL1Loss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        let d = s.abs(s.sub(pred, target));
        let square = s.mul(s.mul(s.splat(0.5 * self.inverse), d), d);
        s.select(s.lt(d, s.splat(self.beta)), square, s.sub(d, s.splat(0.5 * self.beta)))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let d = s.sub(pred, target);
        let inside = s.lt(s.abs(d), s.splat(self.beta));
        let g = s.select(inside, s.mul(d, s.splat(self.inverse)), math::sign(s, d));
        [g, s.neg(g)]
    }
}

pair_entry!(smooth_l1_loss, |call: &Call| {
    let beta = call.opts.beta;
    SmoothL1Loss { beta: beta as f32, inverse: if beta > 0.0 { (1.0 / beta) as f32 } else { 0.0 } }
});
