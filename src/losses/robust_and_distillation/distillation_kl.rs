//! l = T^2 KL(softmax(t / T) || softmax(x / T)).

use crate::cpu::row::{Row, RowOut, map_rows_by_four};
use crate::cpu::row_pair::{self, PairStats};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Simd, math};
use crate::registry::entries::distillation_kl::Call;

struct DistillationKl {
    temperature: f64,
}

/// Rows: teacher, student.
impl RowSetLoss<2> for DistillationKl {
    type State = PairStats;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, rows: &[Row; 2]) -> PairStats {
        row_pair::stats(s, rows, (1.0 / self.temperature) as f32)
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
        let f = s.splat((1.0 / self.temperature) as f32);
        let weight = |i: usize| s.splat((f64::from(scale) * self.temperature / stats.sum[i]) as f32);
        let (p_weight, q_weight) = (weight(0), weight(1));
        let top = stats.top.map(|t| s.splat(t));
        map_rows_by_four(
            s,
            rows,
            [out[1].as_ref()],
            #[inline(always)]
            |[t, x], _| {
                let p = math::exp_scaled(s, t, top[0], f);
                let mut q = math::exp_scaled(s, x, top[1], f);
                for v in 0..4 {
                    q[v] = s.sub(s.mul(q_weight, q[v]), s.mul(p_weight, p[v]));
                }
                [q]
            },
        );
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = DistillationKl { temperature: call.opts.temperature };
    row_sets::run(cpu, &loss, row_sets_problem!(call, rows, [teacher, student], [-, grad_student]));
    Ok(())
}

row_sets_cuda!(distillation_kl, rows, classes, [grad_student]);
