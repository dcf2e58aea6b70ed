//! `softmax_entropy` of rows in lanes, for the factor 1.

use super::{Classes, OddsLanes, Stats};
use crate::cpu::simd::Simd;
use crate::cpu::softmax_entropy::exponent;

/// What follows from the members of `EntropyStats`, which `stats` has in their order.
pub struct EntropyLanes<S: Simd> {
    pub stats: Stats<S>,
    /// The largest logit against the others.
    pub odds: OddsLanes<S>,
    /// Exponent of the largest.
    pub lead: S::F,
    log_sum: S::F,
    /// Mean of x = z - second under p.
    pub mean: S::F,
    pub entropy: S::F,
    /// log p_k + H of the largest.
    pub top_excess: S::F,
    /// Exponent of the label and its term; no term if it is the largest.
    own: (S::F, S::F),
}

/// The label in its row, as `Class`.
pub struct ClassLanes<S: Simd> {
    pub own: S::F,
    pub others: S::F,
    pub neg_log_prob: S::F,
    /// log p_y + H.
    pub excess: S::F,
    /// Rows where f32 has all this.
    pub ordinary: S::M,
}

impl<S: Simd> EntropyLanes<S> {
    /// Leaves exponents as the values of the classes, and as terms their exponentials but for a largest one's.
    #[inline(always)]
    pub fn new(s: S, classes: &mut Classes<S>, saved: Option<Stats<S>>) -> Self {
        let (zero, low) = (s.zero(), s.splat(f32::NEG_INFINITY));
        let (mut top, mut second) = (low, low);
        match saved {
            Some(saved) => [top, second, ..] = saved,
            None => {
                for k in 0..classes.len {
                    let z = classes.get(s, k);
                    second = s.max(second, s.min(top, z));
                    top = s.max(top, z);
                }
            }
        }
        let lead = s.sub(top, second);
        let alone = s.lt(second, top);
        let apart = s.select(alone, lead, s.splat(f32::NAN));
        let mut own = (zero, zero);
        let [rest, cross] = classes.sums_by_pair(
            s,
            #[inline(always)]
            |classes, k, [mut rest, mut cross]| {
                let mut x = classes.pair(s, k);
                for x in &mut x {
                    *x = exponent(s, *x, second, s.splat(1.0));
                }
                let mut term = s.softmax_pair(x);
                for v in 0..2 {
                    term[v] = s.select(s.eq(x[v], apart), zero, term[v]);
                    let is_own = classes.is_label(s, k + v);
                    own = (s.select(is_own, x[v], own.0), s.select(is_own, term[v], own.1));
                    rest[v] = s.add(rest[v], term[v]);
                    cross[v] = s.mul_add(term[v], x[v], cross[v]);
                }
                classes.set_pair(s, k, x);
                classes.set_pair_of_terms(s, k, term);
                [rest, cross]
            },
        );
        let (rest, cross) = match saved {
            Some([_, _, rest, cross]) => (rest, cross),
            None => (s.sub(rest, s.select(alone, zero, s.splat(1.0))), cross),
        };
        let odds = OddsLanes::new(s, second, rest, top);
        let log_sum = odds.log_sum(s);
        let cross_share = s.mul(odds.share, cross);
        let flat = s.mul_add(odds.others, log_sum, s.neg(cross_share));
        EntropyLanes {
            stats: [top, second, rest, cross],
            lead,
            log_sum,
            mean: s.mul_add(odds.own, lead, cross_share),
            entropy: s.mul_add(odds.own, odds.neg_log_prob(s), flat),
            top_excess: s.mul_add(odds.others, lead, s.neg(cross_share)),
            own,
            odds,
        }
    }

    /// The label's class.
    #[inline(always)]
    pub fn class(&self, s: S) -> ClassLanes<S> {
        let (x, term) = self.own;
        let (odds, is_top) = (&self.odds, s.eq(x, self.lead));
        let own = s.select(is_top, odds.own, s.mul(odds.share, term));
        ClassLanes {
            own,
            others: s.select(is_top, odds.others, s.sub(s.splat(1.0), own)),
            neg_log_prob: s.select(is_top, odds.neg_log_prob(s), s.sub(self.log_sum, x)),
            excess: s.mul(own, s.select(is_top, self.top_excess, s.sub(x, self.mean))),
            // Not at the least exponent, which stands for any less.
            ordinary: s.and(odds.ordinary, s.lt(s.splat(-1000.0), x)),
        }
    }

    /// A gradient of exp(x_k) `share` (`constant` + `slope` x_k), and `at_top` for those equal to the largest.
    #[inline(always)]
    pub fn slopes(&self, constant: S::F, slope: S::F, at_top: S::F) -> Slopes<S> {
        Slopes { share: self.odds.share, lead: self.lead, constant, slope, at_top }
    }
}

pub struct Slopes<S: Simd> {
    share: S::F,
    lead: S::F,
    constant: S::F,
    slope: S::F,
    at_top: S::F,
}

impl<S: Simd> Slopes<S> {
    #[inline(always)]
    pub fn gradient(&self, s: S, classes: &Classes<S>, k: usize, scale: S::F) -> S::F {
        let (x, term) = (classes.get(s, k), classes.term(s, k));
        let p = s.mul(s.mul(scale, self.share), term);
        let g = s.mul(p, s.mul_add(self.slope, x, self.constant));
        s.select(s.eq(x, self.lead), s.mul(scale, self.at_top), g)
    }
}
