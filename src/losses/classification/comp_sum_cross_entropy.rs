//! l = expm1((1 - tau) v) / (1 - tau),  v = logsumexp(z) - z_y;  v itself at tau = 1.

use crate::cpu::rows::{LaneLoss, NegLogProb, Row, RowLoss, RowOut};
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{self, Odds, SoftmaxStats};

struct CompSum {
    /// 1 - tau.
    c: f64,
}

impl RowLoss for CompSum {
    type Stats = SoftmaxStats;
    const POSTPONES: bool = true;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> SoftmaxStats {
        softmax::stats(s, row, label)
    }

    type State = (f32, Odds);

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, stats: SoftmaxStats, _row: &Row, _label: usize) -> (f32, Odds) {
        (stats.top, stats.odds(s))
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, (_, odds): &(f32, Odds), _label: usize) -> f32 {
        if self.c == 0.0 {
            return odds.neg_log_prob(s) as f32;
        }
        // expm1(c v) / c keeps its accuracy down to the smallest c.
        ((self.c * odds.neg_log_prob_f64()).exp_m1() / self.c) as f32
    }

    /// dl/dz_k = -p_y^(tau - 1) (delta_ky - p_k).
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        (top, odds): &(f32, Odds),
        row: &Row,
        label: usize,
        scale: f32,
        out: &RowOut,
    ) {
        let mut factor = f64::from(scale);
        if self.c != 0.0 {
            factor *= (self.c * odds.neg_log_prob_f64()).exp();
        }
        softmax::write_terms(s, row, *top, factor * odds.share, out);
        out.set(label, (-factor * odds.others) as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        (self.c == 0.0).then_some(NegLogProb)
    }
}

rows_entry!(comp_sum_cross_entropy, |call: &Call| CompSum { c: 1.0 - call.opts.tau });
