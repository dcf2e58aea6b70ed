//! l = -log p_y + w H,  H = -sum_k p_k log p_k.

use crate::cpu::narrow::{Classes, EntropyLanes, LaneLoss, LaneRows, Slopes, Stats};
use crate::cpu::rows::{Row, RowLoss, RowOut};
use crate::cpu::simd::Simd;
use crate::cpu::softmax_entropy::{self, Class, Entropy, EntropyStats};

struct EntropyRegularized {
    weight: f64,
}

impl RowLoss for EntropyRegularized {
    type Stats = EntropyStats;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, _label: usize) -> EntropyStats {
        softmax_entropy::stats(s, row, 1.0)
    }

    type State = (Entropy, Class);

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, stats: EntropyStats, row: &Row, label: usize) -> (Entropy, Class) {
        let whole = stats.entropy(s, 1.0);
        let class = whole.class(s, row.get(label));
        (whole, class)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, (row, class): &(Entropy, Class), _label: usize) -> f32 {
        (class.neg_log_prob + self.weight * row.entropy) as f32
    }

    /// dl/dz_k = p_k - delta_ky - w p_k (log p_k + H), log p_k + H = x_k less its mean.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        (whole, class): &(Entropy, Class),
        row: &Row,
        label: usize,
        scale: f32,
        out: &RowOut,
    ) {
        let (scale, w) = (f64::from(scale), self.weight);
        let top = scale * whole.odds.own * (1.0 - w * whole.top_excess());
        whole.write(s, row, out, scale * whole.odds.share, (1.0 + w * whole.mean, -w), top);
        let excess = match class.own {
            0.0 => 0.0,
            _ if row.get(label) == whole.stats.top => class.own * whole.top_excess(),
            _ => class.own * (class.x - whole.mean),
        };
        out.set(label, (-scale * (class.others + w * excess)) as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(self)
    }
}

impl LaneLoss for &EntropyRegularized {
    type State<S: Simd> = Slopes<S>;

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        saved: Option<Stats<S>>,
    ) -> LaneRows<S, Slopes<S>> {
        let whole = EntropyLanes::new(s, classes, saved);
        let class = whole.class(s);
        let (w, one) = (s.splat(self.weight as f32), s.splat(1.0));
        let at_top = s.mul(whole.odds.own, s.sub(one, s.mul(w, whole.top_excess)));
        LaneRows {
            stats: whole.stats,
            loss: s.mul_add(w, whole.entropy, class.neg_log_prob),
            own: s.neg(s.mul_add(w, class.excess, class.others)),
            ordinary: class.ordinary,
            state: whole.slopes(s.mul_add(w, whole.mean, one), s.neg(w), at_top),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        slopes: &Slopes<S>,
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        [slopes.gradient(s, classes, k, scale)]
    }
}

rows_entry!(entropy_regularized_cross_entropy, |call: &Call| EntropyRegularized {
    weight: call.opts.entropy_weight
});
