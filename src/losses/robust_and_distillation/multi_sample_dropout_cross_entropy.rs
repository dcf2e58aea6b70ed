//! Cross entropy behind a matrix product, every row once for each of its dropout samples.

use crate::cpu::Cpu;
use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::dropout::{Dropout, Masks, kept_from};
use crate::cpu::linear_rows::{self, Gradients, LinearRows, Problem, Wanted};
use crate::cpu::philox::Philox;
use crate::cpu::workspace::Workspace;
#[cfg(gpu)]
use crate::cuda::{
    self, Device,
    linear_rows::{LinearArgs, LinearPlan},
};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::multi_sample_dropout_cross_entropy::{Args, Call};
use crate::registry::{DType, Reduction, Result};

pub fn cpu_workspace(a: &Args) -> u64 {
    let samples = a.opts.samples.max(1) as u64;
    linear_rows::workspace_bytes(a.rows, samples, a.d, a.classes, a.dtype == DType::F32 as i32)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let o = call.opts;
    let dropout = Dropout {
        samples: o.samples as usize,
        rows: call.rows,
        masks: match call.masks {
            Some(masks) => Masks::Given(masks),
            None => Masks::Drawn(Philox::new(o.seed, o.offset), kept_from(o.dropout)),
        },
        factor: (1.0 / (1.0 - o.dropout)) as f32,
    };
    let problem = Problem {
        x: call.features,
        weight: call.weight,
        bias: call.bias,
        labels: call.labels,
        ignore_index: None,
        dropout: Some(dropout),
        loss: &CrossEntropy::plain(call.classes),
    };
    let wanted = Wanted {
        pass: call.pass,
        reduction: Reduction::from_code(o.reduction),
        loss: call.loss.as_deref_mut(),
        saved_in: call.saved_in,
        saved_out: call.saved_out.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: Gradients { x: call.grad_features, weight: call.grad_weight, bias: call.grad_bias },
    };
    LinearRows::new(problem, Workspace::new(call.workspace)).run(cpu, wanted);
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let args = LinearArgs {
        x: a.features,
        weight: a.weight,
        bias: a.bias,
        labels: a.labels,
        masks: a.masks,
        grad_loss: a.grad_loss,
        device_flags: a.device_flags,
        rows: a.rows,
        d: a.d,
        classes: a.classes,
        seed: a.opts.seed,
        offset: a.opts.offset,
        kept_from: kept_from(a.opts.dropout),
        factor: (1.0 / (1.0 - a.opts.dropout)) as f32,
        drops: 1,
        samples: a.opts.samples as i32,
        dtype: a.dtype,
        reduction: a.opts.reduction,
        ..Default::default()
    };
    let plan = LinearPlan {
        pass: Pass::from_code(a.pass),
        loss: a.loss,
        saved: a.saved,
        grad_x: a.grad_features,
        grad_weight: a.grad_weight,
        grad_bias: a.grad_bias,
        workspace: a.workspace,
    };
    Ok(cuda::linear_rows::run(device, &args, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda::linear_rows::workspace_size(a.rows, a.opts.samples.max(1) as u64, a.d, a.classes, a.dtype)
}
