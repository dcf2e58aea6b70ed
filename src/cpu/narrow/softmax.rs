//! Losses built on log p_y, on rows in lanes.

use super::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::simd::{Simd, math};

/// What a loss makes of the odds of its rows.
pub trait OddsLoss {
    /// `spread`: sum over all classes of z_k - top, 0 unless wanted.
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>, spread: S::F) -> OddsRows<S>;

    fn wants_spread(&self) -> bool {
        false
    }

    /// See [`LaneLoss::weight`].
    fn weight(&self) -> Option<impl Fn(usize) -> f32> {
        None::<fn(usize) -> f32>
    }
}

pub struct OddsRows<S: Simd> {
    pub loss: S::F,
    /// The gradient is this times exp(z_k - top) ...
    pub factor: S::F,
    /// ... less this ...
    pub offset: S::F,
    /// ... but for the label's own element.
    pub own: S::F,
    pub ordinary: S::M,
}

/// -log p_y as such.
pub struct NegLogProb;

impl OddsLoss for NegLogProb {
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>, _spread: S::F) -> OddsRows<S> {
        OddsRows {
            loss: odds.neg_log_prob(s),
            factor: odds.share,
            offset: s.zero(),
            own: s.neg(odds.others),
            ordinary: odds.ordinary,
        }
    }
}

/// Statistics are those of `SoftmaxStats`.
pub struct Softmax<L>(pub L);

impl<L: OddsLoss> LaneLoss for Softmax<L> {
    /// Factor and offset.
    type State<S: Simd> = (S::F, S::F);

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        saved: Option<Stats<S>>,
    ) -> LaneRows<S, (S::F, S::F)> {
        let (n, low) = (classes.len, s.splat(f32::NEG_INFINITY));
        let (mut top, mut own) = (low, s.zero());
        for k in 0..n {
            let (z, is_own) = (classes.get(s, k), classes.is_label(s, k));
            own = s.select(is_own, z, own);
            top = s.max(top, s.select(is_own, low, z));
        }
        if let Some(saved) = saved {
            top = saved[0];
        }
        let mut spread = s.zero();
        if self.0.wants_spread() {
            for k in 0..n {
                let x = s.sub(classes.get(s, k), top);
                spread = s.add(spread, s.select(classes.is_label(s, k), s.zero(), x));
            }
            spread = s.add(spread, s.sub(own, top));
        }
        let sum = classes.terms(s, top, true);
        let rest = match saved {
            Some(saved) => saved[1],
            None => sum,
        };
        let odds = OddsLanes::new(s, top, rest, own);
        let OddsRows { loss, factor, offset, own: own_gradient, ordinary } = self.0.rows(s, &odds, spread);
        let stats = [top, rest, own, s.zero()];
        LaneRows { stats, loss, own: own_gradient, ordinary, state: (factor, offset) }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        &(factor, offset): &(S::F, S::F),
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        [s.sub(s.mul(s.mul(scale, factor), classes.get(s, k)), s.mul(scale, offset))]
    }

    #[inline(always)]
    fn weight(&self) -> Option<impl Fn(usize) -> f32> {
        self.0.weight()
    }
}

/// `Odds` of rows in lanes, in f32.
pub struct OddsLanes<S: Simd> {
    large: S::F,
    /// What rounding took from `large`.
    large_rest: S::F,
    x: S::F,
    /// Label's logit less `top`.
    lead: S::F,
    /// p_y, 1 - p_y and what makes exp(z_k - top) the probability of another class.
    pub own: S::F,
    pub others: S::F,
    pub share: S::F,
    /// Rows without values for which f32 is too narrow; the others need `Odds`.
    pub ordinary: S::M,
}

impl<S: Simd> OddsLanes<S> {
    /// From the members of `SoftmaxStats`.
    #[inline(always)]
    pub fn new(s: S, top: S::F, rest: S::F, own: S::F) -> Self {
        let (zero, one) = (s.zero(), s.splat(1.0));
        let lead = s.sub(own, top);
        let leads = s.lt(zero, lead);
        // The rounding error of the difference, which exp() would magnify.
        let back = s.sub(lead, own);
        let error = s.sub(s.sub(own, s.sub(lead, back)), s.add(top, back));
        let (size, size_rest) = (s.abs(lead), s.select(leads, error, s.neg(error)));
        let decay = math::exp(s, s.neg(size));
        let decay = s.mul_add(s.neg(size_rest), decay, decay);
        let (a, b) = (s.select(leads, one, decay), s.select(leads, decay, one));
        let rest_b = s.mul(rest, b);
        let inverse = s.div(one, s.add(a, rest_b));
        OddsLanes {
            large: s.select(leads, zero, size),
            large_rest: s.select(leads, zero, size_rest),
            x: s.select(leads, rest_b, s.add(s.sub(rest, one), decay)),
            lead,
            own: s.mul(a, inverse),
            others: s.mul(rest_b, inverse),
            share: s.mul(b, inverse),
            ordinary: s.and(s.lt(size, s.splat(60.0)), s.lt(rest, s.splat(1e30))),
        }
    }

    #[inline(always)]
    pub fn neg_log_prob(&self, s: S) -> S::F {
        s.add(self.large, s.add(self.large_rest, math::ln_1p_above(s, self.x)))
    }

    /// lse less `top`.
    #[inline(always)]
    pub fn log_sum(&self, s: S) -> S::F {
        s.add(s.max(s.zero(), self.lead), math::ln_1p_above(s, self.x))
    }
}
