//! l = d^2 / 2 up to delta, a line from there on.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::Simd;

struct HuberLoss {
    delta: f32,
}

impl ElementLoss<2, 2> for HuberLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        let d = s.abs(s.sub(pred, target));
        let (half, delta) = (s.splat(0.5), s.splat(self.delta));
        let line = s.mul(delta, s.sub(d, s.splat(0.5 * self.delta)));
        s.select(s.le(d, delta), s.mul(s.mul(half, d), d), line)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let d = s.sub(pred, target);
        let g = s.max(s.splat(-self.delta), s.min(s.splat(self.delta), d));
        [g, s.neg(g)]
    }
}

pair_entry!(huber_loss, |call: &Call| HuberLoss { delta: call.opts.delta as f32 });
