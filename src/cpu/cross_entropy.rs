//! Softmax cross entropy on a row of logits, or on a row in parts:
//! l = -(1 - e) w_y log p_y - (e/C) sum_k w_k log p_k + z_weight lse^2, on logits capped by c tanh(z / c)
//! where softcap c > 0.

use crate::cpu::narrow::{LaneLoss, NegLogProb, OddsLanes, OddsLoss, OddsRows, Softmax};
use crate::cpu::rows::{self, Row, RowLoss, RowOut};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softcap::{Capped, soft_cap};
use crate::cpu::softmax::{self, Accumulator, Odds, SoftmaxStats};
use crate::cpu::storage::{self, load_vector};
use crate::registry::Floats;
use bytemuck::{Pod, Zeroable};

pub struct CrossEntropy<'a> {
    /// Label smoothing e, and e/C.
    smoothing: f64,
    share: f64,
    z_weight: f64,
    softcap: f32,
    weights: Option<Floats<'a>>,
    /// Sum of the class weights.
    weight_sum: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Stats {
    /// With a cap, `top` and `own` are logits before capping.
    softmax: SoftmaxStats,
    /// sum_k w_k (z_k - top), with smoothing only; the gradient does without.
    spread: f32,
}

/// Statistics of part of a row; parts are merged in any fixed order.
#[derive(Clone, Copy)]
pub struct Part {
    /// Sum of exp(z_k - top) over the classes other than the label's: 0 where there was none, or none but of
    /// -inf. With a cap the exponent is the difference of capped logits.
    rest: f64,
    /// sum_k w_k z_k of capped logits, with smoothing only.
    weighted: f64,
    /// A logit before capping, as in [`SoftmaxStats`].
    top: f32,
    /// The label's logit, or 0 if it lies in another part.
    own: f32,
}

impl Part {
    pub const EMPTY: Part = Part { rest: 0.0, weighted: 0.0, top: f32::NEG_INFINITY, own: 0.0 };
}

impl<'a> CrossEntropy<'a> {
    pub fn new(
        classes: usize,
        weights: Option<Floats<'a>>,
        smoothing: f64,
        z_weight: f64,
        softcap: f64,
    ) -> Self {
        let weight_sum = match weights {
            // SAFETY: one weight per class.
            Some(_) => (0..classes).map(|k| storage::class_weight(weights, k)).sum(),
            None => classes as f64,
        };
        let share = smoothing / classes as f64;
        CrossEntropy { smoothing, share, z_weight, softcap: softcap as f32, weights, weight_sum }
    }

    /// -log p_y alone.
    pub fn plain(classes: usize) -> Self {
        Self::new(classes, None, 0.0, 0.0, 0.0)
    }

    /// But for the cap.
    fn is_neg_log_prob(&self) -> bool {
        self.smoothing == 0.0 && self.z_weight == 0.0 && self.weights.is_none()
    }

    pub fn class_weight(&self, class: usize) -> f64 {
        // SAFETY: labels are checked against the number of classes.
        storage::class_weight(self.weights, class)
    }

    /// Weights of the classes from `k` on.
    #[inline(always)]
    fn weights_at<S: Simd>(&self, s: S, k: usize) -> S::F {
        match self.weights {
            // SAFETY: one weight per class.
            Some(w) => unsafe { load_vector(s, w, k) },
            None => s.splat(1.0),
        }
    }

    /// Adds w_k x_k. A class of weight 0 does not count, not even with a logit of -inf.
    #[inline(always)]
    fn add_weighted<S: Simd>(&self, s: S, acc: S::D, x: S::F, k: usize) -> S::D {
        if self.weights.is_none() {
            return s.d_add(acc, x);
        }
        let w = self.weights_at(s, k);
        s.d_mul_add(acc, w, s.select(s.eq(w, s.zero()), s.zero(), x))
    }

    #[inline(always)]
    fn cap_one<S: Simd>(&self, s: S, z: f32) -> Capped<S> {
        soft_cap(s, s.splat(z), self.softcap)
    }

    /// Statistics of the classes `first`, `first + 1` ... with logits `row`.
    #[inline(always)]
    pub fn part<S: Simd>(&self, s: S, row: &Row, first: usize, label: usize) -> Part {
        if self.softcap > 0.0 {
            self.capped_part(s, row, first, label)
        } else {
            self.plain_part(s, row, first, label)
        }
    }

    #[inline(always)]
    fn plain_part<S: Simd>(&self, s: S, row: &Row, first: usize, label: usize) -> Part {
        let label = label.wrapping_sub(first);
        let mut terms = Accumulator::new(s, label);
        let mut weighted = [s.d_zero(); 4];
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                terms.add(row, start, block);
                if self.smoothing > 0.0 {
                    weighted = rows::fold(
                        s,
                        block,
                        0.0,
                        weighted,
                        #[inline(always)]
                        |acc, z, k| self.add_weighted(s, acc, z, first + start + k),
                    );
                }
            },
        );
        let (top, rest) = terms.sums(row);
        Part { rest, weighted: rows::total(s, weighted), top, own: own_of(row, label) }
    }

    /// Two sweeps: the cap keeps the order, so the largest logit is known before any is capped.
    #[inline(always)]
    fn capped_part<S: Simd>(&self, s: S, row: &Row, first: usize, label: usize) -> Part {
        let label = label.wrapping_sub(first);
        let top = softmax::row_top(s, row, label);
        let capped_top = self.cap_one(s, top).first(s);
        let (mut rest, mut weighted) = (0.0, [s.d_zero(); 4]);
        row.mapped_blocks(
            s,
            #[inline(always)]
            |z| soft_cap(s, z, self.softcap).minus(s, capped_top),
            #[inline(always)]
            |start, block| {
                rest += softmax::sum_of_terms(s, block, label.wrapping_sub(start));
                if self.smoothing > 0.0 {
                    weighted = rows::fold(
                        s,
                        block,
                        0.0,
                        weighted,
                        #[inline(always)]
                        |acc, x, k| self.add_weighted(s, acc, x, first + start + k),
                    );
                }
            },
        );
        let mut weighted = rows::total(s, weighted);
        if self.smoothing > 0.0 {
            weighted += self.weight_of(first..first + row.len) * self.capped(top);
        }
        Part { rest, weighted, top, own: own_of(row, label) }
    }

    fn weight_of(&self, classes: std::ops::Range<usize>) -> f64 {
        match self.weights {
            Some(_) => classes.map(|k| self.class_weight(k)).sum(),
            None => classes.len() as f64,
        }
    }

    /// A logit as the softmax sees it.
    fn capped(&self, z: f32) -> f64 {
        let (z, cap) = (f64::from(z), f64::from(self.softcap));
        if cap > 0.0 { cap * (z / cap).tanh() } else { z }
    }

    pub fn merge(&self, a: Part, b: Part) -> Part {
        let (mut top, mut rest) = (a.top, a.rest);
        if a.rest == 0.0 {
            (top, rest) = (b.top, b.rest);
        } else if b.rest != 0.0 {
            let (x, y) = (self.capped(a.top), self.capped(b.top));
            // Of NaNs, too: their sums are NaN.
            if x >= y {
                rest = a.rest + b.rest * (y - x).exp();
            } else {
                (top, rest) = (b.top, a.rest * (x - y).exp() + b.rest);
            }
        }
        Part { rest, weighted: a.weighted + b.weighted, top, own: a.own + b.own }
    }

    /// Of a whole row.
    pub fn finish(&self, part: Part) -> Stats {
        let Part { rest, weighted, top, own } = part;
        let softmax = if self.softcap == 0.0 {
            SoftmaxStats::new(top, rest, own)
        } else if rest == 0.0 {
            SoftmaxStats { top: own, rest: 0.0, own }
        } else {
            SoftmaxStats { top, rest: if own.is_nan() { own } else { rest as f32 }, own }
        };
        if self.smoothing == 0.0 {
            return Stats { softmax, spread: 0.0 };
        }
        Stats { softmax, spread: (weighted - self.weight_sum * self.capped(softmax.top)) as f32 }
    }
}

/// The label's logit, if it lies in this part of the row.
#[inline(always)]
fn own_of(row: &Row, label: usize) -> f32 {
    if label < row.len { row.get(label) } else { 0.0 }
}

impl CrossEntropy<'_> {
    #[inline(always)]
    pub fn state_of<S: Simd>(&self, s: S, Stats { softmax, spread }: Stats) -> State {
        if self.softcap == 0.0 {
            return State { softmax, spread, top: (softmax.top, 0.0), odds: softmax.odds(s) };
        }
        let top = self.cap_one(s, softmax.top).first(s);
        let lead = s.first(self.cap_one(s, softmax.own).minus(s, top));
        State { softmax, spread, top, odds: Odds::new(s, f64::from(lead), softmax.rest) }
    }

    /// Writes the gradient of the classes `first`, `first + 1` ... with logits `row`.
    ///
    /// dl/dz_k = (Q + 2 z_weight lse) p_k - q_k, q_k = (e/C) w_k + (1 - e) w_y delta_ky, Q its sum; times
    /// 1 - tanh(z_k / c)^2 with a cap.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)] // those of `RowLoss::gradient`, and `first`
    pub fn part_gradient<S: Simd>(
        &self,
        s: S,
        state: &State,
        row: &Row,
        first: usize,
        label: usize,
        scale: f32,
        out: &RowOut,
    ) {
        let State { softmax, top, odds, .. } = state;
        let scale = f64::from(scale);
        let hard = (1.0 - self.smoothing) * self.class_weight(label);
        let mut soft = self.share * self.weight_sum;
        let capped = self.softcap > 0.0;
        if self.z_weight > 0.0 {
            soft += 2.0 * self.z_weight * (state.top() + odds.log_sum(s));
        }
        let weight = scale * (hard + soft) * odds.share;
        let factor = s.splat(weight as f32);
        let share = s.splat((scale * self.share) as f32);
        let smoothed = self.smoothing > 0.0;
        if capped {
            row.map_to(
                s,
                out,
                #[inline(always)]
                |z, k| {
                    let cap = soft_cap(s, z, self.softcap);
                    let mut g = s.mul(factor, math::exp_softmax(s, cap.minus(s, *top)));
                    if smoothed {
                        g = s.sub(g, s.mul(share, self.weights_at(s, first + k)));
                    }
                    s.mul(g, cap.slope)
                },
            );
        } else if smoothed {
            softmax::map_terms(
                s,
                row,
                softmax.top,
                weight as f32,
                out,
                #[inline(always)]
                |g, k| s.sub(g, s.mul(share, self.weights_at(s, first + k))),
            );
        } else {
            softmax::write_terms(s, row, softmax.top, weight, out);
        }
        if label.wrapping_sub(first) >= row.len {
            return;
        }
        // The label's own element from 1 - p_y, which p_y - 1 would lose.
        // The sign of a zero as rows in lanes have it.
        let mut g = -hard * odds.others;
        if soft != 0.0 {
            g += soft * odds.own;
        }
        if smoothed {
            g -= self.share * self.class_weight(label);
        }
        if capped {
            g *= f64::from(s.first(self.cap_one(s, softmax.own).slope));
        }
        out.set(label - first, (scale * g) as f32);
    }
}

impl State {
    fn top(&self) -> f64 {
        f64::from(self.top.0) + f64::from(self.top.1)
    }
}

/// A row as loss and gradient need it.
pub struct State {
    softmax: SoftmaxStats,
    spread: f32,
    /// The reference logit as the softmax sees it, in two parts.
    top: (f32, f32),
    odds: Odds,
}

impl OddsLoss for &CrossEntropy<'_> {
    #[inline(always)]
    fn rows<S: Simd>(&self, s: S, odds: &OddsLanes<S>, spread: S::F) -> OddsRows<S> {
        let plain = NegLogProb.rows(s, odds, spread);
        if self.smoothing == 0.0 {
            return plain;
        }
        let (hard, share) = (s.splat((1.0 - self.smoothing) as f32), s.splat(self.share as f32));
        let soft = s.mul_add(s.splat(self.weight_sum as f32), odds.log_sum(s), s.neg(spread));
        let own = s.sub(s.mul(s.splat(self.smoothing as f32), odds.own), share);
        OddsRows {
            loss: s.mul_add(hard, plain.loss, s.mul(share, soft)),
            factor: odds.share,
            offset: share,
            own: s.mul_add(hard, plain.own, own),
            ordinary: odds.ordinary,
        }
    }

    fn wants_spread(&self) -> bool {
        self.smoothing > 0.0
    }

    #[inline(always)]
    fn weight(&self) -> Option<impl Fn(usize) -> f32> {
        self.weights.map(|_| |label| self.class_weight(label) as f32)
    }
}

impl RowLoss for CrossEntropy<'_> {
    type Stats = Stats;
    const SAVED: usize = 3;
    const POSTPONES: bool = true;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Stats {
        if self.softcap == 0.0 && self.smoothing == 0.0 {
            return Stats { softmax: softmax::stats(s, row, label), spread: 0.0 };
        }
        self.finish(self.part(s, row, 0, label))
    }

    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, stats: Stats, _row: &Row, _label: usize) -> State {
        self.state_of(s, stats)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, state: &State, label: usize) -> f32 {
        let odds = &state.odds;
        if self.is_neg_log_prob() {
            return odds.neg_log_prob(s) as f32;
        }
        let mut loss = 0.0;
        if self.smoothing < 1.0 {
            loss += (1.0 - self.smoothing) * self.class_weight(label) * odds.neg_log_prob(s);
        }
        let above = odds.log_sum(s);
        if self.smoothing > 0.0 {
            loss += self.share * (self.weight_sum * above - f64::from(state.spread));
        }
        if self.z_weight > 0.0 {
            loss += self.z_weight * (state.top() + above).powi(2);
        }
        loss as f32
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, state: &State, row: &Row, label: usize, scale: f32, out: &RowOut) {
        self.part_gradient(s, state, row, 0, label, scale, out);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        let weighted_classes = self.smoothing > 0.0 && self.weights.is_some();
        (self.z_weight == 0.0 && self.softcap == 0.0 && !weighted_classes).then_some(Softmax(self))
    }

    fn weight(&self) -> Option<impl Fn(usize) -> f64 + Sync> {
        self.weights.map(|_| |label| self.class_weight(label))
    }
}
