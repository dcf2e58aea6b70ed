//! l = -log p_y + beta KL(p || q), p = softmax(logits), q = softmax(adversarial_logits).

use crate::cpu::row::{Row, RowOut, map_rows_by_four};
use crate::cpu::row_pair::{self, PairStats};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::{self, Odds, SoftmaxStats};
use crate::registry::entries::trades_loss::Call;

struct TradesLoss<'a> {
    beta: f64,
    labels: &'a [i64],
}

/// Rows: clean, adversarial.
impl RowSetLoss<2> for TradesLoss<'_> {
    type State = (PairStats, SoftmaxStats, Odds);

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 2]) -> Self::State {
        let own = softmax::stats(s, &rows[0], self.labels[r] as usize);
        (row_pair::stats(s, rows, 1.0), own, own.odds(s))
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, _r: usize, (pair, _, odds): &Self::State) -> f32 {
        let robust = if self.beta > 0.0 { self.beta * pair.divergence() } else { 0.0 };
        (odds.neg_log_prob(s) + robust) as f32
    }

    /// dl/dz = p - e_y + beta p (log p - log q - KL);  dl/dw = beta (q - p).
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        (pair, _, odds): &Self::State,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
    ) {
        let beta = s.splat(self.beta as f32);
        let terms = Terms {
            weight: pair.sum.map(|sum| s.splat((f64::from(scale) / sum) as f32)),
            top: pair.top.map(|t| s.splat(t)),
            lead: s.splat(pair.lead as f32),
            beta,
        };
        let label = self.labels[r] as usize;
        let own = rows[0].get(label);
        let other = rows[1].get(label);
        map_rows_by_four(
            s,
            rows,
            [out[0].as_ref(), out[1].as_ref()],
            #[inline(always)]
            |[z, w], _| {
                let (p, mut q, mut robust) = terms.of(s, z, w);
                for v in 0..4 {
                    robust[v] = s.add(p[v], robust[v]);
                    q[v] = s.mul(beta, s.sub(q[v], p[v]));
                }
                [robust, q]
            },
        );
        if let Some(out) = &out[0] {
            // The label's own element from 1 - p_y, which p_y - 1 would lose.
            let (_, _, [robust, ..]) = terms.of(s, [s.splat(own); 4], [s.splat(other); 4]);
            let own = -(f64::from(scale) * odds.others) + f64::from(s.first(robust));
            out.set(label, own as f32);
        }
    }
}

struct Terms<S: Simd> {
    weight: [S::F; 2],
    top: [S::F; 2],
    lead: S::F,
    beta: S::F,
}

impl<S: Simd> Terms<S> {
    /// p, q and beta p (log p - log q - KL), all weighted.
    #[inline(always)]
    fn of(&self, s: S, z: [S::F; 4], w: [S::F; 4]) -> ([S::F; 4], [S::F; 4], [S::F; 4]) {
        let mut p = math::exp_about(s, z, self.top[0]);
        let mut q = math::exp_about(s, w, self.top[1]);
        let mut robust = z;
        for v in 0..4 {
            p[v] = s.mul(self.weight[0], p[v]);
            q[v] = s.mul(self.weight[1], q[v]);
            // log p - log q - KL = (z - w) less its mean under p.
            let difference = s.sub(s.sub(z[v], w[v]), self.lead);
            let difference = s.select(s.eq(p[v], s.zero()), s.zero(), difference);
            robust[v] = s.mul(p[v], s.mul(self.beta, difference));
        }
        (p, q, robust)
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = TradesLoss { beta: call.opts.beta, labels: call.labels };
    let problem =
        row_sets_problem!(call, rows, [logits, adversarial_logits], [grad_logits, grad_adversarial_logits]);
    row_sets::run(cpu, &loss, problem);
    Ok(())
}

row_sets_cuda!(trades_loss, rows, classes, [grad_logits, grad_adversarial_logits]);
