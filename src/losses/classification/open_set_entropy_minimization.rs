//! l = H(softmax(z)) on rows whose confidence at the source's class has not fallen.

use crate::cpu::Cpu;
use crate::cpu::narrow::{self, Classes, EntropyLanes, LaneLoss, LaneRows, Lanes, Slopes, Stats, Tiles};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::softmax_entropy::{self, EntropyStats};
use crate::cpu::storage::{BLOCK, Scratch};
use crate::registry::entries::open_set_entropy_minimization::{Args, Call};
use crate::registry::{Floats, Result};
use std::ops::Range;

/// What the first pass finds out about a row: the mean's gradient needs the number of selected ones.
#[derive(Clone, Copy)]
struct Found {
    stats: EntropyStats,
    selected: u32,
}

pub fn cpu_workspace(a: &Args) -> u64 {
    a.rows.saturating_mul(size_of::<Found>() as u64)
}

struct Select<'a> {
    logits: Floats<'a>,
    source: Floats<'a>,
    threshold: f64,
    found: Cells<'a, Found>,
    selected: Option<Cells<'a, u8>>,
}

struct SelectBlock<'a> {
    select: &'a Select<'a>,
    rows: std::ops::Range<usize>,
}

impl Kernel for SelectBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let select = self.select;
        let mut scratch = Scratch::<BLOCK>::new();
        let none = std::ptr::null_mut();
        let (narrow, mut left) = (narrow::fits::<S>(select.logits.columns), 0);
        for r in self.rows.clone() {
            let place = (r - self.rows.start) % S::Wide::LANES;
            if narrow && place == 0 {
                left = select.narrow(s.wide(), r..self.rows.end.min(r + S::Wide::LANES));
            }
            if narrow && left >> place & 1 == 0 {
                continue;
            }
            // SAFETY: row r is within the checked buffers.
            let row = unsafe { Row::new(&select.logits, r, scratch.ptr(), none, 0) };
            let source = unsafe { Row::new(&select.source, r, scratch.ptr(), none, 0) };
            let theirs = softmax_entropy::stats(s, &source, 1.0);
            let class = softmax_entropy::index_of(s, &source, theirs.top, 0);
            let mut stats = softmax_entropy::stats(s, &row, 1.0);
            let confidence = match class < row.len {
                true => stats.entropy(s, 1.0).class(s, row.get(class)).own,
                false => f64::NAN,
            };
            let rise = confidence - theirs.entropy(s, 1.0).odds.own;
            let selected = rise >= select.threshold || rise.is_nan();
            if rise.is_nan() {
                stats.rest = f32::NAN; // such a row is selected, so that it shows
            }
            select.set(r, stats, selected);
        }
    }
}

impl Select<'_> {
    fn set(&self, r: usize, stats: EntropyStats, selected: bool) {
        self.found.set(r, Found { stats, selected: u32::from(selected) });
        if let Some(out) = self.selected {
            out.set(r, u8::from(selected));
        }
    }

    /// Does rows in lanes; a bit for each that is left, those too near the threshold for f32 among them.
    #[inline(always)]
    fn narrow<S: Simd>(&self, s: S, rows: Range<usize>) -> u32 {
        let (mut tiles, mut source_tiles) = (Tiles::new(), Tiles::new());
        let mut class = s.splat(narrow::NO_LABEL as f32);
        let mut source = source_tiles.classes(self.source.columns, rows.clone(), class);
        // SAFETY: the rows are within the checked buffers.
        unsafe { source.read(s, &self.source, false) };
        let theirs = EntropyLanes::new(s, &mut source, None);
        for k in (0..source.len).rev() {
            class = s.select(s.eq(source.get(s, k), theirs.lead), s.splat(k as f32), class);
        }
        let mut logits = tiles.classes(self.logits.columns, rows.clone(), class);
        // SAFETY: as above.
        unsafe { logits.read(s, &self.logits, false) };
        let row = EntropyLanes::new(s, &mut logits, None);
        let confidence = row.class(s);
        let above = s.sub(s.sub(confidence.own, theirs.odds.own), s.splat(self.threshold as f32));
        let clear = s.lt(s.splat(2e-6), s.abs(above));
        let ordinary = s.and(s.and(theirs.odds.ordinary, confidence.ordinary), clear);
        let done = s.mask_bits(ordinary);
        let selected = s.mask_bits(s.lt(s.zero(), above));
        let [top, second, rest, cross] = row.stats;
        let stats = [Lanes::of(s, top), Lanes::of(s, second), Lanes::of(s, rest), Lanes::of(s, cross)];
        for (i, r) in rows.clone().enumerate().filter(|(i, _)| done >> i & 1 == 1) {
            let [top, second, rest, cross] = stats.each_ref().map(|x| x.0[i]);
            self.set(r, EntropyStats { top, second, rest, cross }, selected >> i & 1 == 1);
        }
        !done
    }
}

struct Minimise<'a> {
    found: Cells<'a, Found>,
}

impl RowSetLoss<1> for Minimise<'_> {
    type State = EntropyStats;

    fn counts(&self, r: usize) -> bool {
        self.found.get(r).selected != 0
    }

    #[inline(always)]
    fn state<S: Simd>(&self, _s: S, r: usize, _rows: &[Row; 1]) -> EntropyStats {
        self.found.get(r).stats
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, _r: usize, stats: &EntropyStats) -> f32 {
        stats.entropy(s, 1.0).entropy as f32
    }

    /// dl/dz_k = -p_k (log p_k + H), log p_k + H = x_k less its mean.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        stats: &EntropyStats,
        rows: &[Row; 1],
        scale: f32,
        out: &[Option<RowOut>; 1],
    ) {
        let Some(out) = &out[0] else { return };
        let (row, scale) = (stats.entropy(s, 1.0), f64::from(scale));
        let top = -scale * row.odds.own * row.top_excess();
        row.write(s, &rows[0], out, scale * row.odds.share, (row.mean, -1.0), top);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(self)
    }
}

impl LaneLoss for &Minimise<'_> {
    type State<S: Simd> = Slopes<S>;

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        _saved: Option<Stats<S>>,
    ) -> LaneRows<S, Slopes<S>> {
        let found = |of: fn(&EntropyStats) -> f32| classes.by_row(s, |r| of(&self.found.get(r).stats));
        let stats = [found(|x| x.top), found(|x| x.second), found(|x| x.rest), found(|x| x.cross)];
        let row = EntropyLanes::new(s, classes, Some(stats));
        let at_top = s.neg(s.mul(row.odds.own, row.top_excess));
        LaneRows {
            stats,
            loss: row.entropy,
            own: s.zero(),
            ordinary: row.odds.ordinary,
            state: row.slopes(row.mean, s.splat(-1.0), at_top),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        slopes: &Slopes<S>,
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        [slopes.gradient(s, classes, k, scale)]
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let rows = call.rows;
    let room: &mut [std::mem::MaybeUninit<u8>] = std::mem::take(&mut call.workspace);
    // SAFETY: the workspace is aligned and has room for one per row; every place is written before it is read.
    let found = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<Found>(), rows) };
    let found = Cells::new(found);
    let select = Select {
        logits: call.logits,
        source: call.source_logits,
        threshold: call.opts.threshold,
        found,
        selected: call.selected.as_deref_mut().map(Cells::new),
    };
    let row_bytes = 2 * call.classes * call.logits.dtype.size();
    let blocks = Blocks::new(rows, (32 << 10) / row_bytes.max(1) + 1, 1);
    cpu.run(blocks.count, rows * row_bytes, &|i| {
        cpu.isa.dispatch(SelectBlock { select: &select, rows: blocks.range(i) })
    });
    row_sets::run(cpu, &Minimise { found }, row_sets_problem!(call, rows, [logits], [grad_logits]));
    Ok(())
}

/// After a header the losses, the flags of selected rows, their statistics, and room for sums.
#[cfg(gpu)]
fn places(rows: u64) -> [u64; 4] {
    let per_row = |bytes: u64| rows.saturating_mul(bytes).div_ceil(256).saturating_mul(256);
    let (losses, flags) = (256, 256 + per_row(4));
    let statistics = flags.saturating_add(per_row(4));
    [losses, flags, statistics, statistics.saturating_add(per_row(16))]
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::reduce::{self, ReduceArgs};
    use crate::cuda::{bytes_of, rows};
    use crate::registry::{Pass, Reduction};
    let pass = Pass::from_code(a.pass);
    let reduction = Reduction::from_code(a.opts.reduction);
    let place = |offset: u64| a.workspace.wrapping_byte_add(offset as usize);
    let [losses, flags, _, scratch] = places(a.rows).map(place);
    let count = place(0).cast::<f64>();
    if a.rows > 0 {
        let (grid, block) = rows::shape(a.rows, a.classes);
        let first = Args { pass: Pass::Forward as i32, ..*a };
        device.launch("open_set_entropy_minimization_select", grid, block, 0, unsafe { bytes_of(&first) })?;
        if reduction == Reduction::Mean {
            let flags = ReduceArgs { n: a.rows, values: flags, sum_out: count, ..Default::default() };
            reduce::run(device, &flags, scratch.cast())?;
        }
        if pass.backward() && !a.grad_logits.is_null() {
            device
                .launch("open_set_entropy_minimization_gradient", grid, block, 0, unsafe { bytes_of(a) })?;
        }
    }
    if pass.forward() && !a.loss.is_null() && reduction != Reduction::None {
        let total =
            ReduceArgs { n: a.rows, values: losses, loss_out: a.loss, divisor: 1.0, ..Default::default() };
        let mean = ReduceArgs { divisor_in: count, ..total };
        let total = if reduction == Reduction::Mean && a.rows > 0 { mean } else { total };
        reduce::run(device, &total, scratch.cast())?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    places(a.rows)[3].saturating_add(crate::cuda::reduce::scratch_bytes(a.rows).div_ceil(256) * 256)
}
