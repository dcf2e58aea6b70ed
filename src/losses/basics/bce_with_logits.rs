//! l = w ((1 - t) z + k softplus(-z)), k = 1 + (q - 1) t, with w = weight, q = pos_weight.

use crate::cpu::elements::{self, ElementLoss, Operand};
use crate::cpu::{Cpu, simd::Simd, simd::math};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, elements::ElementsPlan};
#[cfg(gpu)]
use crate::registry::{Pass, entries::bce_with_logits::Args};
use crate::registry::entries::bce_with_logits::Call;
use crate::registry::{Reduction, Result};

struct BceWithLogits {
    want_target: bool,
}

impl ElementLoss<4, 2> for BceWithLogits {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [z, t, w, q]: [S::F; 4]) -> S::F {
        let one = s.splat(1.0);
        let k = s.mul_add(s.sub(q, one), t, one);
        s.mul(w, s.mul_add(s.sub(one, t), z, s.mul(k, math::softplus(s, s.neg(z)))))
    }

    /// dl/dz = w ((1 - t) - k sigmoid(-z));  dl/dt = w (-z + (q - 1) softplus(-z)).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [z, t, w, q]: [S::F; 4]) -> [S::F; 2] {
        let one = s.splat(1.0);
        let q1 = s.sub(q, one);
        let k = s.mul_add(q1, t, one);
        let dz = s.sub(s.sub(one, t), s.mul(k, math::sigmoid(s, s.neg(z))));
        let dt = if self.want_target {
            s.sub(s.mul(q1, math::softplus(s, s.neg(z))), z)
        } else {
            s.splat(0.0)
        };
        [s.mul(w, dz), s.mul(w, dt)]
    }
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
