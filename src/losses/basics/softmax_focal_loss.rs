//! l = -w_y q^gamma log p_y,  q = 1 - p_y.

use crate::cpu::narrow::{LaneLoss, OddsLanes, OddsLoss, OddsRows, Softmax};
use crate::cpu::rows::{Row, RowLoss, RowOut};
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{self, Odds, SoftmaxStats};
use crate::cpu::storage::class_weight;
use crate::registry::Floats;

struct SoftmaxFocalLoss<'a> {
    gamma: f64,
    weights: Option<Floats<'a>>,
}

impl SoftmaxFocalLoss<'_> {
    /// q^(gamma - less); a row that is right beyond doubt has q = 0.
    fn power(&self, q: f64, less: f64) -> f64 {
        match self.gamma - less {
            0.0 => 1.0,
            1.0 => q,
            2.0 => q * q,
            exponent => q.powf(exponent),
        }
    }
}

impl RowLoss for SoftmaxFocalLoss<'_> {
    type Stats = SoftmaxStats;

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
    fn loss<S: Simd>(&self, s: S, (_, odds): &(f32, Odds), label: usize) -> f32 {
        (class_weight(self.weights, label) * self.power(odds.others, 0.0) * odds.neg_log_prob(s)) as f32
    }

    /// dl/dz_k = D (delta_ky - p_k),  D = -w_y (q^gamma - gamma q^(gamma - 1) p_y log p_y).
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
        let q = odds.others;
        let mut slope = self.power(q, 0.0);
        if self.gamma > 0.0 && q != 0.0 {
            slope += self.gamma * self.power(q, 1.0) * odds.own * odds.neg_log_prob(s);
        }
        let slope = f64::from(scale) * class_weight(self.weights, label) * slope;
        softmax::write_terms(s, row, *top, slope * odds.share, out);
        out.set(label, (-slope * q) as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        [0.0, 1.0, 2.0, 3.0].contains(&self.gamma).then_some(Softmax(self))
    }
}

impl OddsLoss for &SoftmaxFocalLoss<'_> {
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>, _spread: S::F) -> OddsRows<S> {
        let (u, q) = (odds.neg_log_prob(s), odds.others);
        // q^(gamma - 1) and q^gamma.
        let (mut less, mut power) = (s.zero(), s.splat(1.0));
        for _ in 0..self.gamma as u32 {
            (less, power) = (power, s.mul(power, q));
        }
        let slope = s.mul_add(s.mul(s.splat(self.gamma as f32), s.mul(less, odds.own)), u, power);
        OddsRows {
            loss: s.mul(power, u),
            factor: s.mul(slope, odds.share),
            offset: s.zero(),
            own: s.neg(s.mul(slope, q)),
            ordinary: odds.ordinary,
        }
    }

    #[inline(always)]
    fn weight(&self) -> Option<impl Fn(usize) -> f32> {
        self.weights.map(|_| |label| class_weight(self.weights, label) as f32)
    }
}

fn of_call<'a>(call: &Call<'a>) -> SoftmaxFocalLoss<'a> {
    SoftmaxFocalLoss { gamma: call.opts.gamma, weights: call.class_weights }
}

rows_entry!(softmax_focal_loss, of_call);
