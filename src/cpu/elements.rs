//! Skeleton "element pairs": inputs of the same length side by side, one value and some gradients per
//! element, in one pass.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

mod operands;

pub use operands::{Block, Operand};

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::reduction;
use crate::cpu::simd::{Kernel, Simd, batch};
use crate::cpu::storage::{self, BLOCK, STREAM_BYTES, Scratch};
use crate::registry::{DType, FloatsMut, Reduction};
use operands::{ROOM, prepare, read, scale_into};

/// Vectors whose values are added up in f32.
const GROUP: usize = 4;

/// The mathematics of a loss of `I` inputs with gradients for `G` of them.
pub trait ElementLoss<const I: usize, const G: usize>: Sync {
    /// How many inputs, the last ones, are [`Operand::Derived`] from the others: what is better computed for many
    /// elements at once.
    const DERIVED: usize = 0;

    /// Computes them for a block of elements.
    #[inline(always)]
    fn derive<S: Simd>(&self, _s: S, _block: Block<I>, _wants_loss: bool) {}

    fn value<S: Simd>(&self, s: S, x: [S::F; I]) -> S::F;

    fn gradient<S: Simd>(&self, s: S, x: [S::F; I]) -> [S::F; G];
}

pub struct Problem<'a, const I: usize, const G: usize> {
    pub n: usize,
    /// What reduction batchmean divides by.
    pub rows: usize,
    pub inputs: [Operand<'a>; I],
    pub reduction: Reduction,
    pub loss: Option<&'a mut [f32]>,
    pub grad_loss: Option<&'a [f32]>,
    pub gradients: [Option<FloatsMut<'a>>; G],
}

pub fn run<const I: usize, const G: usize, L: ElementLoss<I, G>>(
    cpu: &Cpu,
    loss: &L,
    problem: Problem<I, G>,
) {
    let Problem { n, rows, inputs, reduction, grad_loss, gradients, .. } = problem;
    let per_element = reduction == Reduction::None;
    let scale = match reduction {
        Reduction::Mean if n > 0 => 1.0 / n as f64,
        Reduction::BatchMean if rows > 0 => 1.0 / rows as f64,
        _ => 1.0,
    };
    let want_loss = problem.loss.is_some();
    let (losses, reduced) = reduction::losses(problem.loss, reduction);
    // One upstream gradient for all, or one per element.
    let (upstream, scale_of) = match grad_loss {
        Some(g) if per_element => (Some(g), scale as f32),
        Some(g) => (None, (f64::from(g.first().copied().unwrap_or(1.0)) * scale) as f32),
        None => (None, scale as f32),
    };
    let in_place =
        |g: &FloatsMut| inputs.iter().any(|x| matches!(x, Operand::Full(x) if x.ptr == g.ptr.cast_const()));
    let stream = gradients.iter().flatten().all(|g| !in_place(g) && n * g.dtype.size() > STREAM_BYTES);
    let pass =
        Pass { loss, inputs, losses, want_loss, upstream, scale: scale_of, stream, outputs: gradients };
    let blocks = Blocks::new(n, 16 * BLOCK, BLOCK);
    let traffic = n * inputs.len() * 4;
    let total = cpu
        .sum(blocks.count, traffic, &|i| cpu.isa.dispatch(PassBlock { pass: &pass, range: blocks.range(i) }));
    if let Some(out) = reduced {
        out[0] = (total * scale) as f32;
    }
}

struct Pass<'a, const I: usize, const G: usize, L> {
    loss: &'a L,
    inputs: [Operand<'a>; I],
    losses: Option<Cells<'a>>,
    want_loss: bool,
    upstream: Option<&'a [f32]>,
    scale: f32,
    stream: bool,
    outputs: [Option<FloatsMut<'a>>; G],
}

struct PassBlock<'a, const I: usize, const G: usize, L> {
    pass: &'a Pass<'a, I, G, L>,
    range: std::ops::Range<usize>,
}

impl<const I: usize, const G: usize, L: ElementLoss<I, G>> Kernel for PassBlock<'_, I, G, L> {
    /// Sum of the values.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let want_gradient = self.pass.outputs.iter().any(Option::is_some);
        match (self.pass.want_loss, want_gradient) {
            (true, true) => self.sweep::<S, true, true>(s),
            (true, false) => self.sweep::<S, true, false>(s),
            (false, true) => self.sweep::<S, false, true>(s),
            (false, false) => 0.0,
        }
    }
}

/// Where the values of one block stand.
struct Place<const I: usize, const G: usize> {
    from: [(*const u8, DType); I],
    /// Factor of each element's gradient.
    scale: *const f32,
    /// Null: not wanted, as below.
    losses: *mut f32,
    to: [(*mut u8, DType); G],
    stream: [bool; G],
}

/// Elements before the first that begins a cache line.
fn before_line(to: &FloatsMut) -> usize {
    (to.ptr.addr().wrapping_neg() & 63) / to.dtype.size()
}

impl<const I: usize, const G: usize, L: ElementLoss<I, G>> PassBlock<'_, I, G, L> {
    #[inline(always)]
    fn sweep<S: Simd, const LOSS: bool, const GRADIENT: bool>(self, s: S) -> f64 {
        let pass = self.pass;
        let most = BLOCK.min(self.range.len());
        let mut inputs = [const { Scratch::<ROOM>::new() }; I];
        let scratch = inputs.each_mut().map(Scratch::ptr);
        let mut scales = Scratch::<{ BLOCK + 16 }>::new();
        for i in 0..I {
            // SAFETY: the scratch has room for two blocks.
            unsafe { prepare(s, pass.inputs[i], scratch[i], most) };
        }
        if pass.upstream.is_none() {
            // SAFETY: within the scratch.
            (0..most).for_each(|k| unsafe { scales.ptr().add(k).write(pass.scale) });
        }
        let mut place = Place {
            from: [(std::ptr::null(), DType::F32); I],
            scale: scales.ptr(),
            losses: std::ptr::null_mut(),
            to: [(std::ptr::null_mut(), DType::F32); G],
            stream: [false; G],
        };
        // Streamed stores are aligned: after a few first elements, blocks begin where a gradient's cache line
        // does. (Ranges are whole blocks, so they are as many in each.) A gradient that lies differently is
        // not streamed.
        let mut head = match pass.outputs.iter().flatten().next() {
            Some(output) if pass.stream => before_line(output),
            _ => 0,
        };
        let streamed =
            pass.outputs.map(|output| pass.stream && output.is_some_and(|to| before_line(&to) == head));
        let mut total = s.d_zero();
        let mut start = self.range.start;
        while start < self.range.end {
            let n = if head > 0 { head } else { BLOCK }.min(self.range.end - start);
            place.stream = if head > 0 { [false; G] } else { streamed };
            head = 0;
            // SAFETY: everything is within the checked buffers; this block alone writes its range.
            unsafe {
                for i in 0..I {
                    place.from[i] = read(s, pass.inputs[i], start, n, scratch[i]);
                    if L::DERIVED > 0 {
                        let (from, dtype) = place.from[i];
                        let widened = batch::widened(s, dtype, from, n, scratch[i]);
                        place.from[i] = (widened.cast(), DType::F32);
                    }
                }
                for g in 0..G {
                    if let Some(output) = &pass.outputs[g] {
                        place.to[g] = (output.at(start), output.dtype);
                    }
                }
                if let Some(losses) = pass.losses {
                    place.losses = losses.at(start);
                }
                if let Some(upstream) = pass.upstream {
                    scale_into(s, &upstream[start..start + n], pass.scale, scales.ptr());
                }
                if L::DERIVED > 0 {
                    let from = &place.from.map(|(from, _)| from.cast());
                    pass.loss.derive(s, Block { from, scratch, n }, LOSS);
                }
                // What is left to do where terms are derived has a short chain, and little to wait for.
                let mut k = if L::DERIVED > 0 {
                    self.steps::<S, LOSS, GRADIENT, 1>(s, &place, n, &mut total)
                } else {
                    self.steps::<S, LOSS, GRADIENT, 2>(s, &place, n, &mut total)
                };
                while k < n {
                    let mut sum = s.zero();
                    self.step::<S, LOSS, GRADIENT, 1>(s, &place, k, S::LANES.min(n - k), &mut sum);
                    total = s.d_add(total, sum);
                    k += S::LANES;
                }
            }
            start += n;
        }
        if pass.stream {
            s.fence();
        }
        GROUP as f64 * s.d_sum(total)
    }

    /// All of `n` elements but the last few, `N` vectors at a time; returns how many.
    #[inline(always)]
    unsafe fn steps<S: Simd, const LOSS: bool, const GRADIENT: bool, const N: usize>(
        &self,
        s: S,
        place: &Place<I, G>,
        n: usize,
        total: &mut S::D,
    ) -> usize {
        let mut k = 0;
        while k + N * S::LANES <= n {
            let end = if LOSS { n.min(k + GROUP * S::LANES) } else { n };
            let mut sum = s.zero();
            while k + N * S::LANES <= end {
                // SAFETY: as the caller says.
                unsafe { self.step::<S, LOSS, GRADIENT, N>(s, place, k, S::LANES, &mut sum) };
                k += N * S::LANES;
            }
            if LOSS {
                *total = s.d_add(*total, sum);
            }
        }
        k
    }

    /// `N` vectors, or the `lanes` that are left of one. Adds a share of their values to `sum`: that of a group is no
    /// larger than they are.
    #[inline(always)]
    unsafe fn step<S: Simd, const LOSS: bool, const GRADIENT: bool, const N: usize>(
        &self,
        s: S,
        place: &Place<I, G>,
        k: usize,
        lanes: usize,
        sum: &mut S::F,
    ) {
        let at = |v: usize| k + v * S::LANES;
        unsafe {
            let mut x = [[s.zero(); I]; N];
            for i in 0..I {
                let (from, dtype) = place.from[i];
                let dtype = if L::DERIVED > 0 { DType::F32 } else { dtype };
                for v in 0..N {
                    let from = from.add(at(v) * dtype.size());
                    if i + L::DERIVED < I {
                        storage::line_ahead(from);
                    }
                    x[v][i] = storage::load_typed(s, dtype, from, lanes);
                }
            }
            if LOSS {
                let share = s.splat(1.0 / GROUP as f32);
                for v in 0..N {
                    let value = self.pass.loss.value(s, x[v]);
                    if !place.losses.is_null() {
                        storage::store_lanes(s, place.losses.add(at(v)), lanes, value);
                    }
                    let counted =
                        if lanes == S::LANES { value } else { s.select(s.first_n(lanes), value, s.zero()) };
                    *sum = s.mul_add(share, counted, *sum);
                }
            }
            if GRADIENT {
                let mut gradients = [[s.zero(); G]; N];
                for v in 0..N {
                    gradients[v] = self.pass.loss.gradient(s, x[v]);
                }
                for g in 0..G {
                    let (to, dtype) = place.to[g];
                    if to.is_null() {
                        continue;
                    }
                    for v in 0..N {
                        let scale = storage::load_lanes(s, place.scale.add(at(v)), lanes);
                        let to = to.add(at(v) * dtype.size());
                        let gradient = s.mul(scale, gradients[v][g]);
                        storage::store_typed(s, dtype, to, lanes, gradient, place.stream[g]);
                    }
                }
            }
        }
    }
}

/// `slope` where `h` is positive, 0 elsewhere; a NaN stays.
#[inline(always)]
pub fn hinged<S: Simd>(s: S, h: S::F, slope: S::F) -> S::F {
    s.select(s.gt(h, s.zero()), slope, s.select(s.is_nan(h), h, s.zero()))
}
