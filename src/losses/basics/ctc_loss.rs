//! loss = -log sum over alignments of prod_t p[t, emitted class],  p = softmax(logits).
//!
//! A block is some samples. Of each: a sweep for the softmax statistics of its rows, the forward variables,
//! then frame by frame from the end the backward variables and the gradient of the frame's row. Variables
//! are [`extended`] numbers made of exp(z - row's largest); the normalisers add up apart, in f64. Of the
//! forward variables only some rows are kept, as many as frames of a segment between two of them: a segment
//! is computed again when the way back comes to it.

#[path = "ctc_loss/lattice.rs"]
mod lattice;

use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::rows::{self, Row, RowOut};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::storage::{BLOCK, Scratch, read_one};
use crate::cpu::{Cpu, extended};
#[cfg(gpu)]
use crate::cuda::{
    self, Device, bytes_of,
    reduce::{self, ReduceArgs},
};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::ctc_loss::{Args, Call};
use crate::registry::{Error, Floats, FloatsMut, Reduction, Result, Status};
use lattice::{ROW, Weights, pitch};

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
    /// Forward variables and weights of a segment's frames.
    rows: usize,
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
        Layout {
            pitch,
            segment,
            rows: place(segment, row),
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

/// One sample and its slot.
struct Sample<'a, 'b> {
    p: &'b Problem<'a>,
    b: usize,
    frames: usize,
    count: usize,
    labels: &'b [i64],
    /// Largest logit of each frame, and the sum of exp(z - largest) less 1.
    stats: &'b mut [[f32; 2]],
    rows: &'b mut [f64],
    weights: &'b mut [f64],
    kept: &'b mut [f64],
    beta: &'b mut [f64],
    skip: &'b mut [f64],
    posterior: &'b mut [f64],
    /// The first label of the same class.
    first: &'b mut [usize],
    read_scratch: *mut f32,
    write_scratch: *mut f32,
}

impl<'a, 'b> Sample<'a, 'b> {
    fn new(p: &'b Problem<'a>, b: usize, memory: &'b mut [f64], read: *mut f32, write: *mut f32) -> Self {
        let l = &p.layout;
        let (rows, rest) = memory.split_at_mut(l.weights);
        let (weights, rest) = rest.split_at_mut(l.kept - l.weights);
        let (kept, rest) = rest.split_at_mut(l.beta - l.kept);
        let (beta, rest) = rest.split_at_mut(l.skip - l.beta);
        let (skip, rest) = rest.split_at_mut(l.posterior - l.skip);
        let (posterior, rest) = rest.split_at_mut(l.first - l.posterior);
        let (first, stats) = rest.split_at_mut(l.stats - l.first);
        let count = p.label_lengths[b] as usize;
        Sample {
            p,
            b,
            frames: p.input_lengths[b] as usize,
            count,
            labels: &p.labels[b * p.max_label..][..count],
            stats: bytemuck::cast_slice_mut(stats),
            rows,
            weights,
            kept,
            beta,
            skip,
            posterior,
            first: bytemuck::cast_slice_mut(first),
            read_scratch: read,
            write_scratch: write,
        }
    }

    /// The loss; writes the gradient, `weight` of it.
    #[inline(always)]
    fn run<S: Simd>(&mut self, s: S, weight: f64) -> f64 {
        let log_sum = self.softmax(s);
        let segments = self.frames.div_ceil(self.p.layout.segment);
        let mut total = (1.0, extended::ZERO);
        if log_sum.is_finite() {
            self.prepare();
            (0..segments).for_each(|i| self.forward(i));
            total = self.total();
        }
        let mut loss = log_sum - extended::ln(total.0, total.1);
        let mut poison = f32::NAN;
        if loss == f64::INFINITY && self.p.zero_infinity {
            (loss, poison) = (0.0, 0.0);
        }
        if let Some(gradient) = self.p.gradient {
            let upstream = self.p.grad_loss.map_or(1.0, |g| g[if self.p.per_sample { self.b } else { 0 }]);
            let scale = f64::from(upstream) * weight;
            for t in self.frames..self.p.time {
                self.out(&gradient, t).fill_zero(self.p.classes);
            }
            if log_sum.is_finite() && total.1 > extended::VANISHED {
                self.backward(s, &gradient, segments, total, scale);
            } else {
                for t in 0..self.frames {
                    let out = self.out(&gradient, t);
                    self.row(t).map_to(
                        s,
                        &out,
                        #[inline(always)]
                        |_, _| s.splat(poison),
                    );
                }
            }
        }
        loss
    }

    #[inline(always)]
    fn row(&self, t: usize) -> Row {
        // SAFETY: row (t, b) is within the logits.
        unsafe {
            Row::new(&self.p.logits, t * self.p.batch + self.b, self.read_scratch, std::ptr::null_mut(), 0)
        }
    }

    #[inline(always)]
    fn out(&self, gradient: &FloatsMut, t: usize) -> RowOut {
        // SAFETY: as above, and rows of this sample are written by its block only.
        unsafe { RowOut::new(gradient, t * self.p.batch + self.b, self.write_scratch) }
    }

    /// Statistics of the rows; returns the sum of their log-sum-exps less their largest.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, s: S) -> f64 {
        let mut log_sum = 0.0;
        for t in 0..self.frames {
            let at = 2 * (t * self.p.batch + self.b);
            let stats = match self.p.saved_in {
                Some(saved) => [saved[at], saved[at + 1]],
                None => row_stats(s, &self.row(t)),
            };
            self.stats[t] = stats;
            if let Some(saved) = self.p.saved_out {
                saved.set(at, stats[0]);
                saved.set(at + 1, stats[1]);
            }
            log_sum += f64::from(stats[1]).ln_1p();
        }
        if let Some(saved) = self.p.saved_out {
            (self.frames..self.p.time)
                .flat_map(|t| [0, 1].map(|j| 2 * (t * self.p.batch + self.b) + j))
                .for_each(|at| saved.set(at, 0.0));
        }
        log_sum
    }

    /// What depends on the labels alone.
    fn prepare(&mut self) {
        let labels = self.labels;
        self.skip.fill(extended::ZERO);
        for i in 0..labels.len() {
            if i > 0 && labels[i] != labels[i - 1] {
                self.skip[i] = 0.0;
            }
            self.first[i] = labels.iter().position(|l| *l == labels[i]).unwrap_or(i);
        }
    }

    fn n(&self) -> usize {
        self.count + 1
    }

    /// exp(z - largest) of the labels and the blank in frame t, at `slot` of the weights.
    #[inline(always)]
    fn weigh(&mut self, t: usize, slot: usize) {
        let pitch = self.p.layout.pitch;
        let (logits, count, blank) = (&self.p.logits, self.count, self.p.blank);
        let at = &mut self.weights[slot * 2 * pitch..][..2 * pitch];
        let (m, e) = at.split_at_mut(pitch);
        // SAFETY: labels were checked.
        let row = unsafe { logits.row(t * self.p.batch + self.b) };
        let get = |k: usize| f64::from(unsafe { read_one(logits.dtype, row.add(k * logits.dtype.size())) });
        for (place, &label) in m.iter_mut().zip(self.labels) {
            *place = get(label as usize);
        }
        m[count] = f64::NEG_INFINITY;
        m[count + 1] = get(blank);
        let top = f64::from(self.stats[t][0]);
        let (m, e) = (&mut m[..count + 2], &mut e[..count + 2]);
        for i in 0..m.len() {
            (m[i], e[i]) = extended::exp(m[i] - top);
        }
    }

    #[inline(always)]
    fn frame_weights(&self, slot: usize) -> Weights<'_> {
        let pitch = self.p.layout.pitch;
        let (label_m, label_e) = self.weights[slot * 2 * pitch..][..2 * pitch].split_at(pitch);
        Weights { label_m, label_e, blank: (label_m[self.count + 1], label_e[self.count + 1]) }
    }

    /// Frames of a segment.
    fn frames_of(&self, segment: usize) -> std::ops::Range<usize> {
        let each = self.p.layout.segment;
        segment * each..((segment + 1) * each).min(self.frames)
    }

    /// Forward variables of a segment, from the last of the one before; keeps its own last.
    #[inline(always)]
    fn forward(&mut self, segment: usize) {
        let (pitch, n) = (self.p.layout.pitch, self.n());
        let size = ROW * pitch;
        let frames = self.frames_of(segment);
        for t in frames.clone() {
            let slot = t - frames.start;
            self.weigh(t, slot);
            let mut rows = std::mem::take(&mut self.rows);
            let w = self.frame_weights(slot);
            let (before, from_here) = rows.split_at_mut(slot * size);
            let out = &mut from_here[..size];
            if t == 0 {
                lattice::start(out, pitch, &w);
            } else {
                let prev = match slot {
                    0 => &self.kept[(segment - 1) * size..],
                    _ => &before[(slot - 1) * size..],
                };
                lattice::forward(n, &prev[..size], out, pitch, &w, self.skip, t);
            }
            std::mem::swap(&mut self.rows, &mut rows);
        }
        let last = (frames.len() - 1) * size;
        self.kept[segment * size..][..size].copy_from_slice(&self.rows[last..][..size]);
    }

    /// Sum over all alignments, from the last frame.
    fn total(&self) -> (f64, f64) {
        let (pitch, n) = (self.p.layout.pitch, self.n());
        let last = (self.frames_of((self.frames - 1) / self.p.layout.segment).len() - 1) * ROW * pitch;
        let row = lattice::Row::new(&self.rows[last..], pitch);
        // Blank n - 1 is the last one, label n - 2 the last label, or the zero before the first.
        let (m, e) = extended::add(row.blank_m[n], row.blank_e[n], row.label_m[n - 1], row.label_e[n - 1]);
        extended::normalise(m, e)
    }

    #[inline(always)]
    fn backward<S: Simd>(
        &mut self,
        s: S,
        gradient: &FloatsMut,
        segments: usize,
        total: (f64, f64),
        scale: f64,
    ) {
        let (pitch, n) = (self.p.layout.pitch, self.n());
        let size = ROW * pitch;
        let beta = std::mem::take(&mut self.beta);
        let (mut next, rest) = beta.split_at_mut(size);
        let (mut here, weighted) = rest.split_at_mut(size);
        lattice::clear(here, pitch);
        lattice::clear(weighted, pitch);
        lattice::end(n, next, pitch);
        let spare = self.p.layout.segment;
        for segment in (0..segments).rev() {
            if segment + 1 < segments {
                // The weights of the frame after the segment are still needed.
                self.forward(segment);
            }
            let frames = self.frames_of(segment);
            for t in frames.clone().rev() {
                let slot = t - frames.start;
                if t + 1 < self.frames {
                    let after = if t + 1 == frames.end { spare } else { slot + 1 };
                    let w = self.frame_weights(after);
                    lattice::backward(n, next, here, weighted, pitch, &w, self.skip, t);
                    std::mem::swap(&mut next, &mut here);
                }
                let alpha = &self.rows[slot * size..][..size];
                let blanks = lattice::posteriors(n, alpha, next, pitch, total, self.posterior);
                self.write_row(s, gradient, t, slot, blanks, scale);
            }
            self.weights.copy_within(0..2 * pitch, spare * 2 * pitch);
        }
    }

    /// scale (p_k - posterior of k) of frame t.
    #[inline(always)]
    fn write_row<S: Simd>(
        &mut self,
        s: S,
        gradient: &FloatsMut,
        t: usize,
        slot: usize,
        blanks: f64,
        scale: f64,
    ) {
        let [top, rest] = self.stats[t];
        let share = scale / (1.0 + f64::from(rest));
        let (about, factor) = (s.splat(top), s.splat(share as f32));
        let out = self.out(gradient, t);
        self.row(t).map_to(
            s,
            &out,
            #[inline(always)]
            |z, _| s.mul(factor, math::exp(s, s.sub(z, about))),
        );
        // Labels of a class add up at the first of them.
        for i in 0..self.count {
            if self.first[i] != i {
                let value = self.posterior[i];
                self.posterior[self.first[i]] += value;
            }
        }
        let w = self.frame_weights(slot);
        let value =
            |m: f64, e: f64, posterior: f64| (share * m * extended::scale(e) - scale * posterior) as f32;
        for i in 0..self.count {
            if self.first[i] == i {
                out.set(self.labels[i] as usize, value(w.label_m[i], w.label_e[i], self.posterior[i]));
            }
        }
        out.set(self.p.blank, value(w.blank.0, w.blank.1, blanks));
    }
}

/// Largest value of a row and the sum of exp(z - largest) less 1, without its rounding.
#[inline(always)]
fn row_stats<S: Simd>(s: S, row: &Row) -> [f32; 2] {
    let low = s.splat(f32::NEG_INFINITY);
    let mut tops = [low; 4];
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            tops = rows::fold(
                s,
                block,
                f32::NEG_INFINITY,
                tops,
                #[inline(always)]
                |acc, z, _| s.max(acc, z),
            )
        },
    );
    let top = s.reduce_max(s.max(s.max(tops[0], tops[1]), s.max(tops[2], tops[3])));
    let about = s.splat(top);
    let (zero, one) = (s.zero(), s.splat(1.0));
    let (mut rest, mut ties) = (0.0, 0.0);
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            let sums = rows::fold(
                s,
                block,
                f32::NEG_INFINITY,
                [(zero, zero); 4],
                #[inline(always)]
                |(sum, ties), z, _| {
                    let x = s.sub(z, about);
                    let largest = s.eq(x, zero);
                    let term = s.select(largest, zero, math::exp(s, x));
                    (s.add(sum, term), s.add(ties, s.select(largest, one, zero)))
                },
            );
            let [a, b, c, d] = sums;
            rest += f64::from(s.reduce_add(s.add(s.add(a.0, b.0), s.add(c.0, d.0))));
            ties += f64::from(s.reduce_add(s.add(s.add(a.1, b.1), s.add(c.1, d.1))));
        },
    );
    [top, (rest + (ties - 1.0)) as f32]
}

/// Parts of the workspace (kernels/basics/ctc_loss.cuh): losses first, then what the kernels share, then the
/// reduction's scratch. Offset of the latter, and bytes of all.
#[cfg(gpu)]
fn device_layout(a: &Args) -> (u64, u64) {
    let n = a.max_label.saturating_add(1);
    let row = n.saturating_mul(4);
    let segment = match a.time.saturating_mul(row).saturating_mul(8) {
        0..=0x80000 => a.time,
        _ => a.time.isqrt() + 1,
    };
    let rows = segment.saturating_add(a.time.div_ceil(segment)).saturating_add(2);
    let kept = rows.saturating_mul(row).saturating_add(n);
    let samples = a.time.saturating_mul(a.batch);
    let parts = [
        a.batch.saturating_mul(4),
        samples.saturating_mul(8),
        a.batch.saturating_mul(4),
        a.batch.saturating_mul(n).saturating_mul(4),
        a.batch.saturating_mul(n).saturating_mul(4),
        samples.saturating_mul(n).saturating_mul(4),
        a.batch.saturating_mul(kept).saturating_mul(8),
    ];
    let scratch =
        parts.iter().fold(0u64, |at, part| at.saturating_add(part.div_ceil(256).saturating_mul(256)));
    (scratch, scratch.saturating_add(reduce::scratch_bytes(a.batch)))
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    device_layout(a).1
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let wants_loss = pass.forward() && !a.loss.is_null();
    let wants_gradient = pass.backward() && !a.grad_logits.is_null();
    let wants_saved = pass.forward() && !a.saved.is_null();
    // SAFETY: a struct of integers, floats and pointers.
    let args = unsafe { bytes_of(a) };
    if a.batch > 0 {
        let (grid, block) = cuda::rows::shape(a.time * a.batch, a.classes);
        let restored = !pass.forward() && !a.saved.is_null();
        if !restored && (wants_loss || wants_gradient || wants_saved) {
            device.launch("ctc_loss_rows", grid, block, 0, args)?;
        }
        if wants_loss || wants_gradient {
            let threads = (a.max_label + 1).next_multiple_of(32).min(1024) as u32;
            device.launch("ctc_loss", [a.batch as u32, 1, 1], [threads, 1, 1], 0, args)?;
        }
        if wants_gradient {
            device.launch("ctc_loss_gradient", grid, block, 0, args)?;
        }
    }
    let reduction = Reduction::from_code(a.opts.reduction);
    if wants_loss && reduction != Reduction::None {
        let scratch = a.workspace.wrapping_byte_add(device_layout(a).0 as usize).cast();
        let total = ReduceArgs {
            n: a.batch,
            values: if a.batch == 0 { std::ptr::null() } else { a.workspace },
            loss_out: a.loss,
            divisor: if reduction == Reduction::Mean { a.batch.max(1) as f64 } else { 1.0 },
            ..Default::default()
        };
        reduce::run(device, &total, scratch)?;
    }
    Ok(())
}
