//! -log p of each token behind a matrix product, summed over sequences.

use crate::cpu::Cpu;
use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::linear_rows::{self, Gradients, LinearRows, Problem};
use crate::cpu::parallel::Cells;
use crate::cpu::sequences::{self, Sequences, Tokens};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{
    self, Device,
    linear_rows::{LinearArgs, LinearPlan},
    sequences::sequence_plan,
};
use crate::registry::entries::fused_linear_sequence_log_prob::{Args, Call};
use crate::registry::{DType, Result};

pub fn cpu_workspace(a: &Args) -> u64 {
    let sequences = a.opts.sequences.max(0) as u64;
    let rows = linear_rows::workspace_bytes(a.tokens, 1, a.d, a.classes, a.dtype == DType::F32 as i32);
    rows.saturating_add(sequences::workspace_size(Size::default(), a.tokens, sequences).bytes())
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let mut workspace = Workspace::new(call.workspace);
    let tokens = Tokens {
        labels: call.labels,
        segments: call.segments,
        ignore_index: call.opts.ignore_index,
        average: call.opts.average != 0,
    };
    let mut all = Sequences::new(tokens, call.opts.sequences as usize, &mut workspace);
    let problem = Problem {
        x: call.hidden,
        weight: call.weight,
        bias: call.bias,
        labels: call.labels,
        ignore_index: Some(call.opts.ignore_index),
        dropout: None,
        loss: &CrossEntropy::plain(call.classes),
    };
    let gradients = Gradients { x: call.grad_hidden, weight: call.grad_weight, bias: call.grad_bias };
    let rows = LinearRows::new(problem, workspace);
    match call.saved_in {
        Some(saved) => {
            rows.restore(saved);
            rows.backward(cpu, |i| all.scale(call.grad_loss, rows.row(i)), gradients);
        }
        None if call.log_prob.is_some() || call.saved_out.is_some() || gradients.any() => {
            let scale = |i| all.scale(call.grad_loss, rows.row(i));
            rows.forward_backward(cpu, call.saved_out.as_deref_mut(), scale, gradients);
        }
        None => {}
    }
    if call.log_prob.is_some() {
        rows.losses(cpu, Some(Cells::new(all.losses)));
    }
    all.outputs(call.log_prob.as_deref_mut(), call.counts.as_deref_mut());
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = sequence_plan!(a);
    plan.count(device)?;
    let args = LinearArgs {
        x: a.hidden,
        weight: a.weight,
        bias: a.bias,
        labels: a.labels,
        segments: a.segments,
        counts: if plan.average { plan.divisors() } else { std::ptr::null() },
        grad_loss: a.grad_loss,
        device_flags: a.device_flags,
        rows: a.tokens,
        d: a.d,
        classes: a.classes,
        sequences: plan.sequences,
        ignore_index: a.opts.ignore_index,
        ignores: 1,
        sign: -1.0,
        dtype: a.dtype,
        ..Default::default()
    };
    let linear = LinearPlan {
        pass: plan.pass,
        loss: if plan.log_prob.is_null() { std::ptr::null_mut() } else { plan.losses() },
        saved: a.saved,
        grad_x: a.grad_hidden,
        grad_weight: a.grad_weight,
        grad_bias: a.grad_bias,
        workspace: a.workspace.wrapping_byte_add(plan.workspace_size() as usize),
    };
    cuda::linear_rows::run(device, &args, &linear)?;
    Ok(plan.sum(device)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let rows = cuda::linear_rows::workspace_size(a.tokens, 1, a.d, a.classes, a.dtype);
    rows.saturating_add(sequence_plan!(a).workspace_size())
}
