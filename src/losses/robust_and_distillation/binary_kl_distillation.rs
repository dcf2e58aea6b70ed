//! l = T^2 sum over classes of KL(Bernoulli(q) || Bernoulli(p)), q = sigmoid(t / T), p = sigmoid(x / T).

use crate::cpu::row::{Row, RowOut, map_rows};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Kernel, Simd, dispatch, math};
use crate::registry::entries::binary_kl_distillation::Call;
use std::cell::Cell;

struct BinaryKl {
    temperature: f64,
}

/// A class of teacher and student, mirrored where that makes q at most 1/2.
struct Class<S: Simd> {
    mirrored: S::M,
    q: S::F,
    /// Student's logit, and by how much it is larger than the teacher's, over T.
    student: S::F,
    step: S::F,
    /// exp(step) - 1 where that is no larger than `far`.
    growth: S::F,
    far: S::M,
    /// p - q where it is not far.
    near: S::F,
}

/// Beyond this exp(step) may overflow, and p is so much larger than q that their difference is exact.
const FAR: f32 = 80.0;

impl<S: Simd> Class<S> {
    #[inline(always)]
    fn new(s: S, t: S::F, x: S::F, factor: S::F) -> Self {
        let mirrored = s.gt(t, s.zero());
        let sign = s.select(mirrored, s.splat(-1.0), s.splat(1.0));
        // The difference first: exact for logits close to each other.
        let step = s.mul(sign, s.mul(factor, s.sub(x, t)));
        let e = math::exp_neg_abs(s, s.mul(factor, t));
        let far = s.gt(step, s.splat(FAR));
        let growth = math::exp_m1_of(s, s.max(s.splat(-18.0), s.select(far, s.zero(), step)));
        // q = e / (1 + e) and p - q = q (1 - q) growth / (1 + q growth) with one division.
        let (grown, below) = (s.mul(e, growth), s.add(s.splat(1.0), e));
        let above = s.add(below, grown);
        let inverse = s.div(s.splat(1.0), s.mul(below, above));
        let q = s.mul(e, s.mul(above, inverse));
        let student = s.mul(sign, s.mul(factor, x));
        Class { mirrored, q, student, step, growth, far, near: s.mul(grown, inverse) }
    }

    /// log(1 + q (exp(step) - 1)) - q step: the divergence.
    #[inline(always)]
    fn divergence(&self, s: S) -> S::F {
        let near = s.mul(self.q, self.growth);
        if !s.any(self.far) {
            return s.sub(math::ln_1p_above(s, near), s.mul(self.q, self.step));
        }
        // Far away log((1 + exp(student)) (1 - q)) in place of the first term.
        let tail = math::exp(s, s.neg(s.abs(self.student)));
        let tail = s.sub(s.mul(tail, s.sub(s.splat(1.0), self.q)), self.q);
        let log = math::ln_1p_above(s, s.select(self.far, tail, near));
        let above = s.select(self.far, s.max(s.zero(), self.student), s.zero());
        s.sub(s.add(log, above), s.mul(self.q, self.step))
    }

    /// p - q.
    #[inline(always)]
    fn difference(&self, s: S) -> S::F {
        let d = if s.any(self.far) {
            s.select(self.far, s.sub(math::sigmoid(s, self.student), self.q), self.near)
        } else {
            self.near
        };
        s.select(self.mirrored, s.neg(d), d)
    }
}

/// Sums the divergences, and writes the gradient, which does not depend on the sum and shares most of its terms.
struct Sweep<'a> {
    temperature: f64,
    rows: &'a [Row; 2],
    wants_sum: bool,
    scale: f32,
    out: Option<&'a RowOut>,
}

impl Kernel for Sweep<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let s = s.wide();
        let factor = s.splat((1.0 / self.temperature) as f32);
        let weight = s.splat((f64::from(self.scale) * self.temperature) as f32);
        let sum = Cell::new(s.d_zero());
        map_rows(
            s,
            self.rows,
            [self.out],
            #[inline(always)]
            |[t, x], _| {
                // Equal logits, as beyond the end, add nothing.
                let class = Class::new(s, t, x, factor);
                if self.wants_sum {
                    sum.set(s.d_add(sum.get(), class.divergence(s)));
                }
                [s.mul(weight, class.difference(s))]
            },
        );
        s.d_sum(sum.get())
    }
}

impl BinaryKl {
    /// In one copy for all callers.
    #[inline(always)]
    fn sweep<S: Simd>(
        &self,
        s: S,
        rows: &[Row; 2],
        wants_sum: bool,
        scale: f32,
        out: Option<&RowOut>,
    ) -> f64 {
        dispatch::apart(s, Sweep { temperature: self.temperature, rows, wants_sum, scale, out })
    }
}

/// Rows: teacher, student.
impl RowSetLoss<2> for BinaryKl {
    /// The sum of the divergences.
    type State = f64;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, rows: &[Row; 2]) -> f64 {
        self.sweep(s, rows, true, 1.0, None)
    }

    #[inline(always)]
    fn state_and_gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
        wants_loss: bool,
    ) -> f64 {
        self.sweep(s, rows, wants_loss, scale, out[1].as_ref())
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, sum: &f64) -> f32 {
        (self.temperature * self.temperature * sum) as f32
    }

    /// dl/dx = T (p - q).
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        _sum: &f64,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
    ) {
        self.sweep(s, rows, false, scale, out[1].as_ref());
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = BinaryKl { temperature: call.opts.temperature };
    row_sets::run(cpu, &loss, row_sets_problem!(call, rows, [teacher, student], [-, grad_student]));
    Ok(())
}

row_sets_cuda!(binary_kl_distillation, rows, classes, [grad_student]);
