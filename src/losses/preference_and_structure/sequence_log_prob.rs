//! -log p of each token as token_cross_entropy computes it, summed over sequences.

use crate::cpu::Cpu;
use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::rows::{self, Problem};
use crate::cpu::sequences::{self, Sequences, Tokens};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{self, Device, sequences::SequencePlan};
use crate::registry::entries::sequence_log_prob::{Args, Call};
use crate::registry::{Reduction, Result};

pub fn cpu_workspace(a: &Args) -> u64 {
    let sequences = a.opts.sequences.max(0) as u64;
    sequences::workspace_size(Size::default(), a.tokens, sequences).add::<f32>(a.tokens).bytes()
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
    let upstream = workspace.take::<f32>(call.tokens, 0.0);
    if call.grad_logits.is_some() {
        upstream.iter_mut().enumerate().for_each(|(t, to)| *to = all.scale(call.grad_loss, t));
    }
    let wants_loss = call.log_prob.is_some();
    if wants_loss || call.grad_logits.is_some() || call.saved_out.is_some() {
        let problem = Problem {
            rows: call.tokens,
            classes: call.classes,
            logits: call.logits,
            labels: call.labels,
            ignore_index: Some(call.opts.ignore_index),
            reduction: Reduction::None,
            loss: wants_loss.then_some(&mut *all.losses),
            saved_in: call.saved_in,
            saved_out: call.saved_out.as_deref_mut(),
            grad_loss: Some(upstream),
            grad_logits: call.grad_logits,
        };
        rows::run(cpu, &CrossEntropy::plain(call.classes), problem);
    }
    all.outputs(call.log_prob.as_deref_mut(), call.counts.as_deref_mut());
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = plan(a);
    plan.count(device)?;
    if plan.wants_tokens() || !a.grad_logits.is_null() {
        let args = Args { workspace: plan.losses().cast(), ..*a };
        if a.tokens > 0 {
            let (grid, block) = cuda::rows::shape(a.tokens, a.classes);
            // SAFETY: a struct of integers, floats and pointers.
            device.launch("sequence_log_prob", grid, block, 0, unsafe { cuda::bytes_of(&args) })?;
        }
    }
    Ok(plan.sum(device)?)
}

#[cfg(gpu)]
fn plan(a: &Args) -> SequencePlan {
    SequencePlan {
        pass: crate::registry::Pass::from_code(a.pass),
        tokens: a.tokens,
        classes: a.classes,
        sequences: a.opts.sequences.max(0) as u64,
        labels: a.labels,
        segments: a.segments,
        ignore_index: a.opts.ignore_index,
        average: a.opts.average != 0,
        log_prob: a.log_prob,
        counts: a.counts,
        saved: a.saved,
        workspace: a.workspace,
        device_flags: a.device_flags,
    }
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    plan(a).workspace_size()
}
