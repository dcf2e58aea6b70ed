//! Skeleton "element pairs": inputs of the same length side by side, one value and some gradients per
//! element, in one pass.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd, convert};
use crate::cpu::storage::{self, BLOCK, STREAM_BYTES, Scratch};
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
    pub fn full_or(input: Option<Floats<'a>>, absent: f32) -> Operand<'a> {
        input.map_or(Operand::Constant(absent), Operand::Full)
    }

    pub fn row_or(input: Option<Floats<'a>>, absent: f32) -> Operand<'a> {
        input.map_or(Operand::Constant(absent), Operand::Row)
    }
}

pub struct Problem<'a, const I: usize, const G: usize> {
    pub n: usize,
    pub inputs: [Operand<'a>; I],
    pub reduction: Reduction,
    pub loss: Option<&'a mut [f32]>,
    pub grad_loss: Option<&'a [f32]>,
    pub gradients: [Option<FloatsMut<'a>>; G],
}

pub fn run<const I: usize, const G: usize, L: ElementLoss<I, G>>(cpu: &Cpu, loss: &L, problem: Problem<I, G>) {
    let Problem { n, inputs, reduction, grad_loss, gradients, .. } = problem;
    let per_element = reduction == Reduction::None;
    let scale = if reduction == Reduction::Mean && n > 0 { 1.0 / n as f64 } else { 1.0 };
    let want_loss = problem.loss.is_some();
    let (losses, reduced) = match problem.loss {
        Some(all) if per_element => (Some(Cells::new(all)), None),
        one => (None, one),
    };
    let in_place = |g: &FloatsMut| inputs.iter().any(|x| matches!(x, Operand::Full(x) if x.ptr == g.ptr.cast_const()));
    let bytes = |g: &FloatsMut| n * g.dtype.size();
    let outputs = gradients.map(|g| g.map(|g| Output { stream: bytes(&g) > STREAM_BYTES && !in_place(&g), to: g }));
    // One upstream gradient for all, or one per element.
    let (upstream, scale_of) = match grad_loss {
        Some(g) if per_element => (Some(g), scale as f32),
        Some(g) => (None, (f64::from(g.first().copied().unwrap_or(1.0)) * scale) as f32),
        None => (None, scale as f32),
    };
    let pass = Pass { loss, inputs, losses, want_loss, upstream, scale: scale_of, outputs };
    let blocks = Blocks::new(n, 16 * BLOCK, BLOCK);
    let traffic = n * inputs.len() * 4;
    let total = cpu.sum(blocks.count, traffic, &|i| cpu.isa.dispatch(PassBlock { pass: &pass, range: blocks.range(i) }));
    if let Some(out) = reduced {
        out[0] = (total * scale) as f32;
    }
}

#[derive(Clone, Copy)]
struct Output<'a> {
    to: FloatsMut<'a>,
    stream: bool,
}

impl Output<'_> {
    /// Whether values can be stored without conversion.
    fn is_direct(&self) -> bool {
        self.to.dtype == DType::F32 && !self.stream
    }
}

struct Pass<'a, const I: usize, const G: usize, L> {
    loss: &'a L,
    inputs: [Operand<'a>; I],
    losses: Option<Cells<'a>>,
    want_loss: bool,
    upstream: Option<&'a [f32]>,
    scale: f32,
    outputs: [Option<Output<'a>>; G],
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
        let pass = self.pass;
        let mut sources = std::array::from_fn::<_, I, _>(|i| Source::new(s, pass.inputs[i], self.range.len()));
        let mut scratch = std::array::from_fn::<Scratch, G, _>(|_| Scratch::new());
        let want_gradient = pass.outputs.iter().any(Option::is_some);
        let mut total = s.d_zero();
        let mut start = self.range.start;
        while start < self.range.end {
            let n = BLOCK.min(self.range.end - start);
            // SAFETY: everything below is within the checked buffers; this block alone writes its range.
            unsafe {
                let mut from = [std::ptr::null(); I];
                for i in 0..I {
                    from[i] = sources[i].read(s, start, n);
                }
                let mut to = [std::ptr::null_mut(); G];
                for g in 0..G {
                    to[g] = match &pass.outputs[g] {
                        Some(output) if output.is_direct() => output.to.at(start).cast(),
                        Some(_) => scratch[g].ptr(),
                        None => std::ptr::null_mut(),
                    };
                }
                let losses = pass.losses.map_or(std::ptr::null_mut(), |l| l.at(start));
                let upstream = pass.upstream.map_or(std::ptr::null(), |u| u.as_ptr().add(start));
                let mut k = 0;
                while k < n {
                    let lanes = S::LANES.min(n - k);
                    let mut x = [s.splat(0.0); I];
                    for i in 0..I {
                        x[i] = storage::load_lanes(s, from[i].add(k), lanes);
                    }
                    if pass.want_loss {
                        let value = pass.loss.value(s, x);
                        if losses.is_null() {
                            let counted =
                                if lanes == S::LANES { value } else { s.select(s.first_n(lanes), value, s.splat(0.0)) };
                            total = s.d_add(total, counted);
                        } else {
                            storage::store_lanes(s, losses.add(k), lanes, value);
                        }
                    }
                    if want_gradient {
                        let mut scale = s.splat(pass.scale);
                        if !upstream.is_null() {
                            scale = s.mul(scale, storage::load_lanes(s, upstream.add(k), lanes));
                        }
                        let gradient = pass.loss.gradient(s, x);
                        for g in 0..G {
                            if !to[g].is_null() {
                                storage::store_lanes(s, to[g].add(k), lanes, s.mul(scale, gradient[g]));
                            }
                        }
                    }
                    k += S::LANES;
                }
                for g in 0..G {
                    if let Some(output) = &pass.outputs[g]
                        && !output.is_direct()
                    {
                        storage::write(s, output.to.dtype, to[g], output.to.at(start), n, output.stream);
                    }
                }
            }
            start += n;
        }
        if pass.outputs.iter().flatten().any(|o| o.stream) {
            s.fence();
        }
        s.d_sum(total)
    }
}

/// An operand with the scratch it is converted into.
struct Source<'a> {
    operand: Operand<'a>,
    scratch: Scratch<{ 2 * BLOCK }>,
}

impl<'a> Source<'a> {
    /// `most`: elements that will be read; a short call prepares no more than it needs.
    #[inline(always)]
    fn new<S: Simd>(s: S, operand: Operand<'a>, most: usize) -> Source<'a> {
        let mut source = Source { operand, scratch: Scratch::new() };
        let tile = source.scratch.ptr();
        // SAFETY: the scratch has room for two blocks, a short row and a block beyond it.
        unsafe {
            match operand {
                Operand::Constant(value) => (0..BLOCK.min(most)).for_each(|k| tile.add(k).write(value)),
                Operand::Row(row) if row.len > 0 && row.len <= BLOCK => {
                    widen(s, row, 0, tile, row.len);
                    for k in row.len..row.len + BLOCK.min(most) {
                        tile.add(k).write(*tile.add(k - row.len));
                    }
                }
                _ => {}
            }
        }
        source
    }

    /// # Safety
    /// `start..start + n` is within the elements of the call and `n` within a block.
    #[inline(always)]
    unsafe fn read<S: Simd>(&mut self, s: S, start: usize, n: usize) -> *const f32 {
        let scratch = self.scratch.ptr();
        unsafe {
            match self.operand {
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
