//! Cross entropy behind a matrix product, every row once for each of its dropout samples.

use crate::cpu::Cpu;
use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::dropout::{Dropout, Masks};
use crate::cpu::linear_rows::{self, Gradients, LinearRows, Problem, Wanted};
use crate::cpu::workspace::Workspace;
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
            None => Masks::drawn(o.seed, o.offset, o.dropout),
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
