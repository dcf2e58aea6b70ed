//! l = mean cross entropy of what is to be forgotten, plus that of what is retained.

use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::rows::{self, Problem};
use crate::registry::entries::unlearning_cross_entropy::Call;
use crate::registry::{Floats, FloatsMut, Reduction, Result};

struct Side<'a> {
    rows: usize,
    logits: Floats<'a>,
    labels: &'a [i64],
    weight: f64,
    gradient: Option<FloatsMut<'a>>,
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let forget = Side {
        rows: call.n,
        logits: call.forget_logits,
        labels: call.random_labels,
        weight: 1.0,
        gradient: call.grad_forget_logits,
    };
    let retain = Side {
        rows: call.m,
        logits: call.retain_logits,
        labels: call.retain_labels,
        weight: call.opts.retain_weight,
        gradient: call.grad_retain_logits,
    };
    let upstream = call.grad_loss.map_or(1.0, |g| f64::from(g[0]));
    let mut total = 0.0;
    for side in [forget, retain] {
        let mut loss = [0.0];
        let grad_loss = [(upstream * side.weight) as f32];
        let problem = Problem {
            rows: side.rows,
            classes: call.classes,
            logits: side.logits,
            labels: side.labels,
            ignore_index: None,
            reduction: Reduction::Mean,
            loss: call.loss.is_some().then_some(&mut loss[..]),
            saved_in: None,
            saved_out: None,
            grad_loss: Some(&grad_loss),
            grad_logits: side.gradient,
        };
        rows::run(cpu, &CrossEntropy::plain(call.classes), problem);
        if side.weight > 0.0 {
            total += side.weight * f64::from(loss[0]);
        }
    }
    if let Some(loss) = &mut call.loss {
        loss[0] = total as f32;
    }
    Ok(())
}

#[cfg(gpu)]
use crate::registry::entries::unlearning_cross_entropy::Args;

/// The rows of both sides, each with its weight over their number: a sum.
#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::rows::{self, RowsPlan};
    let plan = RowsPlan {
        rows: a.n + a.m,
        classes: a.classes,
        dtype: a.dtype,
        reduction: Reduction::Sum,
        pass: crate::registry::Pass::from_code(a.pass),
        loss: a.loss,
        wants_more: false,
        wants_gradient: !a.grad_forget_logits.is_null() || !a.grad_retain_logits.is_null(),
        labels: std::ptr::null(),
        ignore_index: 0,
        class_weights: std::ptr::null(),
        needs_weight_sum: false,
        workspace: a.workspace,
    };
    Ok(rows::run(device, "unlearning_cross_entropy", unsafe { crate::cuda::bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    crate::cuda::rows::workspace_size(a.n.saturating_add(a.m), a.classes, Reduction::Sum, false)
}
