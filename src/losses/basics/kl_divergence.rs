//! l = t (log t - x), or e^t (t - x) where targets are logarithms.

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::{Simd, math};

struct KlDivergence {
    log_target: bool,
}

impl ElementLoss<2, 2> for KlDivergence {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [x, t]: [S::F; 2]) -> S::F {
        if self.log_target {
            return s.mul(math::exp(s, t), s.sub(t, x));
        }
        where_positive(s, t, s.mul(t, s.sub(math::ln(s, t), x)))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x, t]: [S::F; 2]) -> [S::F; 2] {
        let one = s.splat(1.0);
        if self.log_target {
            let e = math::exp(s, t);
            return [s.neg(e), s.mul(e, s.add(s.sub(t, x), one))];
        }
        let slope = s.add(s.sub(math::ln(s, t), x), one);
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
    [full pred, full target],
    [grad_pred, grad_target],
    |call: &Call| KlDivergence { log_target: call.opts.log_target != 0 }
);
