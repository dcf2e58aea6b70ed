//! l = -log p_y + w H,  H = -sum_k p_k log p_k.

use crate::cpu::rows::{self, Row, RowLoss, RowOut, rows_problem};
use crate::cpu::softmax_entropy::{self, Entropy, EntropyStats, exponent};
use crate::cpu::{Cpu, simd::Simd, simd::math};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, rows::rows_plan};
use crate::registry::Result;
use crate::registry::entries::entropy_regularized_cross_entropy::Call;
#[cfg(gpu)]
use crate::registry::{Reduction, entries::entropy_regularized_cross_entropy::Args};

struct EntropyRegularized {
    weight: f64,
}

struct State {
    top: f32,
    row: Entropy,
    /// Of the label: its exponent less that of the largest, and its probability.
    lead: f64,
    own: f64,
}

impl State {
    /// -log p_y.
    fn neg_log_prob(&self) -> f64 {
        self.row.log_sum - self.lead
    }
}

impl RowLoss for EntropyRegularized {
    type Stats = EntropyStats;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, _label: usize) -> EntropyStats {
        softmax_entropy::stats(s, row, 1.0)
    }

    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, stats: EntropyStats, row: &Row, label: usize) -> State {
        let lead = f64::from(row.get(label)) - f64::from(stats.top);
        let row = stats.entropy(s);
        State { top: stats.top, own: row.share * lead.exp(), row, lead }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, state: &State, _label: usize) -> f32 {
        (state.neg_log_prob() + self.weight * state.row.entropy) as f32
    }

    /// dl/dz_k = p_k - delta_ky - w p_k (log p_k + H).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, state: &State, row: &Row, label: usize, scale: f32, out: &RowOut) {
        let scale = f64::from(scale);
        // p_k (1 - w (log p_k + H)), log p_k + H = x_k less its mean.
        let constant = s.splat((1.0 + self.weight * state.row.mean) as f32);
        let weight = s.splat(-self.weight as f32);
        let factor = s.splat((scale * state.row.share) as f32);
        let (top, one) = (s.splat(state.top), s.splat(1.0));
        row.map_to(
            s,
            out,
            #[inline(always)]
            |z, _| {
                let x = exponent(s, z, top, one);
                let p = s.mul(factor, math::exp_softmax(s, x));
                s.mul(p, s.mul_add(weight, x, constant))
            },
        );
        // 1 - p_y as a sum where p_y is near 1.
        let others = if state.lead == 0.0 { state.row.others } else { 1.0 - state.own };
        let mixed = if state.own == 0.0 { 0.0 } else { state.own * (state.lead - state.row.mean) };
        out.set(label, (-scale * (others + self.weight * mixed)) as f32);
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
