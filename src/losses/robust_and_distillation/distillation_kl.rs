//! l = T^2 KL(softmax(t / T) || softmax(x / T)).

use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_pair::{self, PairStats};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::NO_LABEL;
use crate::registry::entries::distillation_kl::Call;

struct DistillationKl {
    temperature: f64,
}

/// Rows: teacher, student.
impl RowSetLoss<2> for DistillationKl {
    type State = PairStats;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, rows: &[Row; 2]) -> PairStats {
        row_pair::stats(s, rows, NO_LABEL, (1.0 / self.temperature) as f32)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, stats: &PairStats) -> f32 {
        (self.temperature * self.temperature * stats.divergence()) as f32
    }

    /// dl/dx = T (softmax(x / T) - softmax(t / T)).
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        stats: &PairStats,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
    ) {
        let weight = f64::from(scale) * self.temperature;
        row_pair::map_terms(
            s,
            rows,
            stats,
            [weight; 2],
            [out[1].as_ref()],
            #[inline(always)]
            |[p, mut q], _| {
                for v in 0..4 {
                    q[v] = s.sub(q[v], p[v]);
                }
                [q]
            },
        );
    }

    fn lanes(&self) -> Option<impl LaneLoss<2>> {
        Some(self)
    }
}

impl LaneLoss<2> for &DistillationKl {
    /// T, and what makes the terms of teacher and student probabilities.
    type State<S: Simd> = (S::F, [S::F; 2]);

    /// KL = sum_k p_k phi(log q_k - log p_k), phi(d) = e^d - 1 - d: no term is negative, and an error common to all
    /// logarithms counts by its square only.
    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [teacher, student]: &mut [Classes<S>; 2],
        _saved: Option<Stats<S>>,
    ) -> LaneRows<S, (S::F, [S::F; 2])> {
        let (zero, low) = (s.zero(), s.splat(f32::NEG_INFINITY));
        let f = s.splat((1.0 / self.temperature) as f32);
        let (mut top, mut sum) = ([low; 2], [zero; 2]);
        for (i, classes) in [&mut *teacher, &mut *student].into_iter().enumerate() {
            top[i] = classes.top(s);
            [sum[i]] = classes.sums_by_pair(
                s,
                #[inline(always)]
                |classes, k, [mut sums]| {
                    let mut x = classes.pair(s, k);
                    for x in &mut x {
                        *x = s.mul(f, s.sub(*x, top[i]));
                    }
                    let terms = s.softmax_pair(x);
                    for v in 0..2 {
                        sums[v] = s.add(sums[v], terms[v]);
                    }
                    classes.set_pair(s, k, x);
                    classes.set_pair_of_terms(s, k, terms);
                    [sums]
                },
            );
        }
        let one = s.splat(1.0);
        let inverse = [s.div(one, sum[0]), s.div(one, sum[1])];
        // log q - log p is the difference of the exponents and this.
        let apart = math::ln(s, s.div(sum[0], sum[1]));
        let [divergence] = teacher.sums(
            s,
            #[inline(always)]
            |teacher, k, [sum]| {
                let p = s.mul(inverse[0], teacher.term(s, k));
                let q = s.mul(inverse[1], student.term(s, k));
                let d = s.add(s.sub(student.get(s, k), teacher.get(s, k)), apart);
                let near = s.mul(s.mul(p, d), s.mul(d, math::exp_excess(s, d)));
                let far = s.sub(s.sub(q, p), s.mul(p, d));
                let term = s.select(s.lt(s.abs(d), s.splat(0.34)), near, far);
                // A class of probability 0 has no logarithm.
                [s.add(sum, s.select(s.eq(p, zero), q, term))]
            },
        );
        let temperature = s.splat(self.temperature as f32);
        let finite = s.lt(s.add(s.abs(top[0]), s.abs(top[1])), s.splat(1e30));
        LaneRows {
            stats: [zero; 4],
            loss: s.mul(s.mul(temperature, temperature), divergence),
            own: zero,
            ordinary: s.and(finite, s.lt(divergence, s.splat(1e4))),
            state: (temperature, inverse),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        &(temperature, inverse): &(S::F, [S::F; 2]),
        [teacher, student]: &[Classes<S>; 2],
        k: usize,
        scale: S::F,
    ) -> [S::F; 2] {
        let (p, q) = (s.mul(inverse[0], teacher.term(s, k)), s.mul(inverse[1], student.term(s, k)));
        [s.zero(), s.mul(s.mul(scale, temperature), s.sub(q, p))]
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = DistillationKl { temperature: call.opts.temperature };
    row_sets::run(cpu, &loss, row_sets_problem!(call, rows, [teacher, student], [-, grad_student]));
    Ok(())
}

row_sets_cuda!(distillation_kl, rows, classes, [grad_student]);
