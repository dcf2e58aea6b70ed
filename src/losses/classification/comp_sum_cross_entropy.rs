//! l = expm1((1 - tau) v) / (1 - tau),  v = logsumexp(z) - z_y;  v itself at tau = 1.

use crate::cpu::narrow::{LaneLoss, NegLogProb, OddsLanes, OddsLoss, OddsRows, Softmax};
use crate::cpu::rows::{Row, RowLoss, RowOut};
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
        [-1.0, -0.5, 0.0, 0.5, 1.0].contains(&self.c).then_some(Softmax(self))
    }
}

/// Where p_y^-c needs no logarithm, whose rounding error a power in f32 would magnify.
impl OddsLoss for &CompSum {
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>, spread: S::F) -> OddsRows<S> {
        if self.c == 0.0 {
            return NegLogProb.rows(s, odds, spread);
        }
        let one = s.splat(1.0);
        let root = if self.c.abs() == 1.0 { odds.own } else { s.sqrt(odds.own) };
        let power = if self.c < 0.0 { root } else { s.div(one, root) };
        // (p^-c - 1) / c by p - 1 = (root p - 1) (root p + 1).
        let mut loss = if self.c < 0.0 { odds.others } else { s.mul(odds.others, power) };
        if self.c.abs() != 1.0 {
            loss = s.div(s.add(loss, loss), s.add(one, root));
        }
        OddsRows {
            loss,
            factor: s.mul(power, odds.share),
            offset: s.zero(),
            own: s.neg(s.mul(power, odds.others)),
            ordinary: odds.ordinary,
        }
    }
}

rows_entry!(comp_sum_cross_entropy, |call: &Call| CompSum { c: 1.0 - call.opts.tau });
