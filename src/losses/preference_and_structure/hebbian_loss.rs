//! |pattern -+ state|^2 / (4 n) of all pairs, and sum_p g_p (state -+ pattern_p) / (2 n). With the state's sign changed
//! both are differences: the inner loops of the Gram tiles.

use crate::cpu::Cpu;
use crate::cpu::gram::{ROWS, kernel};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage;
use crate::registry::entries::hebbian_loss::Call;
use crate::registry::{Floats, FloatsMut, Result};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;

const PLUS: i32 = 1;
/// Patterns at a time.
const COLUMNS: usize = 64;
/// Patterns of a task of the losses: enough to be worth packing the states.
const TILE: usize = 256;
/// Neurons that are summed up in one go: few enough for f32 sums.
const DEPTH: usize = 64;
/// Neurons of a task of the gradient.
const WIDTH: usize = 256;
/// Floats from one pattern to the next; not a multiple of a page.
const PITCH: usize = WIDTH + 16;

/// One thread's, of fixed size.
#[repr(C, align(64))]
struct Scratch {
    /// States as they are, then packed.
    states: [f32; ROWS * PITCH],
    panel: [f32; ROWS * WIDTH],
    patterns: [f32; COLUMNS * PITCH],
    /// Squared distances or weights, `[pattern][state]`.
    tile: [f32; TILE * ROWS],
    sums: [f32; ROWS * WIDTH],
}

thread_local! {
    static SCRATCH: Box<MaybeUninit<UnsafeCell<Scratch>>> = Box::new_uninit();
}

#[derive(Clone, Copy)]
struct Pairs<'a> {
    state: Floats<'a>,
    patterns: Floats<'a>,
    batch: usize,
    pattern_count: usize,
    n: usize,
    /// Of the states: their sign in the differences.
    sign: f32,
}

/// Part `columns` of `rows` of a matrix as f32 times `sign`, `PITCH` apart.
///
/// # Safety
/// They are within the matrix; `to` has room for as many rows.
#[inline(always)]
unsafe fn copy<S: Simd>(
    s: S,
    from: Floats,
    rows: Range<usize>,
    columns: Range<usize>,
    sign: f32,
    to: *mut f32,
) {
    let (sign, size) = (s.splat(sign), from.dtype.size());
    for (slot, row) in rows.enumerate() {
        for k in (0..columns.len()).step_by(S::LANES) {
            let lanes = S::LANES.min(columns.len() - k);
            unsafe {
                let x =
                    storage::load_typed(s, from.dtype, from.row(row).add((columns.start + k) * size), lanes);
                s.store(to.add(slot * PITCH + k), s.mul(sign, x));
            }
        }
    }
}

struct Losses<'a> {
    pairs: Pairs<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    out: Cells<'a>,
}

impl Kernel for Losses<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Losses { pairs, rows, columns, out } = self;
        let Pairs { state, patterns, pattern_count, n, sign, .. } = pairs;
        let scratch = SCRATCH.with(|scratch| UnsafeCell::raw_get(scratch.as_ptr()));
        // SAFETY: this thread alone has the scratch; rows and columns are within the buffers.
        unsafe {
            let states = (&raw mut (*scratch).states).cast::<f32>();
            let panel = (&raw mut (*scratch).panel).cast::<f32>();
            let points = (&raw mut (*scratch).patterns).cast::<f32>();
            let tile = (&raw mut (*scratch).tile).cast::<f32>();
            for start in (0..n).step_by(DEPTH) {
                let part = start..n.min(start + DEPTH);
                let depth = part.len();
                copy(s, state, rows.clone(), part.clone(), sign, states);
                kernel::pack(s, states, PITCH, rows.len(), depth, panel);
                for first in columns.clone().step_by(COLUMNS) {
                    let some = first..columns.end.min(first + COLUMNS);
                    copy(s, patterns, some.clone(), part.clone(), 1.0, points);
                    let tile = tile.add((first - columns.start) * ROWS);
                    let (height, width) = (rows.len(), some.len());
                    kernel::distances(s, panel, points, PITCH, height, width, depth, 1.0, start > 0, tile);
                }
            }
            let scale = 0.25 / n as f64;
            for (i, row) in rows.enumerate() {
                for (j, column) in columns.clone().enumerate() {
                    out.set(
                        row * pattern_count + column,
                        (f64::from(*tile.add(j * ROWS + i)) * scale) as f32,
                    );
                }
            }
        }
    }
}

struct Gradient<'a> {
    pairs: Pairs<'a>,
    rows: Range<usize>,
    part: Range<usize>,
    grad_loss: Option<&'a [f32]>,
    out: FloatsMut<'a>,
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { pairs, rows, part, grad_loss, out } = self;
        let Pairs { state, patterns, pattern_count, n, sign, .. } = pairs;
        let depth = part.len();
        let scratch = SCRATCH.with(|scratch| UnsafeCell::raw_get(scratch.as_ptr()));
        // SAFETY: as above; this task alone reads and writes its part of the states.
        unsafe {
            let states = (&raw mut (*scratch).states).cast::<f32>();
            let panel = (&raw mut (*scratch).panel).cast::<f32>();
            let points = (&raw mut (*scratch).patterns).cast::<f32>();
            let weights = (&raw mut (*scratch).tile).cast::<f32>();
            let sums = (&raw mut (*scratch).sums).cast::<f32>();
            copy(s, state, rows.clone(), part.clone(), sign, states);
            kernel::pack(s, states, PITCH, rows.len(), depth, panel);
            let wide = 2 * S::LANES;
            std::ptr::write_bytes(sums, 0, rows.len().next_multiple_of(wide) * depth);
            for first in (0..pattern_count).step_by(COLUMNS) {
                let columns = first..pattern_count.min(first + COLUMNS);
                copy(s, patterns, columns.clone(), part.clone(), 1.0, points);
                for (i, row) in rows.clone().enumerate() {
                    for (j, column) in columns.clone().enumerate() {
                        let g = grad_loss.map_or(1.0, |g| g[row * pattern_count + column]);
                        weights.add(j * ROWS + i).write(g);
                    }
                }
                for i in rows.len()..rows.len().next_multiple_of(wide) {
                    (0..columns.len()).for_each(|j| weights.add(j * ROWS + i).write(0.0));
                }
                let (height, width) = (rows.len(), columns.len());
                kernel::weighted_differences(s, panel, points, PITCH, height, width, depth, weights, sums);
            }
            let scale = f64::from(sign) * 0.5 / n as f64;
            for (i, row) in rows.enumerate() {
                let to = out.row(row).add(part.start * out.dtype.size());
                for k in 0..depth {
                    let sum = f64::from(*sums.add(i / wide * wide * depth + k * wide + i % wide));
                    storage::write_one(out.dtype, (sum * scale) as f32, to.add(k * out.dtype.size()));
                }
            }
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (batch, pattern_count, n) = (call.batch, call.pattern_count, call.n);
    let sign = if call.opts.sign == PLUS { -1.0 } else { 1.0 };
    let pairs = Pairs { state: call.state, patterns: call.patterns, batch, pattern_count, n, sign };
    let rows = |block: usize| block * ROWS..pairs.batch.min((block + 1) * ROWS);
    let down = batch.div_ceil(ROWS);
    let work = batch.saturating_mul(pattern_count.max(1)).saturating_mul(n) / 4;
    if call.pass.forward()
        && let Some(out) = call.loss.as_deref_mut().map(Cells::new)
    {
        let across = pattern_count.div_ceil(TILE);
        cpu.run(down * across, work, &|task| {
            let first = task % across * TILE;
            let columns = first..pattern_count.min(first + TILE);
            cpu.isa.dispatch(Losses { pairs, rows: rows(task / across), columns, out });
        });
    }
    if call.pass.backward()
        && let Some(out) = call.grad_state
    {
        let across = n.div_ceil(WIDTH);
        let grad_loss = call.grad_loss;
        cpu.run(down * across, work, &|task| {
            let first = task % across * WIDTH;
            let part = first..n.min(first + WIDTH);
            cpu.isa.dispatch(Gradient { pairs, rows: rows(task / across), part, grad_loss, out });
        });
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(
    device: &dyn crate::cuda::Device,
    a: &crate::registry::entries::hebbian_loss::Args,
) -> Result<()> {
    const TILE: u64 = 64;
    let pass = crate::registry::Pass::from_code(a.pass);
    let launch = |kernel: &str, across: u64| {
        let blocks = a.batch.div_ceil(TILE).saturating_mul(across.div_ceil(TILE)).min(0x7fff_ffff) as u32;
        // SAFETY: a struct of integers, floats and pointers.
        device.launch(kernel, [blocks, 1, 1], [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })
    };
    if pass.forward() && !a.loss.is_null() && a.batch > 0 && a.pattern_count > 0 {
        launch("hebbian_loss", a.pattern_count)?;
    }
    if pass.backward() && !a.grad_state.is_null() && a.batch > 0 {
        launch("hebbian_loss_gradient", a.n)?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &crate::registry::entries::hebbian_loss::Args) -> u64 {
    0
}
