//! Skeleton "sets of rows": for each sample one row of each of several matrices of the same shape, and gradients
//! for any of them. With a label or without, and with outputs and scalar inputs of its own per sample: those the
//! loss holds itself.

use crate::cpu::Cpu;
use crate::cpu::narrow::{self, Group, LaneLoss, Narrow, Never};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::reduction::{self, Upstream};
use crate::cpu::row::{Cache, HALF, Row, RowOut};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{BLOCK, STREAM_BYTES, Scratch};
use crate::registry::{Floats, FloatsMut, Reduction};
use std::ops::Range;

/// The mathematics of a loss on `I` rows.
pub trait RowSetLoss<const I: usize>: Sync {
    /// What loss and gradient share.
    type State;

    /// Whether sample `r` counts: has a loss and gradients other than 0, and a part in the mean.
    fn counts(&self, _r: usize) -> bool {
        true
    }

    /// Sweeps the rows as often as it likes, and writes the sample's own outputs.
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; I]) -> Self::State;

    fn loss<S: Simd>(&self, s: S, r: usize, state: &Self::State) -> f32;

    /// Writes `scale` times the gradients that are wanted; see [`map_rows`]. Each may lie over its input.
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &Self::State,
        rows: &[Row; I],
        scale: f32,
        out: &[Option<RowOut>; I],
    );

    /// State and gradient: in one sweep where the gradient needs nothing of the state. Without `wants_loss` the state
    /// may be anything.
    #[inline(always)]
    fn state_and_gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        rows: &[Row; I],
        scale: f32,
        out: &[Option<RowOut>; I],
        _wants_loss: bool,
    ) -> Self::State {
        let state = self.state(s, r, rows);
        self.gradient(s, r, &state, rows, scale, out);
        state
    }

    /// The same for samples in lanes, where the loss has such a form.
    fn lanes(&self) -> Option<impl LaneLoss<I>> {
        None::<Never>
    }

    /// Outputs of its own of samples that were done in lanes: those without a bit in `left`.
    fn done_in_lanes(&self, _rows: Range<usize>, _left: u32) {}

    /// Outputs of a sample that does not count, but for the loss.
    fn clear(&self, _r: usize) {}
}

pub struct Problem<'a, const I: usize> {
    pub rows: usize,
    pub inputs: [Floats<'a>; I],
    pub reduction: Reduction,
    pub loss: Option<&'a mut [f32]>,
    pub grad_loss: Option<&'a [f32]>,
    pub gradients: [Option<FloatsMut<'a>>; I],
    /// Beside those of whole rows, the loss writes others.
    pub more_gradients: bool,
}

pub fn run<const I: usize, L: RowSetLoss<I>>(cpu: &Cpu, loss: &L, problem: Problem<I>) {
    let Problem { rows, inputs, reduction, .. } = problem;
    let counted = || (0..rows).filter(|&r| loss.counts(r)).count();
    let scale = match reduction {
        Reduction::Mean => match counted() {
            0 => 0.0,
            n => 1.0 / n as f64,
        },
        Reduction::BatchMean if rows > 0 => 1.0 / rows as f64,
        _ => 1.0,
    };
    let want_loss = problem.loss.is_some();
    let (losses, reduced) = reduction::losses(problem.loss, reduction);
    let row_bytes = inputs[0].columns * inputs[0].dtype.size() * I;
    let pass = Pass {
        loss,
        inputs,
        losses,
        want_loss,
        upstream: Upstream::new(problem.grad_loss, reduction, scale),
        want_gradient: problem.more_gradients || problem.gradients.iter().any(Option::is_some),
        gradients: problem.gradients,
        stream: rows * row_bytes > STREAM_BYTES,
    };
    let blocks = Blocks::new(rows, (32 << 10) / row_bytes.max(1) + 1, 1);
    let total = cpu.sum(blocks.count, 2 * rows * (row_bytes + 16), &|i| {
        cpu.isa.dispatch(PassBlock { pass: &pass, rows: blocks.range(i) })
    });
    if let Some(out) = reduced {
        out[0] = if scale == 0.0 { 0.0 } else { (total * scale) as f32 };
    }
}

struct Pass<'a, const I: usize, L> {
    loss: &'a L,
    inputs: [Floats<'a>; I],
    losses: Option<Cells<'a>>,
    want_loss: bool,
    upstream: Upstream<'a>,
    want_gradient: bool,
    gradients: [Option<FloatsMut<'a>>; I],
    /// Whether zeros go around the cache.
    stream: bool,
}

struct PassBlock<'a, const I: usize, L> {
    pass: &'a Pass<'a, I, L>,
    rows: Range<usize>,
}

impl<const I: usize, L: RowSetLoss<I>> Kernel for PassBlock<'_, I, L> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let pass = self.pass;
        let mut read = [const { Scratch::<BLOCK>::new() }; I];
        let mut write = [const { Scratch::<BLOCK>::new() }; I];
        // One row, or two, may keep what their first sweep computed.
        let columns = pass.inputs[0].columns;
        let keeps = pass.want_gradient && (I == 1 || I == 2 && columns <= HALF);
        let cache = if keeps { Cache::of_thread(columns) } else { std::ptr::null_mut() };
        let lanes = pass.loss.lanes().filter(|_| narrow::fits::<S>(columns));
        let (mut total, mut left) = (0.0, 0);
        for r in self.rows.clone() {
            if let Some(lanes) = &lanes {
                let place = (r - self.rows.start) % S::Wide::LANES;
                if place == 0 {
                    let sum;
                    let end = self.rows.end.min(r + S::Wide::LANES);
                    (sum, left) = pass.narrow(s.wide(), lanes, r..end, end < self.rows.end);
                    pass.loss.done_in_lanes(r..end, left);
                    total += sum;
                }
                if left >> place & 1 == 0 {
                    continue;
                }
            }
            // SAFETY: row r is within the checked buffers, and only this block writes it.
            let rows: [Row; I] = std::array::from_fn(|i| unsafe {
                Row::new(&pass.inputs[i], r, read[i].ptr(), cache, 0).in_half(i)
            });
            let out: [Option<RowOut>; I] = std::array::from_fn(|i| {
                let out = pass.gradients[i].as_ref().map(|g| unsafe { RowOut::new(g, r, write[i].ptr()) });
                out.map(|out| out.streamed(pass.stream))
            });
            if !pass.loss.counts(r) {
                pass.loss.clear(r);
                if let Some(losses) = pass.losses {
                    losses.set(r, 0.0);
                }
                out.iter().flatten().for_each(|g| g.fill_zero(rows[0].len));
                continue;
            }
            let state = if pass.want_gradient {
                let scale = pass.upstream.of(r) as f32;
                pass.loss.state_and_gradient(s, r, &rows, scale, &out, pass.want_loss)
            } else {
                pass.loss.state(s, r, &rows)
            };
            if pass.want_loss {
                let value = pass.loss.loss(s, r, &state);
                total += f64::from(value);
                if let Some(losses) = pass.losses {
                    losses.set(r, value);
                }
            }
        }
        if pass.stream {
            s.fence();
        }
        total
    }
}

impl<const I: usize, L: RowSetLoss<I>> Pass<'_, I, L> {
    /// Sum of the losses of samples that were done, and a bit for each that is left to do.
    #[inline(always)]
    fn narrow<S: Simd>(
        &self,
        s: S,
        loss: &impl LaneLoss<I>,
        rows: Range<usize>,
        followed: bool,
    ) -> (f64, u32) {
        let (mut counts, mut others) = (0, 0);
        for (i, r) in rows.clone().enumerate() {
            let bit = 1 << i;
            *if self.loss.counts(r) { &mut counts } else { &mut others } |= bit;
        }
        let group = Group::unlabelled(rows, followed, counts);
        let narrow = Narrow {
            inputs: &self.inputs,
            want_loss: self.want_loss,
            losses: self.losses,
            saved: 0,
            saved_in: None,
            saved_out: None,
            upstream: &self.upstream,
            gradients: self.gradients.each_ref().map(Option::as_ref),
        };
        let (sum, left) = narrow.run(s, loss, &group);
        (sum, left | others)
    }
}

/// The [`Problem`] of a `Call` with the option `reduction`: its number of samples, its inputs, and the gradient of
/// each or `-`: `row_sets_problem!(call, rows, [student, teacher], [grad_student, -])`.
macro_rules! row_sets_problem {
    ($call:expr, $rows:ident, [$($input:ident),+], [$($gradient:tt),+]) => {
        $crate::cpu::row_sets::Problem {
            rows: $call.$rows,
            inputs: [$($call.$input),+],
            reduction: $crate::registry::Reduction::from_code($call.opts.reduction),
            loss: $call.loss.as_deref_mut(),
            grad_loss: $call.grad_loss,
            gradients: [$($crate::cpu::row_sets::row_sets_problem!(@gradient $call, $gradient)),+],
            more_gradients: false,
        }
    };
    (@gradient $call:expr, -) => { None };
    (@gradient $call:expr, $gradient:ident) => { $call.$gradient };
}
pub(crate) use row_sets_problem;
