//! l = max(0, margin - t (a - b)).

use crate::cpu::elements::{ElementLoss, hinged};
use crate::cpu::simd::Simd;

struct MarginRankingLoss {
    margin: f32,
}

impl MarginRankingLoss {
    #[inline(always)]
    fn violation<S: Simd>(&self, s: S, [a, b, t]: [S::F; 3]) -> S::F {
        s.sub(s.splat(self.margin), s.mul(t, s.sub(a, b)))
    }
}

impl ElementLoss<3, 2> for MarginRankingLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: [S::F; 3]) -> S::F {
        s.max(s.zero(), self.violation(s, x))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: [S::F; 3]) -> [S::F; 2] {
        let g = hinged(s, self.violation(s, x), x[2]);
        [s.neg(g), g]
    }
}

elements_entry!(
    margin_ranking_loss,
    n,
    [full a, full b, full target],
    [grad_a, grad_b],
    |call: &Call| MarginRankingLoss { margin: call.opts.margin as f32 }
);
