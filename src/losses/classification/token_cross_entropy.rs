//! l = -(1 - e) w_y log p_y - (e/C) sum_k w_k log p_k + z_weight lse^2, on logits capped by
//! c tanh(z / c) where softcap c > 0.

use crate::cpu::rows::{self, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::softmax::{Accumulator, SoftmaxStats};
use crate::cpu::storage::{load_vector, read_one};
use crate::cpu::{Cpu, simd::Simd, simd::math};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, rows::{RowsPlan, rows_plan}};
#[cfg(gpu)]
use crate::registry::{Reduction, entries::token_cross_entropy::Args};
use crate::registry::entries::token_cross_entropy::Call;
use crate::registry::{Floats, Result};
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
    softmax: SoftmaxStats,
    /// sum_k w_k (z_k - max), with smoothing only; the gradient does without.
    spread: f32,
}

impl TokenCrossEntropy<'_> {
    fn class_weight(&self, class: usize) -> f64 {
        // SAFETY: labels are checked against the number of classes.
        self.weights.map_or(1.0, |w| f64::from(unsafe { read_one(w.dtype, w.at(class)) }))
    }

    #[inline(always)]
    fn capped<S: Simd>(&self, s: S, z: S::F) -> S::F {
        let cap = s.splat(self.softcap);
        s.mul(cap, math::tanh(s, s.div(z, cap)))
    }

    #[inline(always)]
    fn capped_one<S: Simd>(&self, s: S, z: f32) -> f32 {
        if self.softcap > 0.0 { s.reduce_max(self.capped(s, s.splat(z))) } else { z }
    }

    #[inline(always)]
    fn add<S: Simd>(&self, s: S, sums: &mut Sums<S>, start: usize, block: &[f32]) {
        sums.softmax.add(start, block);
        if self.smoothing == 0.0 {
            return;
        }
        sums.weighted = rows::fold(
            s,
            block,
            0.0,
            sums.weighted,
            #[inline(always)]
            |acc, z, k| match self.weights {
                // A class of weight 0 does not count, not even with a logit of -inf.
                Some(weights) => {
                    // SAFETY: one weight per class.
                    let w = unsafe { load_vector(s, weights, start + k) };
                    s.d_mul_add(acc, w, s.select(s.eq(w, s.splat(0.0)), s.splat(0.0), z))
                }
                None => s.d_add(acc, z),
            },
        );
    }
}

/// What the first sweep adds up: the softmax, and sum_k w_k z_k with smoothing.
struct Sums<S: Simd> {
    softmax: Accumulator<S>,
    weighted: [S::D; 4],
}

impl RowLoss for TokenCrossEntropy<'_> {
    type Stats = Stats;
    const SAVED: usize = 3;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Stats {
        let mut sums = Sums { softmax: Accumulator::new(s, label), weighted: [s.d_zero(); 4] };
        if self.softcap > 0.0 {
            row.mapped_blocks(
                s,
                #[inline(always)]
                |z| self.capped(s, z),
                #[inline(always)]
                |start, block| self.add(s, &mut sums, start, block),
            );
        } else {
            row.blocks(
                s,
                #[inline(always)]
                |start, block| self.add(s, &mut sums, start, block),
            );
        }
        let softmax = sums.softmax.finish(self.capped_one(s, row.get(label)));
        let spread = rows::total(s, sums.weighted) - self.weight_sum * f64::from(softmax.max);
        Stats { softmax, spread: spread as f32 }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, stats: &Stats, row: &Row, label: usize) -> f32 {
        let softmax = &stats.softmax;
        let mut loss = 0.0;
        if self.smoothing < 1.0 {
            let own = self.capped_one(s, row.get(label));
            loss += (1.0 - self.smoothing) * self.class_weight(label) * f64::from(softmax.neg_log_prob(s, own));
        }
        if self.smoothing > 0.0 {
            loss += self.share * (self.weight_sum * softmax.sum().ln() - f64::from(stats.spread));
        }
        if self.z_weight > 0.0 {
            loss += self.z_weight * softmax.log_sum_exp().powi(2);
        }
        loss as f32
    }

    /// dl/dz_k = (Q + 2 z_weight lse) p_k - q_k, q_k = (e/C) w_k + (1 - e) w_y delta_ky, Q its sum; times
    /// 1 - (z_k / c)^2 with a cap.
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, stats: &Stats, row: &Row, label: usize, scale: f32, out: &RowOut) {
        let softmax = &stats.softmax;
        let scale = f64::from(scale);
        let own_logit = self.capped_one(s, row.get(label));
        let hard = (1.0 - self.smoothing) * self.class_weight(label);
        let mut soft = self.share * self.weight_sum;
        if self.z_weight > 0.0 {
            soft += 2.0 * self.z_weight * softmax.log_sum_exp();
        }
        let max = s.splat(softmax.max);
        let factor = s.splat((scale * (hard + soft) / softmax.sum()) as f32);
        let share = (scale * self.share) as f32;
        let inverse_cap = s.splat(1.0 / self.softcap);
        let one = s.splat(1.0);
        match (self.softcap > 0.0, self.smoothing > 0.0) {
            (false, false) => row.map_to(s, out, #[inline(always)] |z, _| s.mul(factor, math::exp_softmax(s, s.sub(z, max)))),
            (capped, smoothed) => row.map_to(s, out, #[inline(always)] |z, k| {
                let z = if capped { self.capped(s, z) } else { z };
                let mut g = s.mul(factor, math::exp_softmax(s, s.sub(z, max)));
                if smoothed {
                    // SAFETY: one weight per class.
                    let w = match self.weights {
                        Some(w) => unsafe { load_vector(s, w, k) },
                        None => one,
                    };
                    g = s.sub(g, s.mul(s.splat(share), w));
                }
                if capped {
                    let t = s.mul(z, inverse_cap);
                    g = s.mul(g, s.sub(one, s.mul(t, t)));
                }
                g
            }),
        }
        // The label's own element from 1 - p_y, which p_y - 1 would lose.
        let (own, rest) = softmax.own_prob();
        let mut g = soft * own - hard * rest;
        if self.smoothing > 0.0 {
            g -= self.share * self.class_weight(label);
        }
        if self.softcap > 0.0 {
            let t = f64::from(own_logit) / f64::from(self.softcap);
            g *= 1.0 - t * t;
        }
        out.set(label, (scale * g) as f32);
    }

    fn weight(&self, label: usize) -> f64 {
        self.class_weight(label)
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
    cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), a.opts.label_smoothing > 0.0)
}
