//! l = -log p_y of an average over models, of their logits or of their probabilities.

#[path = "ensemble_cross_entropy/lanes.rs"]
mod lanes;
#[path = "ensemble_cross_entropy/logits.rs"]
mod logits;
#[path = "ensemble_cross_entropy/probabilities.rs"]
mod probabilities;

use crate::cpu::row_sets::{self, Problem};
use crate::cpu::storage::STREAM_BYTES;
use crate::registry::entries::ensemble_cross_entropy::Call;
use crate::registry::{Floats, FloatsMut, Reduction, Result};
use logits::OfLogits;
use probabilities::OfProbabilities;

/// What both ways of averaging need; row `m rows + r` of the logits is the sample's in model m.
struct Ensemble<'a> {
    models: usize,
    rows: usize,
    classes: usize,
    logits: Floats<'a>,
    labels: &'a [i64],
    gradients: Option<FloatsMut<'a>>,
    /// Gradients go past the caches.
    stream: bool,
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let apart = |g: FloatsMut| g.ptr.cast_const() != call.logits.ptr && g.len * g.dtype.size() > STREAM_BYTES;
    let ensemble = Ensemble {
        models: call.models,
        rows: call.rows,
        classes: call.classes,
        logits: call.logits,
        labels: call.labels,
        gradients: call.grad_logits,
        stream: call.grad_logits.is_some_and(apart),
    };
    let problem = Problem {
        rows: call.rows,
        inputs: [call.logits],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        // Those of the first model.
        gradients: [call.grad_logits],
        more_gradients: false,
    };
    match call.opts.average {
        0 => row_sets::run(cpu, &OfLogits(ensemble), problem),
        _ => row_sets::run(cpu, &OfProbabilities(ensemble), problem),
    }
    Ok(())
}

row_sets_cuda!(ensemble_cross_entropy, rows, classes, [grad_logits]);
