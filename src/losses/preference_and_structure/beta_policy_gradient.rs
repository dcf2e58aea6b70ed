//! l = -A log_prob - w sum H of Beta(a, b) at x, element by element in f64: ln Gamma of a, b and a + b for the loss, their
//! digammas for the gradient, trigammas where the entropy counts.

use crate::cpu::Cpu;
use crate::cpu::parallel::Cells;
use crate::cpu::row::{Row, RowOut, blocks_of, map_rows};
use crate::cpu::row_sets::{self, RowSetLoss};
use crate::cpu::simd::Simd;
use crate::cpu::special::{gamma, ln_by};
use crate::cpu::storage::read_one;
use crate::registry::entries::beta_policy_gradient::Call;
use crate::registry::{Floats, Reduction, Result};

/// Elements at a time; vectors of f64 of every width.
const CHUNK: usize = 16;

struct BetaPolicy<'a> {
    rewards: Floats<'a>,
    /// Subtracted from rewards, and what they are then multiplied by.
    baseline: f64,
    scale: f64,
    entropy_weight: f64,
    /// Loss or log_prob.
    wants_values: bool,
    log_prob: Option<Cells<'a>>,
}

struct State {
    advantage: f64,
    log_prob: f64,
    entropy: f64,
}

/// `factor ln x`, 0 where the factor is; a NaN stays.
#[inline(always)]
fn times_ln(fma: bool, factor: f64, x: f64) -> f64 {
    let value = factor * ln_by(fma, x);
    if factor == 0.0 && !x.is_nan() { 0.0 } else { value }
}

/// log-density and, if `H`, entropy of an element.
#[inline(always)]
fn values<const H: bool>(fma: bool, a: f64, b: f64, x: f64) -> (f64, f64) {
    let [of_a, of_b, of_sum] = [
        gamma::<true, H, false>(fma, a),
        gamma::<true, H, false>(fma, b),
        gamma::<true, H, false>(fma, a + b),
    ];
    let divisors = ln_by(fma, of_a.divisor * of_b.divisor / of_sum.divisor);
    let ln_beta = (of_a.ln + of_b.ln) - of_sum.ln - divisors;
    let log_prob = times_ln(fma, a - 1.0, x) + times_ln(fma, b - 1.0, 1.0 - x) - ln_beta;
    if !H {
        return (log_prob, 0.0);
    }
    (log_prob, ln_beta - (a - 1.0) * of_a.psi - (b - 1.0) * of_b.psi + (a + b - 2.0) * of_sum.psi)
}

/// The gradients of -A log_prob - w H.
#[inline(always)]
fn slopes<const H: bool>(fma: bool, a: f64, b: f64, x: f64, advantage: f64, weight: f64) -> (f64, f64) {
    let [of_a, of_b, of_sum] = [
        gamma::<false, true, H>(fma, a),
        gamma::<false, true, H>(fma, b),
        gamma::<false, true, H>(fma, a + b),
    ];
    let da = -advantage * (ln_by(fma, x) + (of_sum.psi - of_a.psi));
    let db = -advantage * (ln_by(fma, 1.0 - x) + (of_sum.psi - of_b.psi));
    if !H {
        return (da, db);
    }
    let common = (a + b - 2.0) * of_sum.psi1;
    (da - weight * (common - (a - 1.0) * of_a.psi1), db - weight * (common - (b - 1.0) * of_b.psi1))
}

impl BetaPolicy<'_> {
    #[inline(always)]
    fn sums<S: Simd, const H: bool>(&self, s: S, rows: &[Row; 3]) -> (f64, f64) {
        let (mut log_prob, mut entropy) = ([0.0f64; CHUNK], [0.0f64; CHUNK]);
        blocks_of(
            s,
            rows,
            #[inline(always)]
            |_, [a, b, x]| {
                for start in (0..a.len()).step_by(CHUNK) {
                    let count = CHUNK.min(a.len() - start);
                    // Where there is nothing: Beta(1, 1), whose density is 1.
                    let (mut p, mut q, mut r) = ([1.0f64; CHUNK], [1.0f64; CHUNK], [0.5f64; CHUNK]);
                    for k in 0..count {
                        p[k] = f64::from(a[start + k]);
                        q[k] = f64::from(b[start + k]);
                        r[k] = f64::from(x[start + k]);
                    }
                    let (mut l, mut h) = ([0.0f64; CHUNK], [0.0f64; CHUNK]);
                    for k in 0..CHUNK {
                        (l[k], h[k]) = values::<H>(S::FMA, p[k], q[k], r[k]);
                    }
                    for k in 0..count {
                        log_prob[k] += l[k];
                        entropy[k] += h[k];
                    }
                }
            },
        );
        (log_prob.iter().sum(), entropy.iter().sum())
    }

    #[inline(always)]
    fn write<S: Simd, const H: bool>(
        &self,
        s: S,
        advantage: f64,
        rows: &[Row; 3],
        scale: f32,
        out: [Option<&RowOut>; 2],
    ) {
        let weight = self.entropy_weight;
        map_rows(
            s,
            rows,
            out,
            #[inline(always)]
            |[a, b, x], _| {
                let mut of = [[0.5f32; CHUNK]; 3];
                let mut g = [[0.0f32; CHUNK]; 2];
                const { assert!(S::LANES <= CHUNK) };
                // SAFETY: room for a vector each.
                unsafe {
                    s.store(of[0].as_mut_ptr(), a);
                    s.store(of[1].as_mut_ptr(), b);
                    s.store(of[2].as_mut_ptr(), x);
                    for k in 0..S::LANES {
                        let [a, b, x] = [f64::from(of[0][k]), f64::from(of[1][k]), f64::from(of[2][k])];
                        let (da, db) = slopes::<H>(S::FMA, a, b, x, advantage, weight);
                        g[0][k] = (f64::from(scale) * da) as f32;
                        g[1][k] = (f64::from(scale) * db) as f32;
                    }
                    [s.load(g[0].as_ptr()), s.load(g[1].as_ptr())]
                }
            },
        );
    }
}

impl RowSetLoss<3> for BetaPolicy<'_> {
    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 3]) -> State {
        // SAFETY: row r has a reward.
        let reward = f64::from(unsafe { read_one(self.rewards.dtype, self.rewards.at(r)) });
        let (log_prob, entropy) = if !self.wants_values {
            (0.0, 0.0)
        } else if self.entropy_weight > 0.0 {
            self.sums::<S, true>(s, rows)
        } else {
            self.sums::<S, false>(s, rows)
        };
        if let Some(out) = self.log_prob {
            out.set(r, log_prob as f32);
        }
        State { advantage: (reward - self.baseline) * self.scale, log_prob, entropy }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        let of_entropy = if self.entropy_weight > 0.0 { self.entropy_weight * state.entropy } else { 0.0 };
        (-state.advantage * state.log_prob - of_entropy) as f32
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        state: &State,
        rows: &[Row; 3],
        scale: f32,
        [one, zero, _]: &[Option<RowOut>; 3],
    ) {
        let out = [one.as_ref(), zero.as_ref()];
        if self.entropy_weight > 0.0 {
            self.write::<S, true>(s, state.advantage, rows, scale, out);
        } else {
            self.write::<S, false>(s, state.advantage, rows, scale, out);
        }
    }
}

/// The rewards' mean, and one over their population deviation plus 1e-8.
fn standard(rewards: Floats, rows: usize) -> (f64, f64) {
    // SAFETY: within the buffer.
    let all = || (0..rows).map(|r| f64::from(unsafe { read_one(rewards.dtype, rewards.at(r)) }));
    let mean = all().sum::<f64>() / rows as f64;
    let variance = all().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows as f64;
    (mean, 1.0 / (variance.sqrt() + 1e-8))
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (baseline, scale) = match call.opts.normalize {
        0 => (call.opts.baseline, 1.0),
        _ => standard(call.rewards, call.rows),
    };
    let loss = BetaPolicy {
        rewards: call.rewards,
        baseline,
        scale,
        entropy_weight: call.opts.entropy_weight,
        wants_values: call.loss.is_some() || call.log_prob.is_some(),
        log_prob: call.log_prob.as_deref_mut().map(Cells::new),
    };
    let problem = row_sets::Problem {
        rows: call.rows,
        inputs: [call.concentration1, call.concentration0, call.actions],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [call.grad_concentration1, call.grad_concentration0, None],
        more_gradients: false,
    };
    row_sets::run(cpu, &loss, problem);
    Ok(())
}

#[cfg(gpu)]
use crate::registry::entries::beta_policy_gradient::Args;

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::bytes_of;
    use crate::cuda::rows::{self, RowsPlan};
    if a.opts.normalize != 0 && a.rows > 0 {
        // SAFETY: a struct of integers, floats and pointers.
        device.launch("beta_policy_rewards", [1, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(a) })?;
    }
    let plan = RowsPlan {
        rows: a.rows,
        classes: a.d,
        dtype: a.dtype,
        reduction: Reduction::from_code(a.opts.reduction),
        pass: crate::registry::Pass::from_code(a.pass),
        loss: a.loss,
        wants_more: !a.log_prob.is_null(),
        wants_gradient: !a.grad_concentration1.is_null() || !a.grad_concentration0.is_null(),
        labels: std::ptr::null(),
        ignore_index: 0,
        class_weights: std::ptr::null(),
        needs_weight_sum: false,
        workspace: a.workspace,
    };
    Ok(rows::run(device, "beta_policy_gradient", unsafe { bytes_of(a) }, &plan)?)
}

/// The header holds the mean and scale of the rewards.
#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    crate::cuda::rows::workspace_size(a.rows, a.d, Reduction::from_code(a.opts.reduction), true)
}
