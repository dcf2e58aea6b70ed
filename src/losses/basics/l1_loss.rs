//! l = |pred - target|.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::{Simd, math};

struct L1Loss;

impl ElementLoss<2, 2> for L1Loss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        s.abs(s.sub(pred, target))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let g = math::sign(s, s.sub(pred, target));
        [g, s.neg(g)]
    }
}

pair_entry!(l1_loss, |_: &Call| L1Loss);
