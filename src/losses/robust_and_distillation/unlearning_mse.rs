//! l = mean squared error to mismatched targets, plus that of what is retained.

use crate::cpu::elements::{self, Operand, Problem};
use crate::losses::shared::MseLoss;
use crate::registry::entries::unlearning_mse::Call;
use crate::registry::{Floats, FloatsMut, Reduction, Result};

struct Side<'a> {
    n: usize,
    pred: Floats<'a>,
    target: Floats<'a>,
    weight: f64,
    gradient: Option<FloatsMut<'a>>,
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let forget = Side {
        n: call.n,
        pred: call.forget_pred,
        target: call.mismatched_target,
        weight: 1.0,
        gradient: call.grad_forget_pred,
    };
    let retain = Side {
        n: call.m,
        pred: call.retain_pred,
        target: call.retain_target,
        weight: call.opts.retain_weight,
        gradient: call.grad_retain_pred,
    };
    let upstream = call.grad_loss.map_or(1.0, |g| f64::from(g[0]));
    let mut total = 0.0;
    for side in [forget, retain] {
        let mut loss = [0.0];
        let grad_loss = [(upstream * side.weight) as f32];
        let problem = Problem {
            n: side.n,
            rows: side.n,
            inputs: [Operand::full(side.pred), Operand::full(side.target)],
            reduction: Reduction::Mean,
            loss: call.loss.is_some().then_some(&mut loss[..]),
            grad_loss: Some(&grad_loss),
            gradients: [side.gradient, None],
        };
        elements::run(cpu, &MseLoss, problem);
        if side.weight > 0.0 && side.n > 0 {
            total += side.weight * f64::from(loss[0]);
        }
    }
    if let Some(loss) = &mut call.loss {
        loss[0] = total as f32;
    }
    Ok(())
}

#[cfg(gpu)]
use crate::registry::entries::unlearning_mse::Args;

/// The elements of both sides, each with its weight over their number: a sum.
#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::elements::{self, ElementsPlan};
    let plan = ElementsPlan {
        n: a.n + a.m,
        rows: 1,
        reduction: Reduction::Sum,
        pass: crate::registry::Pass::from_code(a.pass),
        loss: a.loss,
        wants_more: false,
        wants_gradient: !a.grad_forget_pred.is_null() || !a.grad_retain_pred.is_null(),
        workspace: a.workspace,
    };
    Ok(elements::run(device, "unlearning_mse", unsafe { crate::cuda::bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    crate::cuda::elements::workspace_size(a.n.saturating_add(a.m), Reduction::Sum)
}
