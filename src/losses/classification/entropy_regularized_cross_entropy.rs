//! l = -log p_y + w H,  H = -sum_k p_k log p_k.

use crate::cpu::rows::{self, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::softmax_entropy::{self, Class, Entropy, EntropyStats};
use crate::cpu::{Cpu, simd::Simd};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, rows::rows_plan};
use crate::registry::Result;
use crate::registry::entries::entropy_regularized_cross_entropy::Call;
#[cfg(gpu)]
use crate::registry::{Reduction, entries::entropy_regularized_cross_entropy::Args};

struct EntropyRegularized {
    weight: f64,
}

impl RowLoss for EntropyRegularized {
    type Stats = EntropyStats;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, _label: usize) -> EntropyStats {
        softmax_entropy::stats(s, row, 1.0)
    }

    type State = (Entropy, Class);

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, stats: EntropyStats, row: &Row, label: usize) -> (Entropy, Class) {
        let whole = stats.entropy(s, 1.0);
        let class = whole.class(s, row.get(label));
        (whole, class)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, (row, class): &(Entropy, Class), _label: usize) -> f32 {
        (class.neg_log_prob + self.weight * row.entropy) as f32
    }

    /// dl/dz_k = p_k - delta_ky - w p_k (log p_k + H), log p_k + H = x_k less its mean.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        (whole, class): &(Entropy, Class),
        row: &Row,
        label: usize,
        scale: f32,
        out: &RowOut,
    ) {
        let (scale, w) = (f64::from(scale), self.weight);
        let top = scale * whole.odds.own * (1.0 - w * whole.top_excess());
        whole.write(s, row, out, scale * whole.odds.share, (1.0 + w * whole.mean, -w), top);
        let excess = match class.own {
            0.0 => 0.0,
            _ if row.get(label) == whole.stats.top => class.own * whole.top_excess(),
            _ => class.own * (class.x - whole.mean),
        };
        out.set(label, (-scale * (class.others + w * excess)) as f32);
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    rows::run(cpu, &EntropyRegularized { weight: call.opts.entropy_weight }, rows_problem!(call));
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = rows_plan!(a);
    Ok(cuda::rows::run(device, "entropy_regularized_cross_entropy", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), false)
}
