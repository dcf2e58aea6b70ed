//! l = (log c + d^2 / c) / 2, c = max(var, eps).

use crate::cpu::elements::{Block, ElementLoss};
use crate::cpu::simd::{Simd, batch::Function};

struct GaussianNll {
    eps: f32,
    log_eps: f32,
    /// log(2 pi) / 2, or 0.
    constant: f32,
}

/// Inputs: pred, target, var; log var.
impl ElementLoss<4, 3> for GaussianNll {
    const DERIVED: usize = 1;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<4>, wants_loss: bool) {
        if wants_loss {
            block.apply(s, Function::Ln, 2, 3);
        }
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target, var, log]: [S::F; 4]) -> S::F {
        let c = s.max(s.splat(self.eps), var);
        let log = s.select(s.lt(var, s.splat(self.eps)), s.splat(self.log_eps), log);
        let d = s.sub(pred, target);
        let twice = s.mul_add(d, s.div(d, c), log);
        s.mul_add(s.splat(0.5), twice, s.splat(self.constant))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target, var, _]: [S::F; 4]) -> [S::F; 3] {
        let c = s.max(s.splat(self.eps), var);
        let d = s.sub(pred, target);
        let g = s.div(d, c);
        let of_var = s.mul(s.splat(0.5), s.sub(s.div(s.splat(1.0), c), s.mul(g, g)));
        [g, s.neg(g), of_var]
    }
}

elements_entry!(
    gaussian_nll,
    n,
    [full pred, full target, full var, derived log],
    [grad_pred, grad_target, grad_var],
    |call: &Call| {
        let eps = call.opts.eps as f32;
        let constant = if call.opts.full != 0 { 0.918_938_5 } else { 0.0 };
        GaussianNll { eps, log_eps: f64::from(eps).ln() as f32, constant }
    }
);
