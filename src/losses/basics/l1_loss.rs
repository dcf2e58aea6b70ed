//! l = |pred - target|.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::Simd;

struct L1Loss;

impl ElementLoss<2, 2> for L1Loss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        s.abs(s.sub(pred, target))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let d = s.sub(pred, target);
        // sign(d); 0 and NaN as they are.
        let zero = s.eq(d, s.zero());
        let known = s.or(zero, s.is_nan(d));
        let g = s.select(known, d, s.copysign(s.splat(1.0), d));
        [g, s.neg(g)]
    }
}

pair_entry!(l1_loss, |_| L1Loss);
