//! Skeleton "rows of logits": per row one sweep for statistics and one for the gradient, the row staying in
//! cache between them.

use crate::cpu::Cpu;
use crate::cpu::later::Later;
use crate::cpu::narrow::{self, Group, LaneLoss, Narrow, Never};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::reduction::{self, Upstream};
use crate::cpu::row::{Cache, GROUP, HALF, MOST_PENDING, group_size, pending_group_size, pending_places};
pub use crate::cpu::row::{Row, RowOut, fold, fold_without, map_into, total};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{BLOCK, Scratch};
use crate::registry::{Floats, FloatsMut, Reduction};
use bytemuck::{Pod, Zeroable};

/// The mathematics of a loss on one row of logits and its label.
pub trait RowLoss: Sync {
    /// What the first sweep finds; some f32 values.
    type Stats: Pod;

    /// How many of them, from the first on, are saved for backward.
    const SAVED: usize = size_of::<Self::Stats>() / size_of::<f32>();

    /// Whether the gradient is left to `softmax::write_terms`, which may put it off until the next row is read.
    const POSTPONES: bool = false;

    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Self::Stats;

    /// What loss and gradient share of a row's statistics.
    type State;

    fn state<S: Simd>(&self, s: S, stats: Self::Stats, row: &Row, label: usize) -> Self::State;

    fn loss<S: Simd>(&self, s: S, state: &Self::State, label: usize) -> f32;

    /// Writes `scale` times the gradient. Reads the row only before it writes to the same place: `out` may
    /// be the row.
    fn gradient<S: Simd>(&self, s: S, state: &Self::State, row: &Row, label: usize, scale: f32, out: &RowOut);

    /// The same for rows in lanes, where the loss has such a form.
    fn lanes(&self) -> Option<impl LaneLoss> {
        None::<Never>
    }

    /// What a row counts in the mean, where that is not 1.
    fn weight(&self) -> Option<impl Fn(usize) -> f64 + Sync> {
        None::<fn(usize) -> f64>
    }
}

/// A call of a row loss; made by [`rows_problem!`] where the declaration uses the usual names.
pub struct Problem<'a> {
    pub rows: usize,
    pub classes: usize,
    pub logits: Floats<'a>,
    pub labels: &'a [i64],
    pub ignore_index: Option<i64>,
    pub reduction: Reduction,
    pub loss: Option<&'a mut [f32]>,
    pub saved_in: Option<&'a [f32]>,
    pub saved_out: Option<&'a mut [f32]>,
    pub grad_loss: Option<&'a [f32]>,
    pub grad_logits: Option<FloatsMut<'a>>,
}

/// The [`Problem`] of a `Call` with inputs `logits` and `labels`, options `ignore_index` and `reduction`.
macro_rules! rows_problem {
    ($call:expr) => {
        $crate::cpu::rows::Problem {
            rows: $call.rows,
            classes: $call.classes,
            logits: $call.logits,
            labels: $call.labels,
            ignore_index: Some($call.opts.ignore_index),
            reduction: $crate::registry::Reduction::from_code($call.opts.reduction),
            loss: $call.loss.as_deref_mut(),
            saved_in: $call.saved_in,
            saved_out: $call.saved_out.as_deref_mut(),
            grad_loss: $call.grad_loss,
            grad_logits: $call.grad_logits,
        }
    };
}
pub(crate) use rows_problem;

pub fn run<L: RowLoss>(cpu: &Cpu, loss: &L, problem: Problem) {
    let Problem { rows, classes, logits, labels, ignore_index, reduction, .. } = problem;
    let is_ignored = |label: i64| ignore_index == Some(label);
    let weight = loss.weight();
    let total_weight = || -> f64 {
        let blocks = Blocks::new(rows, 4096, 1);
        // Counting labels is so quick that waking threads for it rarely pays.
        cpu.sum(blocks.count, rows, &|i| {
            let counted = labels[blocks.range(i)].iter().filter(|&&l| !is_ignored(l));
            match &weight {
                Some(weight) => counted.map(|&l| weight(l as usize)).sum(),
                None => counted.count() as f64,
            }
        })
    };
    let scale = match reduction {
        Reduction::Mean => match total_weight() {
            0.0 => 0.0,
            weight => 1.0 / weight,
        },
        _ => 1.0,
    };
    let want_loss = problem.loss.is_some();
    let (losses, reduced) = reduction::losses(problem.loss, reduction);
    let row_bytes = classes * logits.dtype.size();
    let pass = Sweep {
        loss,
        logits,
        labels,
        ignore_index,
        losses,
        want_loss,
        saved_in: problem.saved_in,
        saved_out: problem.saved_out.map(Cells::new),
        upstream: Upstream::new(problem.grad_loss, reduction, scale),
        grad_logits: problem.grad_logits,
    };
    let blocks = Blocks::new(rows, (32 << 10) / row_bytes.max(1) + 1, 1);
    let traffic = rows * (2 * row_bytes + 16);
    let total = cpu
        .sum(blocks.count, traffic, &|i| cpu.isa.dispatch(SweepBlock { pass: &pass, rows: blocks.range(i) }));
    if let Some(out) = reduced {
        out[0] = if scale == 0.0 { 0.0 } else { (total * scale) as f32 };
    }
}

struct Sweep<'a, L> {
    loss: &'a L,
    logits: Floats<'a>,
    labels: &'a [i64],
    ignore_index: Option<i64>,
    losses: Option<Cells<'a>>,
    want_loss: bool,
    saved_in: Option<&'a [f32]>,
    saved_out: Option<Cells<'a>>,
    upstream: Upstream<'a>,
    grad_logits: Option<FloatsMut<'a>>,
}

struct SweepBlock<'a, L> {
    pass: &'a Sweep<'a, L>,
    rows: std::ops::Range<usize>,
}

impl<L: RowLoss> Kernel for SweepBlock<'_, L> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let pass = self.pass;
        let (mut read_scratch, mut write_scratch) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        // Values are kept for the second sweep if there will be one and the first is not spared.
        let keeps = pass.grad_logits.is_some() && pass.saved_in.is_none();
        let cache = if keeps { Cache::of_thread(pass.logits.columns) } else { std::ptr::null_mut() };
        let lanes = pass.loss.lanes().filter(|_| narrow::fits::<S>(pass.logits.columns));
        let columns = pass.logits.columns;
        let mut group = if lanes.is_some() { S::Wide::LANES } else { group_size(columns) };
        let can_wait = L::POSTPONES && group == 1 && !cache.is_null() && columns <= HALF;
        let later = can_wait.then(|| {
            group = pending_group_size(columns);
            std::array::from_fn::<_, MOST_PENDING, _>(|slot| Later::new(pending_places(columns, slot)))
        });
        let mut total = 0.0;
        // Filled slot by slot: to clear all of them for every group costs long rows a tenth of their time, and once is
        // too often where all rows go into lanes.
        let mut room = None;
        let mut first = self.rows.start;
        while first < self.rows.end {
            let rows = first..self.rows.end.min(first + group);
            first += group;
            let mut left = u32::MAX;
            if let Some(lanes) = &lanes {
                let sum;
                (sum, left) = pass.narrow(s.wide(), lanes, rows.clone(), rows.end < self.rows.end);
                total += sum;
                if left == 0 {
                    continue;
                }
            }
            #[allow(clippy::unnecessary_lazy_evaluations)] // or it would be made anew for every group
            let (entries, states) = room.get_or_insert_with(|| {
                ([const { None::<Entry<L>> }; GROUP], [const { None::<L::State> }; GROUP])
            });
            // One loop per step, not one per row: see `group_size`.
            for (slot, r) in rows.clone().enumerate() {
                // SAFETY: row r is within the checked buffers.
                let mut row = unsafe { Row::new(&pass.logits, r, read_scratch.ptr(), cache, slot) };
                if let Some(later) = &later {
                    // SAFETY: it lives to the end.
                    row = unsafe { row.meanwhile(&later[slot]) };
                }
                let label = pass.labels[r];
                entries[slot] = None;
                if pass.ignore_index == Some(label) {
                    pass.clear(r);
                } else if left >> slot & 1 == 1 {
                    let label = label as usize;
                    entries[slot] = Some(Entry { stats: pass.stats(s, &row, r, label), row, label });
                }
            }
            for (slot, r) in rows.clone().enumerate() {
                states[slot] = None;
                let Some(Entry { row, label, stats }) = &entries[slot] else { continue };
                let state = pass.loss.state(s, *stats, row, *label);
                if pass.want_loss {
                    let value = pass.loss.loss(s, &state, *label);
                    total += f64::from(value);
                    if let Some(losses) = pass.losses {
                        losses.set(r, value);
                    }
                }
                states[slot] = Some(state);
            }
            if let Some(gradients) = &pass.grad_logits {
                for (slot, r) in rows.enumerate() {
                    let (Some(Entry { row, label, .. }), Some(state)) = (&entries[slot], &states[slot])
                    else {
                        continue;
                    };
                    // SAFETY: row r is within the checked buffers, and only this block writes it.
                    let mut out = unsafe { RowOut::new(gradients, r, write_scratch.ptr()) };
                    if let Some(later) = later.as_ref().map(|later| &later[slot]) {
                        // Not with what a loss that knows nothing of it left.
                        later.flush(s);
                        // SAFETY: it lives to the end.
                        out = unsafe { out.or(later) };
                    }
                    pass.loss.gradient(s, state, row, *label, pass.scale_of(r), &out);
                }
            }
        }
        for later in later.iter().flatten() {
            later.flush(s);
        }
        total
    }
}

/// A row of a group that counts.
struct Entry<L: RowLoss> {
    row: Row,
    label: usize,
    stats: L::Stats,
}

impl<L: RowLoss> Sweep<'_, L> {
    /// Statistics of row `r`: those saved, or new ones, which are then saved if that is wanted.
    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, r: usize, label: usize) -> L::Stats {
        if let Some(saved) = self.saved_in {
            let mut stats = L::Stats::zeroed();
            let values: &mut [f32] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut stats));
            values[..L::SAVED].copy_from_slice(&saved[r * L::SAVED..][..L::SAVED]);
            return stats;
        }
        let stats = self.loss.stats(s, row, label);
        if let Some(saved) = self.saved_out {
            let values: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&stats));
            values[..L::SAVED].iter().enumerate().for_each(|(i, &v)| saved.set(r * L::SAVED + i, v));
        }
        stats
    }

    /// See [`Narrow::run`].
    #[inline(always)]
    fn narrow<S: Simd>(
        &self,
        s: S,
        loss: &impl LaneLoss,
        rows: std::ops::Range<usize>,
        followed: bool,
    ) -> (f64, u32) {
        let group = Group::labelled(s, rows.clone(), followed, &self.labels[rows], self.ignore_index);
        group.others().for_each(|r| self.clear(r));
        let narrow = Narrow {
            inputs: &[self.logits],
            want_loss: self.want_loss,
            losses: self.losses,
            saved: L::SAVED,
            saved_in: self.saved_in,
            saved_out: self.saved_out,
            upstream: &self.upstream,
            gradients: [self.grad_logits.as_ref()],
        };
        narrow.run(s, loss, &group)
    }

    /// Outputs of a row that does not count.
    fn clear(&self, r: usize) {
        if let Some(losses) = self.losses {
            losses.set(r, 0.0);
        }
        if let Some(saved) = self.saved_out {
            (0..L::SAVED).for_each(|i| saved.set(r * L::SAVED + i, 0.0));
        }
        if let Some(gradients) = &self.grad_logits {
            // SAFETY: row r is within the checked buffers, and only its block writes it.
            unsafe { RowOut::new(gradients, r, std::ptr::null_mut()) }.fill_zero(gradients.columns);
        }
    }

    /// What the gradient of row `r` is multiplied by.
    fn scale_of(&self, r: usize) -> f32 {
        self.upstream.of(r) as f32
    }
}
