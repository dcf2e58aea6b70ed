//! l = (pred - target)^2.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::Simd;

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

pair_entry!(mse_loss, |_: &Call| MseLoss);
