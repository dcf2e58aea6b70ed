//! The sweeps over all tiles.

use super::log_sum::RowLogSum;
use super::scratch::{Block, Part, Scratch, WIDEST};
use super::{COLUMNS, DEPTH, Pairs, ROWS, RowSum, Weights};
use crate::cpu::Cpu;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage;
use crate::registry::FloatsMut;
use std::ops::Range;

/// Log sums of the rows of `pairs` to `out`, `2 * rows` long.
pub fn row_log_sums(cpu: &Cpu, pairs: &Pairs, out: &mut [f32]) {
    assert_eq!(out.len(), 2 * pairs.rows);
    row_sums_of(cpu, pairs, 0..pairs.rows, &RowLogSum::new(out));
}

/// Over `rows` only, which begin with a multiple of [`ROWS`].
pub fn row_sums_of<R: RowSum>(cpu: &Cpu, pairs: &Pairs, rows: Range<usize>, sum: &R) {
    let first = rows.start / ROWS;
    cpu.run(rows.len().div_ceil(ROWS), pairs.work(), &|block| {
        let rows = rows_of(first + block, rows.end);
        cpu.isa.dispatch(SumBlock { pairs, sum, rows });
    });
}

fn rows_of(block: usize, rows: usize) -> Range<usize> {
    block * ROWS..rows.min((block + 1) * ROWS)
}

struct SumBlock<'a, R> {
    pairs: &'a Pairs<'a>,
    sum: &'a R,
    rows: Range<usize>,
}

impl<R: RowSum> Kernel for SumBlock<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut block = Block::new(self.rows.clone());
        let mut state = self.sum.start(self.rows.clone());
        for columns in tiles(self.pairs.columns) {
            tile(s, &mut block, self.pairs, columns.clone());
            // SAFETY: the tile has been computed.
            unsafe {
                let tile = (&raw const (*block.scratch).tile).cast();
                self.sum.add(s, &mut state, tile, self.rows.len(), columns.len());
            }
        }
        for (slot, i) in self.rows.enumerate() {
            self.sum.finish(&state, slot, i);
        }
    }
}

fn tiles(columns: usize) -> impl Iterator<Item = Range<usize>> {
    (0..columns).step_by(COLUMNS).map(move |j| j..columns.min(j + COLUMNS))
}

/// Computes the tile of a block of rows and some columns.
#[inline(always)]
fn tile<S: Simd>(s: S, block: &mut Block, pairs: &Pairs, columns: Range<usize>) {
    block.exponents(s, pairs, columns.clone());
    if pairs.skip_self {
        let (rows, first) = (block.rows.clone(), columns.start);
        for j in columns.start.max(rows.start)..columns.end.min(rows.end) {
            // SAFETY: within the tile.
            unsafe { (&mut (*block.scratch).tile)[(j - first) * ROWS + j - rows.start] = f32::INFINITY };
        }
    }
}

/// A gradient of the points x of one space, which is the same in all terms.
pub struct Output<'a> {
    pub space: usize,
    pub factor: f32,
    pub to: FloatsMut<'a>,
}

/// A kernel's share of a gradient.
pub struct Term<'a, W> {
    pub pairs: Pairs<'a>,
    pub weights: W,
}

/// `to_i = factor * sum over terms and j of w_ij (x_i - y_j)` for every output.
pub fn gradient<W: Weights>(cpu: &Cpu, rows: usize, terms: &[Term<W>], outputs: &[Output]) {
    if outputs.is_empty() {
        return;
    }
    let work = terms.iter().map(|term| term.pairs.work()).fold(0, usize::saturating_add);
    cpu.run(rows.div_ceil(ROWS), 2 * (work / 2), &|block| {
        cpu.isa.dispatch(GradientBlock { terms, outputs, rows: rows_of(block, rows) });
    });
}

struct GradientBlock<'a, W> {
    terms: &'a [Term<'a, W>],
    outputs: &'a [Output<'a>],
    rows: Range<usize>,
}

impl<W: Weights> Kernel for GradientBlock<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // As many dimensions of as many outputs as fit the scratch; usually all of them.
        let (mut output, mut start) = (0, 0);
        while output < self.outputs.len() {
            let from = (output, start);
            let mut room = WIDEST;
            while output < self.outputs.len() {
                let left = self.outputs[output].to.columns - start;
                let taken = if left <= room { left } else { room / DEPTH * DEPTH };
                if taken == 0 {
                    break;
                }
                room -= taken;
                start += taken;
                if taken == left {
                    (output, start) = (output + 1, 0);
                }
            }
            self.pass(s, from, (output, start));
        }
    }
}

impl<W: Weights> GradientBlock<'_, W> {
    /// The parts from one (output, dimension) to another.
    #[inline(always)]
    fn each_part(&self, from: (usize, usize), to: (usize, usize), mut f: impl FnMut(usize, Part, usize)) {
        let (mut output, mut start) = from;
        let mut place = 0;
        while (output, start) < to {
            let dims = self.outputs[output].to.columns;
            let part = Part::of(self.outputs[output].space, start, dims);
            f(output, part, place);
            place += part.depth * ROWS;
            start += DEPTH;
            if start >= dims {
                (output, start) = (output + 1, 0);
            }
        }
    }

    #[inline(always)]
    fn pass<S: Simd>(&self, s: S, from: (usize, usize), to: (usize, usize)) {
        let mut size = 0;
        self.each_part(
            from,
            to,
            #[inline(always)]
            |_, part, place| size = place + part.depth * ROWS,
        );
        let scratch = Block::new(self.rows.clone()).scratch;
        // SAFETY: this thread alone has the scratch.
        unsafe { (&mut (*scratch).sums)[..size].fill(0.0) };
        let sums = unsafe { (&raw mut (*scratch).sums).cast::<f32>() };
        for term in self.terms {
            let mut block = Block::new(self.rows.clone());
            for (slot, i) in self.rows.clone().enumerate() {
                let constants = term.weights.of_row(i);
                for (c, constant) in constants.into_iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { (*scratch).constants[c][slot] = constant };
                }
            }
            for columns in tiles(term.pairs.columns) {
                tile(s, &mut block, &term.pairs, columns.clone());
                weigh(s, scratch, &term.weights, self.rows.len(), columns.clone());
                self.each_part(
                    from,
                    to,
                    #[inline(always)]
                    |_, part, place| {
                        // SAFETY: all parts fit the sums.
                        let sums = unsafe { sums.add(place) };
                        block.gather(s, term.pairs.spaces, part, columns.clone(), sums);
                    },
                );
            }
        }
        self.each_part(
            from,
            to,
            #[inline(always)]
            |output, part, place| unsafe { self.store(s, output, part, sums.add(place)) },
        );
    }

    /// # Safety
    /// `sums` holds the part.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, output: usize, part: Part, sums: *const f32) {
        let Output { factor, to, .. } = &self.outputs[output];
        let wide = 2 * S::LANES;
        let mut row = storage::Scratch::<DEPTH>::new();
        for (slot, i) in self.rows.clone().enumerate() {
            unsafe {
                let from = sums.add(slot / wide * wide * part.depth + slot % wide);
                for k in 0..part.depth {
                    *row.ptr().add(k) = factor * *from.add(k * wide);
                }
                let to_row = to.row(i).add(part.start * to.dtype.size());
                storage::write(s, to.dtype, row.ptr(), to_row, part.depth, false);
            }
        }
    }
}

/// Turns the exponents of the tile into weights.
#[inline(always)]
fn weigh<S: Simd, W: Weights>(s: S, scratch: *mut Scratch, weights: &W, rows: usize, columns: Range<usize>) {
    // SAFETY: within the tile and the constants, of which this thread's scratch has ROWS each.
    unsafe {
        let tile = (&raw mut (*scratch).tile).cast::<f32>();
        for (slot, j) in columns.enumerate() {
            let constants = weights.of_column(j);
            let column = [s.splat(constants[0]), s.splat(constants[1])];
            let mut i = 0;
            while i < rows {
                for v in 0..2 {
                    let i = i + v * S::LANES;
                    let row = [
                        s.load((&raw const (*scratch).constants[0]).cast::<f32>().add(i)),
                        s.load((&raw const (*scratch).constants[1]).cast::<f32>().add(i)),
                    ];
                    let at = tile.add(slot * ROWS + i);
                    s.store(at, weights.weight(s, s.load(at), row, column));
                }
                i += 2 * S::LANES;
            }
        }
    }
}
