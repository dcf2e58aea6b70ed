//! l = e^x - t x, or x - t log(x + eps).

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::{Simd, math};

struct PoissonNll {
    log_input: bool,
    full: bool,
    eps: f32,
}

impl ElementLoss<2, 1> for PoissonNll {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [x, t]: [S::F; 2]) -> S::F {
        let value = if self.log_input {
            s.sub(math::exp(s, x), s.mul(t, x))
        } else {
            s.sub(x, s.mul(t, math::ln(s, s.add(x, s.splat(self.eps)))))
        };
        if !self.full {
            return value;
        }
        // t log t - t + log(2 pi t) / 2
        let log = math::ln(s, t);
        let half_log_2pi = s.splat(0.918_938_5);
        let stirling = s.add(s.mul(t, s.sub(log, s.splat(1.0))), s.mul_add(s.splat(0.5), log, half_log_2pi));
        s.select(s.gt(t, s.splat(1.0)), s.add(value, stirling), value)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x, t]: [S::F; 2]) -> [S::F; 1] {
        if self.log_input {
            return [s.sub(math::exp(s, x), t)];
        }
        [s.sub(s.splat(1.0), s.div(t, s.add(x, s.splat(self.eps))))]
    }
}

elements_entry!(poisson_nll, n, [full pred, full target], [grad_pred], |call: &Call| PoissonNll {
    log_input: call.opts.log_input != 0,
    full: call.opts.full != 0,
    eps: call.opts.eps as f32,
});
