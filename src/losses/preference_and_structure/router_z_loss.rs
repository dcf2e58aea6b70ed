//! l = logsumexp(z)^2.

use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::{self, Accumulator};
use crate::registry::entries::router_z_loss::Call;

struct RouterZLoss;

struct Lse {
    top: f32,
    sum: f64,
    lse: f64,
}

impl RowSetLoss<1> for RouterZLoss {
    type State = Lse;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, [row]: &[Row; 1]) -> Lse {
        let mut terms = Accumulator::new(s, softmax::NO_LABEL);
        row.blocks(
            s,
            #[inline(always)]
            |start, block| terms.add(row, start, block),
        );
        let (top, sum) = terms.sums(row);
        Lse { top, sum, lse: f64::from(top) + sum.ln() }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &Lse) -> f32 {
        (state.lse * state.lse) as f32
    }

    /// dl/dz = 2 lse p.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        state: &Lse,
        [row]: &[Row; 1],
        scale: f32,
        [out]: &[Option<RowOut>; 1],
    ) {
        let weight = 2.0 * f64::from(scale) * state.lse / state.sum;
        if let Some(out) = out {
            softmax::write_terms(s, row, state.top, weight, out);
        }
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(self)
    }
}

impl LaneLoss for &RouterZLoss {
    /// What makes exp(z_k - top) the gradient.
    type State<S: Simd> = S::F;

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        _saved: Option<Stats<S>>,
    ) -> LaneRows<S, S::F> {
        let top = classes.top(s);
        let sum = classes.terms(s, top, false);
        let lse = s.add(top, math::ln(s, sum));
        let double = s.add(lse, lse);
        // Rows in which neither the logarithm nor the sum with it has lost digits.
        let size = s.abs(lse);
        let exact = s.and(s.le(s.splat(1.0), size), s.le(s.abs(top), s.abs(double)));
        LaneRows {
            stats: [s.zero(); 4],
            loss: s.mul(lse, lse),
            own: s.zero(),
            ordinary: s.and(exact, s.lt(size, s.splat(1e15))),
            state: s.div(double, sum),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        &weight: &S::F,
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        [s.mul(s.mul(scale, weight), classes.get(s, k))]
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    row_sets::run(cpu, &RouterZLoss, row_sets_problem!(call, tokens, [logits], [grad_logits]));
    Ok(())
}

row_sets_cuda!(router_z_loss, tokens, experts, [grad_logits]);
