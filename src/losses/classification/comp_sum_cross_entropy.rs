//! l = expm1((1 - tau) v) / (1 - tau),  v = logsumexp(z) - z_y;  v itself at tau = 1.

use crate::cpu::rows::{self, LaneLoss, NegLogProb, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::softmax::{self, Odds, SoftmaxStats};
use crate::cpu::{Cpu, simd::Simd};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, rows::rows_plan};
use crate::registry::Result;
use crate::registry::entries::comp_sum_cross_entropy::Call;
#[cfg(gpu)]
use crate::registry::{Reduction, entries::comp_sum_cross_entropy::Args};

struct CompSum {
    /// 1 - tau.
    c: f64,
}

impl RowLoss for CompSum {
    type Stats = SoftmaxStats;
    const POSTPONES: bool = true;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> SoftmaxStats {
        softmax::stats(s, row, label)
    }

    type State = (f32, Odds);

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, stats: SoftmaxStats, _row: &Row, _label: usize) -> (f32, Odds) {
        (stats.top, stats.odds(s))
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, (_, odds): &(f32, Odds), _label: usize) -> f32 {
        if self.c == 0.0 {
            return odds.neg_log_prob(s) as f32;
        }
        // expm1(c v) / c keeps its accuracy down to the smallest c.
        ((self.c * odds.neg_log_prob_f64()).exp_m1() / self.c) as f32
    }

    /// dl/dz_k = -p_y^(tau - 1) (delta_ky - p_k).
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        (top, odds): &(f32, Odds),
        row: &Row,
        label: usize,
        scale: f32,
        out: &RowOut,
    ) {
        let mut factor = f64::from(scale);
        if self.c != 0.0 {
            factor *= (self.c * odds.neg_log_prob_f64()).exp();
        }
        softmax::write_terms(s, row, *top, factor * odds.share, out);
        out.set(label, (-factor * odds.others) as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        (self.c == 0.0).then_some(NegLogProb)
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    rows::run(cpu, &CompSum { c: 1.0 - call.opts.tau }, rows_problem!(call));
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = rows_plan!(a);
    Ok(cuda::rows::run(device, "comp_sum_cross_entropy", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), false)
}
