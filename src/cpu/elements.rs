//! Skeleton "element pairs": inputs of the same length side by side, one value and some gradients per
//! element, in one pass.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd, convert};
use crate::cpu::storage::{self, BLOCK, Scratch};
use crate::registry::{DType, Floats, FloatsMut, Reduction};

/// The mathematics of a loss of `I` inputs with gradients for `G` of them.
pub trait ElementLoss<const I: usize, const G: usize>: Sync {
    fn value<S: Simd>(&self, s: S, x: [S::F; I]) -> S::F;

    fn gradient<S: Simd>(&self, s: S, x: [S::F; I]) -> [S::F; G];
}

#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// One value per element.
    Full(Floats<'a>),
    /// A row that is repeated over all rows.
    Row(Floats<'a>),
    /// An optional input that is absent.
    Constant(f32),
}

impl<'a> Operand<'a> {
    pub fn full(input: Floats<'a>) -> Operand<'a> {
        Operand::Full(input)
    }

    /// 1 everywhere if it is absent.
    pub fn full_or_one(input: Option<Floats<'a>>) -> Operand<'a> {
        input.map_or(Operand::Constant(1.0), Operand::Full)
    }

    pub fn row_or_one(input: Option<Floats<'a>>) -> Operand<'a> {
        input.map_or(Operand::Constant(1.0), Operand::Row)
    }
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

/// f32 gradients larger than this go around the cache, which they would only flush: with two of them that
/// halves the time. (For 16-bit types, and for rows, stores through the cache measured faster.)
const STREAM_BYTES: usize = 16 << 20;

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
    let (losses, reduced) = match problem.loss {
        Some(all) if per_element => (Some(Cells::new(all)), None),
        one => (None, one),
    };
    // One upstream gradient for all, or one per element.
    let (upstream, scale_of) = match grad_loss {
        Some(g) if per_element => (Some(g), scale as f32),
        Some(g) => (None, (f64::from(g.first().copied().unwrap_or(1.0)) * scale) as f32),
        None => (None, scale as f32),
    };
    let in_place =
        |g: &FloatsMut| inputs.iter().any(|x| matches!(x, Operand::Full(x) if x.ptr == g.ptr.cast_const()));
    let stream =
        gradients.iter().flatten().all(|g| g.dtype == DType::F32 && !in_place(g)) && n * 4 > STREAM_BYTES;
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
    from: [*const f32; I],
    /// Factor of each element's gradient.
    scale: *const f32,
    losses: *mut f32,
    to: [*mut f32; G],
}

impl<const I: usize, const G: usize, L: ElementLoss<I, G>> PassBlock<'_, I, G, L> {
    #[inline(always)]
    fn sweep<S: Simd, const LOSS: bool, const GRADIENT: bool>(self, s: S) -> f64 {
        let pass = self.pass;
        let most = BLOCK.min(self.range.len());
        let mut inputs = [const { Scratch::<{ 2 * BLOCK }>::new() }; I];
        let mut outputs = [const { Scratch::<BLOCK>::new() }; G];
        let (mut scales, mut values) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        for i in 0..I {
            // SAFETY: the scratch has room for two blocks.
            unsafe { prepare(s, pass.inputs[i], inputs[i].ptr(), most) };
        }
        // What is not wanted goes to scratch too: the loop over the elements then has no branches.
        let mut place = Place {
            from: [std::ptr::null(); I],
            scale: scales.ptr(),
            losses: values.ptr(),
            to: [std::ptr::null_mut(); G],
        };
        if pass.upstream.is_none() {
            // SAFETY: within the scratch.
            (0..most).for_each(|k| unsafe { scales.ptr().add(k).write(pass.scale) });
        }
        let mut total = s.d_zero();
        let mut start = self.range.start;
        while start < self.range.end {
            let n = BLOCK.min(self.range.end - start);
            // SAFETY: everything is within the checked buffers; this block alone writes its range.
            unsafe {
                for i in 0..I {
                    place.from[i] = read(s, pass.inputs[i], start, n, inputs[i].ptr());
                }
                for g in 0..G {
                    place.to[g] = match &pass.outputs[g] {
                        Some(output) if output.dtype == DType::F32 && !pass.stream => output.at(start).cast(),
                        _ => outputs[g].ptr(),
                    };
                }
                if let Some(losses) = pass.losses {
                    place.losses = losses.at(start);
                }
                if let Some(upstream) = pass.upstream {
                    scale_into(s, &upstream[start..start + n], pass.scale, scales.ptr());
                }
                let mut k = 0;
                while k + S::LANES <= n {
                    self.step::<S, LOSS, GRADIENT>(s, &place, k, S::LANES, &mut total);
                    k += S::LANES;
                }
                if k < n {
                    self.step::<S, LOSS, GRADIENT>(s, &place, k, n - k, &mut total);
                }
                for g in 0..G {
                    if let Some(output) = &pass.outputs[g]
                        && (output.dtype != DType::F32 || pass.stream)
                    {
                        storage::write(s, output.dtype, place.to[g], output.at(start), n, pass.stream);
                    }
                }
            }
            start += n;
        }
        if pass.stream {
            s.fence();
        }
        s.d_sum(total)
    }

    /// One vector, or the `lanes` that are left of one.
    #[inline(always)]
    unsafe fn step<S: Simd, const LOSS: bool, const GRADIENT: bool>(
        &self,
        s: S,
        place: &Place<I, G>,
        k: usize,
        lanes: usize,
        total: &mut S::D,
    ) {
        unsafe {
            let mut x = [s.zero(); I];
            for i in 0..I {
                x[i] = storage::load_lanes(s, place.from[i].add(k), lanes);
            }
            if LOSS {
                let value = self.pass.loss.value(s, x);
                storage::store_lanes(s, place.losses.add(k), lanes, value);
                let counted =
                    if lanes == S::LANES { value } else { s.select(s.first_n(lanes), value, s.zero()) };
                *total = s.d_add(*total, counted);
            }
            if GRADIENT {
                let scale = storage::load_lanes(s, place.scale.add(k), lanes);
                let gradient = self.pass.loss.gradient(s, x);
                for g in 0..G {
                    storage::store_lanes(s, place.to[g].add(k), lanes, s.mul(scale, gradient[g]));
                }
            }
        }
    }
}

/// Fills the scratch of an operand with what is the same for all blocks of `most` elements.
///
/// # Safety
/// `tile` has room for two blocks: a short row, and a block beyond it.
#[inline(always)]
unsafe fn prepare<S: Simd>(s: S, operand: Operand, tile: *mut f32, most: usize) {
    unsafe {
        match operand {
            Operand::Constant(value) => (0..most).for_each(|k| tile.add(k).write(value)),
            Operand::Row(row) if row.len > 0 && row.len <= BLOCK => {
                widen(s, row, 0, tile, row.len);
                for k in row.len..row.len + most {
                    tile.add(k).write(*tile.add(k - row.len));
                }
            }
            _ => {}
        }
    }
}

/// Where elements `start..start + n` of an operand stand as f32.
///
/// # Safety
/// They are elements of the call, no more than a block; `scratch` was prepared.
#[inline(always)]
unsafe fn read<S: Simd>(s: S, operand: Operand, start: usize, n: usize, scratch: *mut f32) -> *const f32 {
    unsafe {
        match operand {
            Operand::Full(x) => storage::read(s, x.dtype, x.at(start), n, scratch),
            Operand::Constant(_) => scratch,
            Operand::Row(row) if row.len <= BLOCK => scratch.add(start % row.len),
            Operand::Row(row) => {
                let phase = start % row.len;
                let first = n.min(row.len - phase);
                widen(s, row, phase, scratch, first);
                widen(s, row, 0, scratch.add(first), n - first);
                scratch
            }
        }
    }
}

/// # Safety
/// `to` has room for a block.
#[inline(always)]
unsafe fn scale_into<S: Simd>(s: S, from: &[f32], scale: f32, to: *mut f32) {
    let mut k = 0;
    while k < from.len() {
        let lanes = S::LANES.min(from.len() - k);
        // SAFETY: within the slice and the block.
        unsafe {
            let x = storage::load_lanes(s, from.as_ptr().add(k), lanes);
            s.store(to.add(k), s.mul(s.splat(scale), x));
        }
        k += S::LANES;
    }
}

/// Converts `n` values from element `at` on, copying f32.
///
/// # Safety
/// Both are in bounds.
#[inline(always)]
unsafe fn widen<S: Simd>(s: S, from: Floats, at: usize, to: *mut f32, n: usize) {
    unsafe {
        let src = storage::read(s, from.dtype, from.at(at), n, to);
        if !std::ptr::eq(src, to) {
            convert::copy_f32(s, src, to, n, false);
        }
    }
}

/// `slope` where `h` is positive, 0 elsewhere; a NaN stays.
#[inline(always)]
pub fn hinged<S: Simd>(s: S, h: S::F, slope: S::F) -> S::F {
    s.select(s.gt(h, s.zero()), slope, s.select(s.is_nan(h), h, s.zero()))
}
