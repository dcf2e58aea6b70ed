//! l = (pred - target)^2.

use crate::cpu::elements::{self, ElementLoss, Operand};
use crate::cpu::{Cpu, simd::Simd};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, elements::ElementsPlan};
use crate::registry::entries::mse_loss::Call;
#[cfg(gpu)]
use crate::registry::{Pass, entries::mse_loss::Args};
use crate::registry::{Reduction, Result};

struct MseLoss;

impl ElementLoss<2, 2> for MseLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        let d = s.sub(pred, target);
        s.mul(d, d)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let d = s.sub(pred, target);
        let g = s.add(d, d);
        [g, s.neg(g)]
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let problem = elements::Problem {
        n: call.n,
        inputs: [Operand::Full(call.pred), Operand::Full(call.target)],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [call.grad_pred, call.grad_target],
    };
    elements::run(cpu, &MseLoss, problem);
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = ElementsPlan {
        n: a.n,
        reduction: Reduction::from_code(a.opts.reduction),
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        wants_gradient: !a.grad_pred.is_null() || !a.grad_target.is_null(),
        workspace: a.workspace,
    };
    Ok(cuda::elements::run(device, "mse_loss", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::elements::workspace_size(a.n, Reduction::from_code(a.opts.reduction))
}
