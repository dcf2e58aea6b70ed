//! l = max(0, margin - t y)^p.

use crate::cpu::elements::{ElementLoss, hinged};
use crate::cpu::simd::Simd;

struct HingeLoss {
    margin: f32,
    squared: bool,
}

impl ElementLoss<2, 1> for HingeLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [y, t]: [S::F; 2]) -> S::F {
        let h = s.max(s.zero(), s.sub(s.splat(self.margin), s.mul(t, y)));
        if self.squared { s.mul(h, h) } else { h }
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [y, t]: [S::F; 2]) -> [S::F; 1] {
        let h = s.sub(s.splat(self.margin), s.mul(t, y));
        let slope = if self.squared { s.mul(s.add(h, h), s.neg(t)) } else { s.neg(t) };
        [hinged(s, h, slope)]
    }
}

elements_entry!(hinge_loss, n, [full scores, full target], [grad_scores], |call: &Call| HingeLoss {
    margin: call.opts.margin as f32,
    squared: call.opts.p == 2
});
