//! l = |pred - target|.

use crate::cpu::elements::{self, ElementLoss, Operand};
use crate::cpu::{Cpu, simd::Simd};
#[cfg(gpu)]
use crate::cuda::{self, Device, bytes_of, elements::ElementsPlan};
use crate::registry::entries::l1_loss::Call;
#[cfg(gpu)]
use crate::registry::{Pass, entries::l1_loss::Args};
use crate::registry::{Reduction, Result};

struct L1Loss;

impl ElementLoss<2, 2> for L1Loss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> S::F {
        s.abs(s.sub(pred, target))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [pred, target]: [S::F; 2]) -> [S::F; 2] {
        let d = s.sub(pred, target);
        // sign(d); 0 and NaN as they are.
        let zero = s.eq(d, s.zero());
        let known = s.or(zero, s.is_nan(d));
        let g = s.select(known, d, s.copysign(s.splat(1.0), d));
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
    elements::run(cpu, &L1Loss, problem);
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
    Ok(cuda::elements::run(device, "l1_loss", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::elements::workspace_size(a.n, Reduction::from_code(a.opts.reduction))
}
