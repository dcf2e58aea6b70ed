//! The mathematics is that of [`CrossEntropy`], on rows behind a matrix product.

use crate::cpu::Cpu;
use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::linear_rows::{self, Gradients, LinearRows, Problem, Wanted};
use crate::cpu::workspace::Workspace;
#[cfg(gpu)]
use crate::cuda::{
    self, Device,
    linear_rows::{LinearArgs, LinearPlan},
};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::fused_linear_cross_entropy::{Args, Call};
use crate::registry::{DType, Reduction, Result};

pub fn cpu_workspace(a: &Args) -> u64 {
    linear_rows::workspace_bytes(a.rows, 1, a.d, a.classes, a.dtype == DType::F32 as i32)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let o = call.opts;
    let loss = CrossEntropy::new(call.classes, call.class_weights, o.label_smoothing, o.z_weight, o.softcap);
    let problem = Problem {
        x: call.hidden,
        weight: call.weight,
        bias: call.bias,
        labels: call.labels,
        ignore_index: Some(o.ignore_index),
        dropout: None,
        loss: &loss,
    };
    let wanted = Wanted {
        pass: call.pass,
        reduction: Reduction::from_code(o.reduction),
        loss: call.loss.as_deref_mut(),
        saved_in: call.saved_in,
        saved_out: call.saved_out.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: Gradients { x: call.grad_hidden, weight: call.grad_weight, bias: call.grad_bias },
    };
    LinearRows::new(problem, Workspace::new(call.workspace)).run(cpu, wanted);
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let args = LinearArgs {
        x: a.hidden,
        weight: a.weight,
        bias: a.bias,
        labels: a.labels,
        class_weights: a.class_weights,
        grad_loss: a.grad_loss,
        device_flags: a.device_flags,
        rows: a.rows,
        d: a.d,
        classes: a.classes,
        ignore_index: a.opts.ignore_index,
        ignores: 1,
        label_smoothing: a.opts.label_smoothing,
        z_weight: a.opts.z_weight,
        softcap: a.opts.softcap,
        dtype: a.dtype,
        reduction: a.opts.reduction,
        ..Default::default()
    };
    let plan = LinearPlan {
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        saved: a.saved,
        grad_x: a.grad_hidden,
        grad_weight: a.grad_weight,
        grad_bias: a.grad_bias,
        workspace: a.workspace,
    };
    Ok(cuda::linear_rows::run(device, &args, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::linear_rows::workspace_size(a.rows, 1, a.d, a.classes, a.dtype)
}
