//! n h = sum_p (s . x_p) x_p - s sum_p x_p^2, and its sign, or that of tanh(beta h) plus a draw.

use crate::cpu::Cpu;
use crate::cpu::matmul::Matrix;
use crate::cpu::overlaps::{CHUNK, WIDTH, fields, overlaps};
use crate::cpu::parallel::Cells;
use crate::cpu::philox::Philox;
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::storage::{self, Scratch};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{overlaps::Overlaps, products::Product, tiles};
use crate::registry::entries::hopfield_update::{Args, Call};
use crate::registry::{Floats, FloatsMut, Result};
#[cfg(gpu)]
use std::ffi::c_void;
use std::ops::Range;

/// Closer to 0 than this the sign is looked at in f64.
const CLOSE: f32 = 1e-6;

/// (2 word + 1) / 2^32 - 1, of magnitude below 1.
#[inline(always)]
fn draw(word: u32) -> f32 {
    const MOST: f32 = 1.0 - f32::EPSILON / 2.0;
    let exact = (2.0 * f64::from(word) + 1.0) / 4_294_967_296.0 - 1.0;
    (exact as f32).clamp(-MOST, MOST)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let diagonal = if a.opts.zero_diagonal != 0 { a.n } else { 0 };
    let overlaps = a.batch.min(CHUNK as u64).saturating_mul(a.pattern_count);
    Size::default().add::<f32>(diagonal).add::<f32>(overlaps).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (batch, count, n) = (call.batch, call.pattern_count, call.n);
    let Some(out) = call.next_state else { return Ok(()) };
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let diagonal = (call.opts.zero_diagonal != 0).then(|| {
        let diagonal = work.take(n, 0.0f32);
        squares(cpu, call.patterns, count, diagonal);
        &*diagonal
    });
    // SAFETY: the checked buffers, as rows of n values.
    let matrix = |x: Floats, first: usize, rows: usize| unsafe {
        Matrix::new(x.at(first * n), x.dtype, rows, n, n, 1)
    };
    let patterns = matrix(call.patterns, 0, count);
    let step = Step {
        state: call.state,
        out,
        diagonal,
        draws: call.draws,
        philox: Philox::new(call.opts.seed, call.opts.offset),
        slope: call.opts.beta / n as f64,
    };
    let all = work.take(batch.min(CHUNK) * count, 0.0f32);
    for first in (0..batch).step_by(CHUNK) {
        let rows = CHUNK.min(batch - first);
        let found = &mut all[..rows * count];
        overlaps(cpu, matrix(call.state, first, rows), patterns, found);
        fields(cpu, found, rows, patterns, &|rows, columns, tile| {
            let rows = first + rows.start..first + rows.end;
            cpu.isa.dispatch(Part { step: &step, n, rows, columns, tile });
        });
    }
    Ok(())
}

/// The sum over patterns of the squares of each neuron.
fn squares(cpu: &Cpu, patterns: Floats, count: usize, sums: &mut [f32]) {
    let n = sums.len();
    let out = Cells::new(sums);
    cpu.run(n.div_ceil(WIDTH), patterns.len * 4, &|block| {
        let start = block * WIDTH;
        cpu.isa.dispatch(Squares { patterns, count, n, start, out });
    });
}

struct Squares<'a> {
    patterns: Floats<'a>,
    count: usize,
    n: usize,
    start: usize,
    out: Cells<'a>,
}

impl Kernel for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Squares { patterns, count, n, start, out } = self;
        let width = WIDTH.min(n - start);
        let mut scratch = Scratch::<WIDTH>::new();
        let mut sums = [0.0f64; WIDTH];
        for p in 0..count {
            // SAFETY: within the row of a pattern.
            let row = unsafe {
                let from = storage::read(s, patterns.dtype, patterns.at(p * n + start), width, scratch.ptr());
                std::slice::from_raw_parts(from, width)
            };
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        for (k, sum) in sums.iter().enumerate().take(width) {
            out.set(start + k, *sum as f32);
        }
    }
}

struct Step<'a> {
    state: Floats<'a>,
    out: FloatsMut<'a>,
    diagonal: Option<&'a [f32]>,
    draws: Option<&'a [f32]>,
    philox: Philox,
    /// beta / n.
    slope: f64,
}

/// Some neurons of some states; the tile has the first term of n h.
struct Part<'a> {
    step: &'a Step<'a>,
    n: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    tile: *mut f32,
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Part { step, n, rows, columns, tile } = self;
        for (slot, b) in rows.enumerate() {
            // SAFETY: a row of the tile.
            let values =
                unsafe { std::slice::from_raw_parts_mut(tile.add(slot * columns.len()), columns.len()) };
            let at = b * n + columns.start;
            // Of the next state, which is too far away for the processor to foresee.
            let bytes = columns.len() * step.state.dtype.size();
            storage::fetch_row(step.state.ptr.wrapping_add((at + n) * step.state.dtype.size()), bytes);
            storage::fetch_row(step.out.ptr.wrapping_add((at + n) * step.state.dtype.size()), bytes);
            step.part(s, at, columns.start, values);
        }
    }
}

impl Step<'_> {
    /// Neurons from `i` on of one state, elements from `at` on; `values` are the first term of n h.
    #[inline(always)]
    fn part<S: Simd>(&self, s: S, at: usize, i: usize, values: &mut [f32]) {
        let count = values.len();
        let (one, minus) = (s.splat(1.0), s.splat(-1.0));
        let mut scratch = Scratch::<WIDTH>::new();
        let mut drawn = [0.0f32; WIDTH];
        let draws = match self.draws {
            _ if self.slope == 0.0 => &drawn,
            Some(draws) => &draws[at..at + count],
            None => {
                self.philox.fill(
                    S::ISA,
                    at as u64,
                    &mut drawn[..count],
                    #[inline(always)]
                    |words, out| {
                        for (out, &word) in out.iter_mut().zip(words) {
                            *out = draw(word);
                        }
                    },
                );
                &drawn
            }
        };
        // SAFETY: within the row of the state, which is read before it is written; tiles are disjoint.
        unsafe {
            let state = storage::read(s, self.state.dtype, self.state.at(at), count, scratch.ptr());
            let values = values.as_mut_ptr();
            for k in (0..count).step_by(S::LANES) {
                let lanes = S::LANES.min(count - k);
                let spin = storage::load_lanes(s, state.add(k), lanes);
                let mut h = storage::load_lanes(s, values.add(k), lanes);
                if let Some(diagonal) = self.diagonal {
                    let own = storage::load_lanes(s, diagonal.as_ptr().add(i + k), lanes);
                    h = s.sub(h, s.mul(spin, own));
                }
                let next = if self.slope == 0.0 {
                    let zero = s.zero();
                    s.select(s.gt(h, zero), one, s.select(s.lt(h, zero), minus, spin))
                } else {
                    let t = math::tanh(s, s.mul(s.splat(self.slope as f32), h));
                    let sum = s.add(t, storage::load_lanes(s, draws.as_ptr().add(k), lanes));
                    let close = s.mask_bits(s.and(s.le(s.abs(sum), s.splat(CLOSE)), s.first_n(lanes)));
                    let next = s.select(s.ge(sum, s.zero()), one, minus);
                    if close == 0 { next } else { self.decide(s, h, next, &draws[k..k + lanes], close) }
                };
                storage::store_lanes(s, values.add(k), lanes, s.select(s.is_nan(h), h, next));
            }
            storage::write(s, self.out.dtype, values, self.out.at(at), count, false);
        }
    }

    /// `next` with the lanes of `close` decided in f64.
    #[inline(always)]
    fn decide<S: Simd>(&self, s: S, h: S::F, next: S::F, draws: &[f32], close: u32) -> S::F {
        let (mut fields, mut decided) = ([0.0f32; 16], [0.0f32; 16]);
        const { assert!(S::LANES <= 16) };
        // SAFETY: room for a vector.
        unsafe {
            s.store(fields.as_mut_ptr(), h);
            s.store(decided.as_mut_ptr(), next);
        }
        for (k, &draw) in draws.iter().enumerate().filter(|(k, _)| close >> k & 1 == 1) {
            let up = (self.slope * f64::from(fields[k])).tanh() + f64::from(draw) >= 0.0;
            decided[k] = if up { 1.0 } else { -1.0 };
        }
        unsafe { s.load(decided.as_ptr()) }
    }
}

/// Of a device's workspace: the squares of each neuron, and overlaps.
#[cfg(gpu)]
fn cuda_plan(a: &Args, base: *mut c_void) -> (*mut f32, Overlaps, u64) {
    let mut work = tiles::Workspace::new(base);
    let diagonal = work.take(a.n);
    let overlaps = Overlaps::new(a.batch, a.pattern_count, a.n, a.dtype, &mut work);
    (diagonal, overlaps, work.bytes())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    cuda_plan(a, std::ptr::null_mut()).2
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    if a.batch == 0 || a.next_state.is_null() {
        return Ok(());
    }
    let (diagonal, overlaps, _) = cuda_plan(a, a.workspace);
    let size = Product::of(a.dtype).size();
    for (first, batch) in Overlaps::chunks(a.batch) {
        let state = a.state.wrapping_byte_add((first * a.n * size) as usize);
        let overlaps = overlaps.of(state, batch, a.patterns, true);
        overlaps.launch(device)?;
        let settled = if overlaps.unsettled() { batch } else { 0 };
        let args = StepArgs { call: *a, overlaps, diagonal, first, settled };
        // SAFETY: a struct of integers, floats and pointers.
        let args = unsafe { crate::cuda::bytes_of(&args) };
        let others = if first == 0 && a.opts.zero_diagonal != 0 { a.n.div_ceil(32) } else { 0 };
        if settled + others > 0 {
            let grid = [(settled + others) as u32, 1, 1];
            device.launch("hopfield_settle", grid, [256, 1, 1], 0, args)?;
        }
        overlaps.launch_fields(device, "hopfield_update", "hopfield_add_parts", args)?;
    }
    Ok(())
}

/// Mirrors kernels/preference_and_structure/hopfield_update.cuh.
#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct StepArgs {
    call: Args,
    overlaps: Overlaps,
    diagonal: *mut f32,
    /// State that those of the overlaps begin with.
    first: u64,
    /// Blocks that settle overlaps; the others are at the diagonal.
    settled: u64,
}
