//! l = T^2 KL(softmax(t / T) || softmax(x / T)).

use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_pair::{self, PairStats};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::Simd;
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
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = DistillationKl { temperature: call.opts.temperature };
    row_sets::run(cpu, &loss, row_sets_problem!(call, rows, [teacher, student], [-, grad_student]));
    Ok(())
}

row_sets_cuda!(distillation_kl, rows, classes, [grad_student]);
