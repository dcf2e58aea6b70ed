//! l = -log p_y + beta KL(p || q), p = softmax(logits), q = softmax(adversarial_logits).

use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_pair::{self, PairStats};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{Odds, SoftmaxStats};
use crate::registry::entries::trades_loss::Call;

struct TradesLoss<'a> {
    beta: f64,
    labels: &'a [i64],
}

/// Rows: clean, adversarial.
impl RowSetLoss<2> for TradesLoss<'_> {
    /// With the label's own logits, over which gradients may be written.
    type State = (PairStats, Odds, [f32; 2]);

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 2]) -> Self::State {
        let label = self.labels[r] as usize;
        let pair = row_pair::stats(s, rows, label, 1.0);
        let own = [rows[0].get(label), rows[1].get(label)];
        (pair, SoftmaxStats::new(pair.top[0], pair.rest[0], own[0]).odds(s), own)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, _r: usize, (pair, odds, _): &Self::State) -> f32 {
        let robust = if self.beta > 0.0 { self.beta * pair.divergence() } else { 0.0 };
        (odds.neg_log_prob(s) + robust) as f32
    }

    /// dl/dz = p - e_y + beta p (log p - log q - KL);  dl/dw = beta (q - p).
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        &(ref pair, ref odds, [z, w]): &Self::State,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
    ) {
        let (beta, lead) = (s.splat(self.beta as f32), s.splat(pair.lead as f32));
        row_pair::map_terms(
            s,
            rows,
            pair,
            [f64::from(scale); 2],
            [out[0].as_ref(), out[1].as_ref()],
            #[inline(always)]
            |[p, q], [z, w]| {
                let mut g = [p, q];
                for v in 0..4 {
                    // log p - log q - KL = (z - w) less its mean under p.
                    let difference = s.sub(s.sub(z[v], w[v]), lead);
                    let difference = s.select(s.eq(p[v], s.zero()), s.zero(), difference);
                    g[0][v] = s.mul_add(p[v], s.mul(beta, difference), p[v]);
                    g[1][v] = s.mul(beta, s.sub(q[v], p[v]));
                }
                g
            },
        );
        // The label's own elements: of the first from 1 - p_y, which p_y - 1 would lose.
        let (label, scale) = (self.labels[r] as usize, f64::from(scale));
        let [p, q] = pair.own;
        let difference = if p == 0.0 { 0.0 } else { f64::from(z) - f64::from(w) - pair.lead };
        if let Some(out) = &out[0] {
            out.set(label, (scale * (self.beta * p * difference - odds.others)) as f32);
        }
        if let Some(out) = &out[1] {
            out.set(label, (scale * self.beta * (q - p)) as f32);
        }
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
