//! l = t (log t - x), or e^t (t - x) where targets are logarithms.

use crate::cpu::elements::{Block, ElementLoss};
use crate::cpu::simd::{Simd, batch::Function};

struct KlDivergence {
    log_target: bool,
}

/// Inputs: x, t; log t or e^t.
impl ElementLoss<3, 2> for KlDivergence {
    const DERIVED: usize = 1;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<3>, _: bool) {
        block.apply(s, if self.log_target { Function::Exp } else { Function::Ln }, 1, 2);
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [x, t, other]: [S::F; 3]) -> S::F {
        if self.log_target {
            return s.mul(other, s.sub(t, x));
        }
        where_positive(s, t, s.mul(t, s.sub(other, x)))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x, t, other]: [S::F; 3]) -> [S::F; 2] {
        let one = s.splat(1.0);
        if self.log_target {
            return [s.neg(other), s.mul(other, s.add(s.sub(t, x), one))];
        }
        let slope = s.add(s.sub(other, x), one);
        [where_positive(s, t, s.neg(t)), where_positive(s, t, slope)]
    }
}

/// 0 where t <= 0; a NaN stays.
#[inline(always)]
fn where_positive<S: Simd>(s: S, t: S::F, value: S::F) -> S::F {
    s.select(s.le(t, s.zero()), s.zero(), value)
}

elements_entry!(
    kl_divergence,
    rows * classes,
    [full pred, full target, derived other],
    [grad_pred, grad_target],
    |call: &Call| KlDivergence { log_target: call.opts.log_target != 0 }
);
