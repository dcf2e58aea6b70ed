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
    /// softplus(+-z) is a common tail, and |z| in the one whose argument is positive.
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [z, t, w, q]: [S::F; 4]) -> S::F {
        let (negative, positive) = (s.sub(s.splat(1.0), t), s.mul(q, t));
        let wrong = s.select(s.lt(z, s.zero()), positive, negative);
        s.mul(w, s.mul_add(wrong, s.abs(z), s.mul(s.add(negative, positive), tail(s, z))))
    }

    /// dl/dz = w ((1 - t) sigmoid(z) - q t sigmoid(-z));  dl/dt = w (q softplus(-z) - softplus(z)).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [z, t, w, q]: [S::F; 4]) -> [S::F; 2] {
        let one = s.splat(1.0);
        let e = decay(s, z);
        let near = s.recip(s.add(one, e));
        let far = s.mul(e, near);
        let below = s.lt(z, s.zero());
        let (up, down) = (s.select(below, far, near), s.select(below, near, far));
        let (negative, positive) = (s.sub(one, t), s.mul(q, t));
        let dz = s.mul_add(negative, up, s.neg(s.mul(positive, down)));
        let dt = if self.want_target {
            let tail = tail(s, z);
            let (up, down) = (s.add(s.max(s.zero(), z), tail), s.add(s.max(s.zero(), s.neg(z)), tail));
            s.sub(s.mul(q, down), up)
        } else {
            s.zero()
        };
        [s.mul(w, dz), s.mul(w, dt)]
    }
}

#[inline(always)]
fn decay<S: Simd>(s: S, z: S::F) -> S::F {
    math::exp(s, s.neg(s.abs(z)))
}

/// softplus(-|z|).
#[inline(always)]
fn tail<S: Simd>(s: S, z: S::F) -> S::F {
    math::ln_1p_unit(s, decay(s, z))
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
