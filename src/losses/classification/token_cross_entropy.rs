//! l = -(1 - e) w_y log p_y - (e/C) sum_k w_k log p_k + z_weight lse^2, on logits capped by
//! c tanh(z / c) where softcap c > 0.

use crate::cpu::rows::{self, LaneLoss, NegLogProb, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::softcap::{Capped, soft_cap};
use crate::cpu::softmax::{self, Accumulator, Odds, SoftmaxStats};
use crate::cpu::storage::{load_vector, read_one};
use crate::cpu::{Cpu, simd::Simd, simd::math};
#[cfg(gpu)]
use crate::cuda::{
    self, Device, bytes_of,
    rows::{RowsPlan, rows_plan},
};
use crate::registry::entries::token_cross_entropy::Call;
use crate::registry::{Floats, Result};
#[cfg(gpu)]
use crate::registry::{Reduction, entries::token_cross_entropy::Args};
use bytemuck::{Pod, Zeroable};

struct TokenCrossEntropy<'a> {
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
struct Stats {
    /// With a cap, `top` and `own` are logits before capping.
    softmax: SoftmaxStats,
    /// sum_k w_k (z_k - top), with smoothing only; the gradient does without.
    spread: f32,
}

impl TokenCrossEntropy<'_> {
    fn class_weight(&self, class: usize) -> f64 {
        // SAFETY: labels are checked against the number of classes.
        self.weights.map_or(1.0, |w| f64::from(unsafe { read_one(w.dtype, w.at(class)) }))
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

    fn is_neg_log_prob(&self) -> bool {
        self.smoothing == 0.0 && self.z_weight == 0.0 && self.weights.is_none()
    }

    #[inline(always)]
    fn cap_one<S: Simd>(&self, s: S, z: f32) -> Capped<S> {
        soft_cap(s, s.splat(z), self.softcap)
    }

    #[inline(always)]
    fn plain_stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Stats {
        if self.smoothing == 0.0 {
            return Stats { softmax: softmax::stats(s, row, label), spread: 0.0 };
        }
        let mut terms = Accumulator::new(s, label);
        let mut weighted = [s.d_zero(); 4];
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                terms.add(row, start, block);
                weighted = rows::fold(
                    s,
                    block,
                    0.0,
                    weighted,
                    #[inline(always)]
                    |acc, z, k| self.add_weighted(s, acc, z, start + k),
                );
            },
        );
        let softmax = terms.finish(row);
        let spread = rows::total(s, weighted) - self.weight_sum * f64::from(softmax.top);
        Stats { softmax, spread: spread as f32 }
    }

    /// Two sweeps: the cap keeps the order, so the largest logit is known before any is capped.
    #[inline(always)]
    fn capped_stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Stats {
        let own = row.get(label);
        let top = match softmax::row_top(s, row, label) {
            f32::NEG_INFINITY if row.len == 1 => own,
            top => top,
        };
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
                        |acc, x, k| self.add_weighted(s, acc, x, start + k),
                    );
                }
            },
        );
        let rest = if own.is_nan() { own } else { rest as f32 };
        Stats { softmax: SoftmaxStats { top, rest, own }, spread: rows::total(s, weighted) as f32 }
    }
}

impl State {
    fn top(&self) -> f64 {
        f64::from(self.top.0) + f64::from(self.top.1)
    }
}

/// A row as loss and gradient need it.
struct State {
    softmax: SoftmaxStats,
    spread: f32,
    /// The reference logit as the softmax sees it, in two parts.
    top: (f32, f32),
    odds: Odds,
}

impl RowLoss for TokenCrossEntropy<'_> {
    type Stats = Stats;
    const SAVED: usize = 3;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Stats {
        if self.softcap > 0.0 { self.capped_stats(s, row, label) } else { self.plain_stats(s, row, label) }
    }

    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, Stats { softmax, spread }: Stats, _row: &Row, _label: usize) -> State {
        if self.softcap == 0.0 {
            return State { softmax, spread, top: (softmax.top, 0.0), odds: softmax.odds(s) };
        }
        let top = self.cap_one(s, softmax.top).first(s);
        let lead = s.first(self.cap_one(s, softmax.own).minus(s, top));
        State { softmax, spread, top, odds: Odds::new(s, f64::from(lead), softmax.rest) }
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

    /// dl/dz_k = (Q + 2 z_weight lse) p_k - q_k, q_k = (e/C) w_k + (1 - e) w_y delta_ky, Q its sum; times
    /// 1 - tanh(z_k / c)^2 with a cap.
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, state: &State, row: &Row, label: usize, scale: f32, out: &RowOut) {
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
                        g = s.sub(g, s.mul(share, self.weights_at(s, k)));
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
                |g, k| s.sub(g, s.mul(share, self.weights_at(s, k))),
            );
        } else {
            softmax::write_terms(s, row, softmax.top, weight, out);
        }
        // The label's own element from 1 - p_y, which p_y - 1 would lose.
        let mut g = soft * odds.own - hard * odds.others;
        if smoothed {
            g -= self.share * self.class_weight(label);
        }
        if capped {
            g *= f64::from(s.first(self.cap_one(s, softmax.own).slope));
        }
        out.set(label, (scale * g) as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        (self.is_neg_log_prob() && self.softcap == 0.0).then_some(NegLogProb)
    }

    fn weight(&self) -> Option<impl Fn(usize) -> f64 + Sync> {
        self.weights.map(|_| |label| self.class_weight(label))
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let weight_sum = match call.class_weights {
        // SAFETY: one weight per class.
        Some(w) => (0..call.classes).map(|k| f64::from(unsafe { read_one(w.dtype, w.at(k)) })).sum(),
        None => call.classes as f64,
    };
    let loss = TokenCrossEntropy {
        smoothing: call.opts.label_smoothing,
        share: call.opts.label_smoothing / call.classes as f64,
        z_weight: call.opts.z_weight,
        softcap: call.opts.softcap as f32,
        weights: call.class_weights,
        weight_sum,
    };
    rows::run(cpu, &loss, rows_problem!(call));
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = RowsPlan {
        class_weights: a.class_weights,
        needs_weight_sum: a.opts.label_smoothing > 0.0,
        ..rows_plan!(a)
    };
    Ok(cuda::rows::run(device, "token_cross_entropy", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let smoothed = a.opts.label_smoothing > 0.0;
    cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), smoothed)
}
