//! loss = -log sum over alignments of prod_t p[t, emitted class],  p = softmax(logits).
//!
//! A block is some samples. Of each: a sweep for the softmax statistics of its rows, the forward variables,
//! then frame by frame from the end the backward variables and the gradient of the frame's row. Variables
//! are [extended](crate::cpu::extended) numbers made of exp(z - row's largest); the normalisers add up apart, in f64. Of the
//! forward variables only some rows are kept, as many as frames of a segment between two of them: a segment
//! is computed again when the way back comes to it.

#[cfg(gpu)]
#[path = "ctc_loss/device.rs"]
mod device;
#[path = "ctc_loss/lattice.rs"]
mod lattice;
#[path = "ctc_loss/sample.rs"]
mod sample;

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{BLOCK, Scratch};
use crate::registry::entries::ctc_loss::{Args, Call};
use crate::registry::{Error, Floats, FloatsMut, Reduction, Result, Status};
use lattice::{ROW, pitch};
use sample::Sample;

/// Samples under way at once, at most: what the workspace has room for.
const SLOTS: usize = 32;
/// A slot that holds all forward variables in this many bytes does so.
const CACHED: usize = 512 << 10;

pub fn check(a: &Args) -> Result<()> {
    if a.opts.blank as u64 >= a.classes {
        return Err(Error::option(format!(
            "ctc_loss: option 'blank' is {}, expected less than classes ({})",
            a.opts.blank, a.classes
        )));
    }
    Ok(())
}

/// Frames of a segment.
fn segment(time: usize, row: usize) -> usize {
    if time.saturating_mul(row).saturating_mul(8) <= CACHED { time } else { time.isqrt() + 1 }
}

/// Places of a slot's parts, in f64 values.
struct Layout {
    pitch: usize,
    segment: usize,
    /// Weights of a segment's frames. Before them, at 0: their forward variables.
    weights: usize,
    /// Forward variables of the last frame of each segment.
    kept: usize,
    /// Two rows of backward variables, and one with weights.
    beta: usize,
    /// One array each.
    skip: usize,
    posterior: usize,
    first: usize,
    /// Two f32 per frame.
    stats: usize,
    len: usize,
}

impl Layout {
    fn new(time: usize, max_label: usize) -> Layout {
        let pitch = pitch(max_label.saturating_add(2));
        let row = ROW.saturating_mul(pitch);
        let segment = segment(time, row.saturating_add(2 * pitch));
        let mut len = 0usize;
        let mut place = |rows: usize, size: usize| {
            let at = len;
            len = len.saturating_add(rows.saturating_mul(size));
            at
        };
        place(segment, row);
        Layout {
            pitch,
            segment,
            weights: place(segment.saturating_add(1), pitch.saturating_mul(2)),
            kept: place(time.div_ceil(segment), row),
            beta: place(3, row),
            skip: place(1, pitch),
            posterior: place(1, pitch),
            first: place(1, pitch),
            stats: place(1, time.next_multiple_of(8)),
            len,
        }
    }
}

fn blocks(batch: usize) -> Blocks {
    Blocks::new(batch, batch.div_ceil(SLOTS), 1)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let slot = Layout::new(a.time as usize, a.max_label as usize).len;
    slot.saturating_mul(8).saturating_mul(blocks(a.batch as usize).count).min(isize::MAX as usize / 2) as u64
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    check_lengths(call)?;
    let reduction = Reduction::from_code(call.opts.reduction);
    let layout = Layout::new(call.time, call.max_label);
    let per_sample = reduction == Reduction::None;
    let (losses, reduced) = match call.loss.as_deref_mut() {
        Some(all) if per_sample => (Some(Cells::new(all)), None),
        one => (None, one),
    };
    let problem = Problem {
        time: call.time,
        batch: call.batch,
        classes: call.classes,
        max_label: call.max_label,
        blank: call.opts.blank as usize,
        zero_infinity: call.opts.zero_infinity != 0,
        mean: reduction == Reduction::Mean,
        logits: call.logits,
        labels: call.labels,
        input_lengths: call.input_lengths,
        label_lengths: call.label_lengths,
        losses,
        saved_in: call.saved_in,
        saved_out: call.saved_out.as_deref_mut().map(Cells::new),
        grad_loss: call.grad_loss,
        per_sample,
        gradient: call.grad_logits,
        workspace: call.workspace.as_mut_ptr().cast(),
        layout,
    };
    let blocks = blocks(call.batch);
    let traffic = 4 * call.time * call.batch * (call.classes + 16 * call.max_label);
    let total = cpu.sum(blocks.count, traffic, &|i| {
        cpu.isa.dispatch(SampleBlock { problem: &problem, samples: blocks.range(i), slot: i })
    });
    if let Some(out) = reduced {
        out[0] = total as f32;
    }
    Ok(())
}

/// The declaration cannot say these.
fn check_lengths(call: &Call) -> Result<()> {
    let bad = |name: &str, value: i64, place: String, expected: String| {
        let text = format!(
            "ctc_loss: argument '{name}' has value {value} in row {place}, expected a value in {expected}"
        );
        Err(Error::new(Status::InvalidLabel, text))
    };
    let (time, most, classes) = (call.time as i64, call.max_label as i64, call.classes as i64);
    for b in 0..call.batch {
        let (frames, count) = (call.input_lengths[b], call.label_lengths[b]);
        if frames < 1 || frames > time {
            return bad("input_lengths", frames, b.to_string(), format!("[1, {time}]"));
        }
        if count < 0 || count > most {
            return bad("label_lengths", count, b.to_string(), format!("[0, {most}]"));
        }
        let labels = &call.labels[b * call.max_label..][..count as usize];
        if let Some(i) = labels.iter().position(|&l| l < 0 || l >= classes || l == call.opts.blank) {
            let expected = format!("[0, {classes}) other than blank ({})", call.opts.blank);
            return bad("labels", labels[i], format!("{b} at {i}"), expected);
        }
    }
    Ok(())
}

struct Problem<'a> {
    time: usize,
    batch: usize,
    classes: usize,
    max_label: usize,
    blank: usize,
    zero_infinity: bool,
    mean: bool,
    logits: Floats<'a>,
    labels: &'a [i64],
    input_lengths: &'a [i64],
    label_lengths: &'a [i64],
    losses: Option<Cells<'a>>,
    saved_in: Option<&'a [f32]>,
    saved_out: Option<Cells<'a>>,
    grad_loss: Option<&'a [f32]>,
    per_sample: bool,
    gradient: Option<FloatsMut<'a>>,
    workspace: *mut f64,
    layout: Layout,
}

// SAFETY: blocks use slots of the workspace of their own.
unsafe impl Sync for Problem<'_> {}

struct SampleBlock<'a, 'b> {
    problem: &'b Problem<'a>,
    samples: std::ops::Range<usize>,
    slot: usize,
}

impl Kernel for SampleBlock<'_, '_> {
    /// Sum of the losses, each with its weight in the reduction.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let p = self.problem;
        let size = p.layout.len;
        // SAFETY: slot i of the workspace belongs to block i; it is cleared, as slices must be.
        let memory = unsafe {
            let start = p.workspace.add(self.slot * size);
            std::ptr::write_bytes(start, 0, size);
            std::slice::from_raw_parts_mut(start, size)
        };
        let (mut read_scratch, mut write_scratch) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        let mut total = 0.0;
        for b in self.samples {
            let mut sample = Sample::new(p, b, memory, read_scratch.ptr(), write_scratch.ptr());
            let weight = if p.mean { 1.0 / (sample.count.max(1) as f64 * p.batch as f64) } else { 1.0 };
            let loss = sample.run(s, weight);
            total += weight * loss;
            if let Some(losses) = p.losses {
                losses.set(b, loss as f32);
            }
        }
        total
    }
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    device::layout(a).1
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    Ok(device::run(device, a)?)
}
