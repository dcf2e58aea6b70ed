//! Skeleton "rows of logits": per row one sweep for statistics and one for the gradient, the row staying in
//! cache between them.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, BLOCK, Scratch, ahead};
use crate::registry::{DType, Floats, FloatsMut, Reduction};
use bytemuck::{Pod, Zeroable};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

/// The mathematics of a loss on one row of logits and its label.
pub trait RowLoss: Sync {
    /// What the first sweep finds; some f32 values.
    type Stats: Pod;

    /// How many of them, from the first on, are saved for backward.
    const SAVED: usize = size_of::<Self::Stats>() / size_of::<f32>();

    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Self::Stats;

    /// What loss and gradient share of a row's statistics.
    type State;

    fn state<S: Simd>(&self, s: S, stats: Self::Stats, row: &Row, label: usize) -> Self::State;

    fn loss<S: Simd>(&self, s: S, state: &Self::State, label: usize) -> f32;

    /// Writes `scale` times the gradient. Reads the row only before it writes to the same place: `out` may
    /// be the row.
    fn gradient<S: Simd>(&self, s: S, state: &Self::State, row: &Row, label: usize, scale: f32, out: &RowOut);

    /// What a row counts in the mean.
    fn weight(&self, _label: usize) -> f64 {
        1.0
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

/// One row in memory, swept as often as a loss likes.
pub struct Row {
    ptr: *const u8,
    dtype: DType,
    pub len: usize,
    scratch: *mut f32,
    /// Room for what the first sweep computed of each element, null where the second will not need it or
    /// the row is too long.
    pub cache: *mut Cache,
    /// Set by the first sweep when it has filled the cache.
    pub cached: Cell<bool>,
}

/// Longest row whose values are kept between the sweeps; half a second-level cache.
const CACHED: usize = 64 << 10;

/// One value per element of a row, and one per block.
#[repr(C, align(64))]
pub struct Cache {
    pub values: [f32; CACHED],
    pub blocks: [f32; CACHED / BLOCK],
}

thread_local! {
    /// Of fixed size, and not on the stack of the caller's thread.
    static CACHE: Box<MaybeUninit<UnsafeCell<Cache>>> = Box::new_uninit();
}

/// Where the gradient of a row goes.
pub struct RowOut {
    ptr: *mut u8,
    dtype: DType,
    scratch: *mut f32,
}

impl Row {
    #[inline(always)]
    pub fn get(&self, k: usize) -> f32 {
        assert!(k < self.len);
        // SAFETY: within the row.
        unsafe { storage::read_one(self.dtype, self.ptr.add(k * self.dtype.size())) }
    }

    /// Where the cache holds the values from `start` on, a multiple of [`BLOCK`].
    #[inline(always)]
    pub fn cache_at(&self, start: usize) -> *mut f32 {
        assert!(!self.cache.is_null() && start < CACHED);
        // SAFETY: within the cache.
        unsafe { (&raw mut (*self.cache).values).cast::<f32>().add(start) }
    }

    /// Keeps one value for the block that begins at `start`.
    #[inline(always)]
    pub fn set_block_value(&self, start: usize, value: f32) {
        assert!(!self.cache.is_null());
        // SAFETY: this thread alone has the cache; the index is checked.
        unsafe { (&mut (*self.cache).blocks)[start / BLOCK] = value }
    }

    #[inline(always)]
    pub fn block_value(&self, start: usize) -> f32 {
        assert!(!self.cache.is_null());
        // SAFETY: as above.
        unsafe { (&(*self.cache).blocks)[start / BLOCK] }
    }

    /// Calls `sweep(start, block)` for consecutive blocks of at most [`BLOCK`] values.
    #[inline(always)]
    pub fn blocks<S: Simd>(&self, s: S, mut sweep: impl FnMut(usize, &[f32])) {
        let mut start = 0;
        while start < self.len {
            let n = BLOCK.min(self.len - start);
            // SAFETY: within the row; the slice ends before anything is written to the row.
            let block = unsafe {
                let src = self.ptr.add(start * self.dtype.size());
                ahead(src, n * self.dtype.size());
                std::slice::from_raw_parts(storage::read(s, self.dtype, src, n, self.scratch), n)
            };
            sweep(start, block);
            start += n;
        }
    }

    /// As [`Row::blocks`], on values that `map` changed first.
    #[inline(always)]
    pub fn mapped_blocks<S: Simd>(
        &self,
        s: S,
        map: impl Fn(S::F) -> S::F,
        mut sweep: impl FnMut(usize, &[f32]),
    ) {
        let scratch = self.scratch;
        self.blocks(
            s,
            #[inline(always)]
            |start, block| {
                let n = block.len();
                // SAFETY: `block` is the row or the scratch itself, read one vector before it is written.
                unsafe {
                    map_into(
                        s,
                        block.as_ptr(),
                        scratch,
                        n,
                        #[inline(always)]
                        |z, _| map(z),
                    );
                    sweep(start, std::slice::from_raw_parts(scratch, n));
                }
            },
        );
    }

    /// Stores `map(z, start of the vector)` for every element of the row. `map` sees a value of 0 beyond the
    /// end.
    #[inline(always)]
    pub fn map_to<S: Simd>(&self, s: S, out: &RowOut, map: impl Fn(S::F, usize) -> S::F) {
        out.blocks(
            s,
            self.len,
            #[inline(always)]
            |start, n, target| {
                // SAFETY: within the row; each vector is read before it is written, so `out` may be the row.
                unsafe {
                    let src = self.ptr.add(start * self.dtype.size());
                    let src = storage::read(s, self.dtype, src, n, self.scratch);
                    map_into(
                        s,
                        src,
                        target,
                        n,
                        #[inline(always)]
                        |z, k| map(z, start + k),
                    );
                }
            },
        );
    }
}

impl RowOut {
    /// Has `fill(start, n, target)` write each block of the row as f32.
    #[inline(always)]
    pub fn blocks<S: Simd>(&self, s: S, len: usize, fill: impl Fn(usize, usize, *mut f32)) {
        let direct = self.dtype == DType::F32;
        let mut start = 0;
        while start < len {
            let n = BLOCK.min(len - start);
            // SAFETY: within the row.
            unsafe {
                let dst = self.ptr.add(start * self.dtype.size());
                ahead(dst, n * self.dtype.size());
                fill(start, n, if direct { dst.cast() } else { self.scratch });
                if !direct {
                    storage::write(s, self.dtype, self.scratch, dst, n, false);
                }
            }
            start += n;
        }
    }

    /// Overrides element `k`; after [`Row::map_to`].
    #[inline(always)]
    pub fn set(&self, k: usize, value: f32) {
        // SAFETY: labels are checked to lie within the row.
        unsafe { storage::write_one(self.dtype, value, self.ptr.add(k * self.dtype.size())) }
    }

    fn fill_zero(&self, len: usize) {
        // SAFETY: the row has `len` elements; zero bytes are 0.0 in every type.
        unsafe { std::ptr::write_bytes(self.ptr, 0, len * self.dtype.size()) }
    }
}

/// Stores `map(z, k)` for `n` values.
///
/// # Safety
/// Both hold `n` values; they may be the same.
#[inline(always)]
pub unsafe fn map_into<S: Simd>(
    s: S,
    src: *const f32,
    dst: *mut f32,
    n: usize,
    map: impl Fn(S::F, usize) -> S::F,
) {
    unsafe {
        let mut k = 0;
        while k + S::LANES <= n {
            s.store(dst.add(k), map(s.load(src.add(k)), k));
            k += S::LANES;
        }
        if k < n {
            let z = s.load_partial(src.add(k), n - k, 0.0);
            s.store_partial(dst.add(k), n - k, map(z, k));
        }
    }
}

/// Folds a block into four independent accumulators, to hide the latency of a step; lanes beyond the end
/// see `fill`.
#[inline(always)]
pub fn fold<S: Simd, A: Copy>(
    s: S,
    block: &[f32],
    fill: f32,
    mut acc: [A; 4],
    step: impl Fn(A, S::F, usize) -> A,
) -> [A; 4] {
    let (ptr, n, mut k) = (block.as_ptr(), block.len(), 0);
    // SAFETY: all reads are within the block.
    unsafe {
        while k + 4 * S::LANES <= n {
            acc[0] = step(acc[0], s.load(ptr.add(k)), k);
            acc[1] = step(acc[1], s.load(ptr.add(k + S::LANES)), k + S::LANES);
            acc[2] = step(acc[2], s.load(ptr.add(k + 2 * S::LANES)), k + 2 * S::LANES);
            acc[3] = step(acc[3], s.load(ptr.add(k + 3 * S::LANES)), k + 3 * S::LANES);
            k += 4 * S::LANES;
        }
        while k + S::LANES <= n {
            acc[0] = step(acc[0], s.load(ptr.add(k)), k);
            k += S::LANES;
        }
        if k < n {
            acc[1] = step(acc[1], s.load_partial(ptr.add(k), n - k, fill), k);
        }
    }
    acc
}

/// As [`fold`], but element `skip` shows as `fill`; a `skip` beyond the block skips nothing.
#[inline(always)]
#[allow(clippy::redundant_closure)] // a reference to `step` would not be inlined
pub fn fold_without<S: Simd, A: Copy>(
    s: S,
    block: &[f32],
    skip: usize,
    fill: f32,
    acc: [A; 4],
    step: impl Fn(A, S::F, usize) -> A,
) -> [A; 4] {
    // Up to the vector with the element, that vector, and what follows.
    let first = if skip < block.len() { skip / S::LANES * S::LANES } else { block.len() };
    let mut acc = fold(
        s,
        &block[..first],
        fill,
        acc,
        #[inline(always)]
        |acc, z, k| step(acc, z, k),
    );
    if first == block.len() {
        return acc;
    }
    let lanes = S::LANES.min(block.len() - first);
    // SAFETY: the vector lies within the block.
    let z = unsafe { s.load_partial(block.as_ptr().add(first), lanes, fill) };
    let (below, upto) = (s.first_n(skip - first), s.first_n(skip - first + 1));
    let z = s.select(below, z, s.select(upto, s.splat(fill), z));
    acc[3] = step(acc[3], z, first);
    if first + lanes == block.len() {
        return acc;
    }
    fold(
        s,
        &block[first + lanes..],
        fill,
        acc,
        #[inline(always)]
        |acc, z, k| step(acc, z, first + lanes + k),
    )
}

#[inline(always)]
pub fn total<S: Simd>(s: S, acc: [S::D; 4]) -> f64 {
    s.d_sum(s.d_merge(s.d_merge(acc[0], acc[1]), s.d_merge(acc[2], acc[3])))
}

pub fn run<L: RowLoss>(cpu: &Cpu, loss: &L, problem: Problem) {
    let Problem { rows, classes, logits, labels, ignore_index, reduction, .. } = problem;
    let is_ignored = |label: i64| ignore_index == Some(label);
    let total_weight = || -> f64 {
        let blocks = Blocks::new(rows, 4096, 1);
        cpu.sum(blocks.count, rows * 8, &|i| {
            labels[blocks.range(i)]
                .iter()
                .filter(|&&l| !is_ignored(l))
                .map(|&l| loss.weight(l as usize))
                .sum()
        })
    };
    let scale = match reduction {
        Reduction::Mean => match total_weight() {
            0.0 => 0.0,
            weight => 1.0 / weight,
        },
        _ => 1.0,
    };
    let per_row = reduction == Reduction::None;
    let want_loss = problem.loss.is_some();
    let (losses, reduced) = match problem.loss {
        Some(all) if per_row => (Some(Cells::new(all)), None),
        one => (None, one),
    };
    let row_bytes = classes * logits.dtype.size();
    let pass = Sweep {
        loss,
        logits,
        labels,
        ignore_index,
        scale,
        per_row,
        losses,
        want_loss,
        saved_in: problem.saved_in,
        saved_out: problem.saved_out.map(Cells::new),
        grad_loss: problem.grad_loss,
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
    scale: f64,
    per_row: bool,
    losses: Option<Cells<'a>>,
    want_loss: bool,
    saved_in: Option<&'a [f32]>,
    saved_out: Option<Cells<'a>>,
    grad_loss: Option<&'a [f32]>,
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
        let cache = if pass.grad_logits.is_some() && pass.saved_in.is_none() && pass.logits.columns <= CACHED
        {
            CACHE.with(|cache| UnsafeCell::raw_get(cache.as_ptr()))
        } else {
            std::ptr::null_mut()
        };
        let mut total = 0.0;
        for r in self.rows {
            let label = pass.labels[r];
            // SAFETY: row r is within the checked buffers, and only this block writes it.
            let (row, out) = unsafe {
                let logits = &pass.logits;
                let row = Row {
                    ptr: logits.row(r),
                    dtype: logits.dtype,
                    len: logits.columns,
                    scratch: read_scratch.ptr(),
                    cache,
                    cached: Cell::new(false),
                };
                let out = pass.grad_logits.as_ref().map(|g| RowOut {
                    ptr: g.row(r),
                    dtype: g.dtype,
                    scratch: write_scratch.ptr(),
                });
                (row, out)
            };
            if pass.ignore_index == Some(label) {
                if let Some(losses) = pass.losses {
                    losses.set(r, 0.0);
                }
                if let Some(saved) = pass.saved_out {
                    (0..L::SAVED).for_each(|i| saved.set(r * L::SAVED + i, 0.0));
                }
                if let Some(out) = out {
                    out.fill_zero(row.len);
                }
                continue;
            }
            let label = label as usize;
            let stats: L::Stats = match pass.saved_in {
                Some(saved) => {
                    let mut stats = L::Stats::zeroed();
                    let values: &mut [f32] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut stats));
                    values[..L::SAVED].copy_from_slice(&saved[r * L::SAVED..][..L::SAVED]);
                    stats
                }
                None => pass.loss.stats(s, &row, label),
            };
            if let Some(saved) = pass.saved_out {
                let values: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&stats));
                values[..L::SAVED].iter().enumerate().for_each(|(i, &v)| saved.set(r * L::SAVED + i, v));
            }
            let state = pass.loss.state(s, stats, &row, label);
            if pass.want_loss {
                let value = pass.loss.loss(s, &state, label);
                total += f64::from(value);
                if let Some(losses) = pass.losses {
                    losses.set(r, value);
                }
            }
            if let Some(out) = out {
                let upstream = pass.grad_loss.map_or(1.0, |g| g[if pass.per_row { r } else { 0 }]);
                let scale = (f64::from(upstream) * pass.scale) as f32;
                pass.loss.gradient(s, &state, &row, label, scale, &out);
            }
        }
        total
    }
}
