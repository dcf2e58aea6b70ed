//! l = w ((1 - t) softplus(z) + q t softplus(-z)), with w = weight, q = pos_weight.

use crate::cpu::elements::{self, ElementLoss, Operand};
use crate::cpu::{Cpu, simd::Simd, simd::math};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, elements::ElementsPlan};
use crate::registry::entries::bce_with_logits::Call;
#[cfg(gpu)]
use crate::registry::{Pass, entries::bce_with_logits::Args};
use crate::registry::{Reduction, Result};

struct BceWithLogits {
    want_target: bool,
}

impl ElementLoss<4, 2> for BceWithLogits {
    /// softplus(z) and softplus(-z) have a common tail; one has |z| besides.
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x @ [z, ..]: [S::F; 4]) -> S::F {
        let [against, with] = factors(s, x);
        let tail = math::ln_1p_unit(s, math::exp_neg_abs(s, z));
        s.mul_add(against, s.abs(z), s.mul(s.add(against, with), tail))
    }

    /// dl/dz = w ((1 - t) sigmoid(z) - q t sigmoid(-z));  dl/dt = w (q softplus(-z) - softplus(z)).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x @ [z, _, w, q]: [S::F; 4]) -> [S::F; 2] {
        let [against, with] = factors(s, x);
        let e = math::exp_neg_abs(s, z);
        let size = s.mul(s.recip(s.add(s.splat(1.0), e)), s.mul_add(s.neg(with), e, against));
        let dz = s.select(s.lt(z, s.zero()), s.neg(size), size);
        if !self.want_target {
            return [dz, s.zero()];
        }
        let tail = math::ln_1p_unit(s, e);
        let (up, down) = (s.add(s.max(s.zero(), z), tail), s.add(s.max(s.zero(), s.neg(z)), tail));
        [dz, s.mul(w, s.sub(s.mul(q, down), up))]
    }
}

/// w (1 - t) and w q t: the weight of what z speaks against, and of what it speaks for.
#[inline(always)]
fn factors<S: Simd>(s: S, [z, t, w, q]: [S::F; 4]) -> [S::F; 2] {
    let (negative, positive) = (s.mul_add(s.neg(w), t, w), s.mul(s.mul(w, q), t));
    let below = s.lt(z, s.zero());
    [s.select(below, positive, negative), s.select(below, negative, positive)]
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let problem = elements::Problem {
        n: call.rows * call.classes,
        inputs: [
            Operand::Full(call.logits),
            Operand::Full(call.target),
            Operand::full_or(call.weight, 1.0),
            Operand::row_or(call.pos_weight, 1.0),
        ],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [call.grad_logits, call.grad_target],
    };
    elements::run(cpu, &BceWithLogits { want_target: call.grad_target.is_some() }, problem);
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = ElementsPlan {
        n: a.rows * a.classes,
        reduction: Reduction::from_code(a.opts.reduction),
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        wants_gradient: !a.grad_logits.is_null() || !a.grad_target.is_null(),
        workspace: a.workspace,
    };
    Ok(cuda::elements::run(device, "bce_with_logits", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::elements::workspace_size(a.rows * a.classes, Reduction::from_code(a.opts.reduction))
}
