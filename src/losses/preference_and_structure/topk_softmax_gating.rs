//! Softmax over the k largest logits, or the k largest of a softmax.

use crate::cpu::Cpu;
use crate::cpu::largest::{self, Largest};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::row::{Row, RowOut};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::softmax::{self, Accumulator};
use crate::cpu::storage::{BLOCK, Scratch};
use crate::registry::entries::topk_softmax_gating::{Args, Call};
use crate::registry::{Floats, FloatsMut, Pass, Result};

/// `order`.
const SOFTMAX_FIRST: i32 = 1;

pub fn check(a: &Args) -> Result<()> {
    largest::check("topk_softmax_gating", a.opts.k, a.experts)
}

struct Gating<'a> {
    logits: Floats<'a>,
    k: usize,
    softmax_first: bool,
    gates: Option<Cells<'a>>,
    indices: Option<Cells<'a, i64>>,
    upstream: Option<&'a [f32]>,
    gradient: Option<FloatsMut<'a>>,
}

/// Chosen logits whose exponentials are taken together.
const TOGETHER: usize = 16;

struct Terms {
    near: [f32; TOGETHER],
    rest: [f64; TOGETHER],
    terms: [f64; TOGETHER],
    index: [usize; TOGETHER],
}

impl Terms {
    fn new() -> Terms {
        let zeros = [0.0; TOGETHER];
        Terms { near: [0.0; TOGETHER], rest: zeros, terms: zeros, index: [0; TOGETHER] }
    }

    /// Of the chosen from `j` on, exp(value - first) once they are complete; then true.
    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, j: usize, k: usize, index: usize, exponent: f64) -> bool {
        let place = j % TOGETHER;
        self.near[place] = exponent as f32;
        self.rest[place] = exponent - f64::from(self.near[place]);
        self.index[place] = index;
        if place + 1 < TOGETHER && j + 1 < k {
            return false;
        }
        for at in (0..=place).step_by(S::LANES) {
            // SAFETY: within the array, as the width of a vector divides its length.
            unsafe {
                let place = self.near.as_mut_ptr().add(at);
                s.store(place, math::exp(s, s.load(place)));
            }
        }
        for i in 0..=place {
            let term = f64::from(self.near[i]);
            // Where the exponent is infinite, so is its rest, or no number.
            self.terms[i] = if term == 0.0 { 0.0 } else { term + term * self.rest[i] };
        }
        true
    }
}

struct Rows<'a> {
    all: &'a Gating<'a>,
    rows: std::ops::Range<usize>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gating { logits, k, softmax_first, gates, indices, upstream, gradient } = *self.all;
        let (mut read, mut write) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        let (mut largest, mut terms) = (Largest::new(k), Terms::new());
        let only_indices = gates.is_none() && gradient.is_none();
        for r in self.rows {
            // SAFETY: row r is within the checked buffer.
            let row = unsafe { Row::new(&logits, r, read.ptr(), std::ptr::null_mut(), 0) };
            largest.next_row();
            // Sums of exp(z - first) and, for the gradient, of the same times the upstream gradient.
            let (mut first, mut sum, mut dot) = (0f32, 0f64, 0f64);
            largest.each(
                s,
                &row,
                #[inline(always)]
                |j, index, value| {
                    first = if j == 0 { value } else { first };
                    if let Some(indices) = indices {
                        indices.set(r * k + j, index as i64);
                    }
                    if only_indices || !terms.put(s, j, k, index, f64::from(value) - f64::from(first)) {
                        return;
                    }
                    let start = j / TOGETHER * TOGETHER;
                    for (i, &term) in terms.terms[..=j - start].iter().enumerate() {
                        let at = r * k + start + i;
                        sum += term;
                        dot += term * upstream.map_or(1.0, |g| f64::from(g[at]));
                        if let Some(gates) = gates {
                            gates.set(at, term as f32);
                        }
                    }
                },
            );
            if only_indices {
                continue;
            }
            if softmax_first {
                let mut others = Accumulator::new(s, softmax::NO_LABEL);
                row.blocks(
                    s,
                    #[inline(always)]
                    |start, block| others.add(&row, start, block),
                );
                let (about, rest) = others.sums(&row);
                let shift = f64::from(about) - f64::from(first);
                sum = if shift == 0.0 { rest } else { rest * shift.exp() };
            }
            if let Some(gates) = gates {
                for j in r * k..(r + 1) * k {
                    gates.set(j, (f64::from(gates.get(j)) / sum) as f32);
                }
            }
            let Some(gradient) = &gradient else { continue };
            // SAFETY: as the row, and nobody else writes it.
            let out = unsafe { RowOut::new(gradient, r, write.ptr()) };
            let mean = dot / sum;
            if softmax_first {
                softmax::write_terms(s, &row, first, -mean / sum, &out);
            } else {
                out.fill_zero(row.len);
            }
            let write = |start: usize, terms: &Terms, n: usize| {
                for i in 0..n {
                    let g = upstream.map_or(1.0, |g| f64::from(g[r * k + start + i]));
                    out.set(terms.index[i], (terms.terms[i] / sum * (g - mean)) as f32);
                }
            };
            if k <= TOGETHER {
                write(0, &terms, k);
                continue;
            }
            largest.each(
                s,
                &row,
                #[inline(always)]
                |j, index, value| {
                    if terms.put(s, j, k, index, f64::from(value) - f64::from(first)) {
                        let start = j / TOGETHER * TOGETHER;
                        write(start, &terms, j + 1 - start);
                    }
                },
            );
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let forward = call.pass == Pass::Forward;
    let all = Gating {
        logits: call.logits,
        k: call.opts.k as usize,
        softmax_first: call.opts.order == SOFTMAX_FIRST,
        gates: call.gates.as_deref_mut().filter(|_| forward).map(Cells::new),
        indices: call.indices.as_deref_mut().filter(|_| forward).map(Cells::new),
        upstream: call.grad_loss,
        gradient: call.grad_logits.filter(|_| !forward),
    };
    if all.gates.is_none() && all.indices.is_none() && all.gradient.is_none() {
        return Ok(());
    }
    let row_bytes = call.experts * call.logits.dtype.size() + 12 * all.k;
    let blocks = Blocks::new(call.tokens, (32 << 10) / row_bytes + 1, 1);
    cpu.run(blocks.count, 2 * call.tokens * row_bytes, &|block| {
        cpu.isa.dispatch(Rows { all: &all, rows: blocks.range(block) });
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::{bytes_of, largest, rows};
    let forward = a.pass == Pass::Forward as i32;
    let wanted = if forward { !a.gates.is_null() || !a.indices.is_null() } else { !a.grad_logits.is_null() };
    if a.tokens == 0 || !wanted {
        return Ok(());
    }
    largest::run(
        device,
        &largest::Rows::new(a.logits, a.dtype, a.tokens, a.experts),
        a.opts.k as u64,
        a.workspace,
    )?;
    let (grid, block) = rows::shape(a.tokens, a.experts);
    Ok(device.launch("topk_softmax_gating", grid, block, 0, unsafe { bytes_of(a) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    crate::cuda::largest::workspace_size(a.tokens, a.opts.k as u64)
}
