//! l = e^x - t x, or x - t log(x + eps).

use crate::cpu::elements::{Block, ElementLoss};
use crate::cpu::simd::{Simd, batch::Function};

struct PoissonNll {
    log_input: bool,
    full: bool,
    eps: f32,
}

/// Inputs: x, t; e^x or log(x + eps), and log t.
impl ElementLoss<4, 1> for PoissonNll {
    const DERIVED: usize = 2;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<4>, wants_loss: bool) {
        if self.log_input {
            block.apply(s, Function::Exp, 0, 2);
        } else if wants_loss {
            block.map(
                s,
                2,
                #[inline(always)]
                |[x, ..]| s.add(x, s.splat(self.eps)),
            );
            block.apply(s, Function::Ln, 2, 2);
        }
        if wants_loss && self.full {
            block.apply(s, Function::Ln, 1, 3);
        }
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [x, t, other, log]: [S::F; 4]) -> S::F {
        let value = if self.log_input { s.sub(other, s.mul(t, x)) } else { s.sub(x, s.mul(t, other)) };
        if !self.full {
            return value;
        }
        // t log t - t + log(2 pi t) / 2
        let half_log_2pi = s.splat(0.918_938_5);
        let stirling = s.add(s.mul(t, s.sub(log, s.splat(1.0))), s.mul_add(s.splat(0.5), log, half_log_2pi));
        s.select(s.gt(t, s.splat(1.0)), s.add(value, stirling), value)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [x, t, other, _]: [S::F; 4]) -> [S::F; 1] {
        if self.log_input {
            return [s.sub(other, t)];
        }
        [s.sub(s.splat(1.0), s.div(t, s.add(x, s.splat(self.eps))))]
    }
}

elements_entry!(
    poisson_nll,
    n,
    [full pred, full target, derived other, derived log],
    [grad_pred],
    |call: &Call| PoissonNll {
        log_input: call.opts.log_input != 0,
        full: call.opts.full != 0,
        eps: call.opts.eps as f32,
    }
);
