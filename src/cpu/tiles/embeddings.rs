//! Rows as the tiles take them: f32, of length 1 where the loss wants directions. And the way back of their
//! gradients.

use crate::cpu::Cpu;
use crate::cpu::matmul::Matrix;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, BLOCK, Scratch};
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::{Floats, FloatsMut};

/// Added to the square of a length: a row of zeros has direction 0.
const EPS: f64 = 1e-12;

/// x^ = x / sqrt(|x|^2 + 1e-12), or x, of all rows of one buffer, or of several, stacked.
pub struct Embeddings<'a> {
    values: &'a [f32],
    /// 1 / sqrt(|x|^2 + 1e-12) of each row, where normalised.
    inverse: Option<&'a [f32]>,
    rows: usize,
    d: usize,
}

impl<'a> Embeddings<'a> {
    pub fn size(size: Size, rows: u64, d: u64) -> Size {
        size.add::<f32>(rows.saturating_mul(d)).add::<f32>(rows)
    }

    pub fn new(cpu: &Cpu, parts: &[Floats], normalize: bool, work: &mut Workspace<'a>) -> Embeddings<'a> {
        let d = parts[0].columns;
        let rows = parts.iter().map(rows_of).sum();
        let values = work.take_blank::<f32>(rows * d);
        // SAFETY: nothing reads the values before they are written below.
        let values = unsafe { &mut *(std::ptr::from_mut(values) as *mut [f32]) };
        let inverse = work.take(rows, 1.0f32);
        let (to, lengths) = (Cells::new(values), Cells::new(inverse));
        let mut first = 0;
        for part in parts {
            let blocks = blocks(rows_of(part), d);
            cpu.run(blocks.count, rows_of(part) * d * 8, &|i| {
                let rows = blocks.range(i);
                cpu.isa.dispatch(Prepare { part, rows, normalize, first, to, lengths });
            });
            first += rows_of(part);
        }
        Embeddings { values, inverse: normalize.then_some(inverse), rows, d }
    }

    pub fn matrix(&self) -> Matrix<'a> {
        Matrix::of(self.values, self.rows, self.d, self.d)
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.values[i * self.d..][..self.d]
    }

    /// `factor` times the gradients of x, from those of x^: (g - x^ (x^ . g)) / sqrt(|x|^2 + 1e-12). The parts are
    /// those that the rows came from; absent ones are not wanted.
    pub fn write_gradients(
        &self,
        cpu: &Cpu,
        gradients: &[f32],
        factor: f64,
        parts: &[(usize, Option<FloatsMut>)],
    ) {
        let mut first = 0;
        for (rows, part) in parts {
            if let Some(to) = part {
                let blocks = blocks(*rows, self.d);
                cpu.run(blocks.count, rows * self.d * 12, &|i| {
                    let rows = blocks.range(i);
                    cpu.isa.dispatch(WriteBack { from: self, gradients, factor, rows, first, to });
                });
            }
            first += rows;
        }
    }

    /// sum_i x^_i.
    pub fn sum(&self, cpu: &Cpu, work: &mut Workspace<'a>) -> &'a [f64] {
        let sums = work.take(self.d, 0.0f64);
        let places = Cells::new(sums);
        const WIDTH: usize = 64;
        cpu.run(self.d.div_ceil(WIDTH), self.rows * self.d * 4, &|i| {
            let range = i * WIDTH..self.d.min((i + 1) * WIDTH);
            let mut sums = [0.0f64; WIDTH];
            for r in 0..self.rows {
                let row = &self.row(r)[range.clone()];
                sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            range.zip(sums).for_each(|(k, sum)| places.set(k, sum));
        });
        sums
    }

    /// sum_i x^_i . g_i, in the order of the rows.
    pub fn dot(&self, cpu: &Cpu, gradients: &[f32]) -> f64 {
        let blocks = blocks(self.rows, self.d);
        cpu.sum(blocks.count, self.rows * self.d * 8, &|i| {
            let range = blocks.range(i).start * self.d..blocks.range(i).end * self.d;
            cpu.isa.dispatch(Dot(&self.values[range.clone()], &gradients[range]))
        })
    }
}

fn rows_of(part: &Floats) -> usize {
    part.len.checked_div(part.columns).unwrap_or(0)
}

fn blocks(rows: usize, d: usize) -> Blocks {
    Blocks::new(rows, (16 << 10) / d.max(1) + 1, 1)
}

struct Prepare<'a> {
    part: &'a Floats<'a>,
    rows: std::ops::Range<usize>,
    normalize: bool,
    /// Row of the result that the part's first one becomes.
    first: usize,
    to: Cells<'a>,
    lengths: Cells<'a>,
}

impl Kernel for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.part.columns;
        for r in self.rows {
            let out = self.to.at((self.first + r) * d);
            let mut squares = [s.d_zero(); 2];
            // SAFETY: row r is within the checked buffer, and only this block writes it.
            unsafe {
                let from = self.part.row(r);
                for k in (0..d).step_by(BLOCK) {
                    let n = (d - k).min(BLOCK);
                    let mut scratch = Scratch::<BLOCK>::new();
                    let size = self.part.dtype.size();
                    let x = storage::read(s, self.part.dtype, from.add(k * size), n, scratch.ptr());
                    for (turn, j) in (0..n).step_by(S::LANES).enumerate() {
                        let lanes = (n - j).min(S::LANES);
                        let v = storage::load_lanes(s, x.add(j), lanes);
                        squares[turn % 2] = s.d_mul_add(squares[turn % 2], v, v);
                        storage::store_lanes(s, out.add(k + j), lanes, v);
                    }
                }
                if !self.normalize {
                    continue;
                }
                let inverse = 1.0 / (s.d_sum(s.d_merge(squares[0], squares[1])) + EPS).sqrt();
                self.lengths.set(self.first + r, inverse as f32);
                let inverse = s.splat(inverse as f32);
                for j in (0..d).step_by(S::LANES) {
                    let lanes = (d - j).min(S::LANES);
                    let v = storage::load_lanes(s, out.add(j), lanes);
                    storage::store_lanes(s, out.add(j), lanes, s.mul(v, inverse));
                }
            }
        }
    }
}

struct WriteBack<'a> {
    from: &'a Embeddings<'a>,
    gradients: &'a [f32],
    factor: f64,
    rows: std::ops::Range<usize>,
    first: usize,
    to: &'a FloatsMut<'a>,
}

impl Kernel for WriteBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.from.d;
        for r in self.rows {
            let i = self.first + r;
            let (x, g) = (self.from.row(i).as_ptr(), self.gradients[i * d..][..d].as_ptr());
            let (mut factor, mut along) = (self.factor, 0.0);
            if let Some(inverse) = self.from.inverse {
                factor *= f64::from(inverse[i]);
                along = dot(s, self.from.row(i), &self.gradients[i * d..][..d]) as f32;
            }
            let (factor, along) = (s.splat(factor as f32), s.splat(-along));
            // SAFETY: row r is within the checked buffer, and only this block writes it.
            unsafe {
                let to = self.to.row(r);
                for k in (0..d).step_by(BLOCK) {
                    let n = (d - k).min(BLOCK);
                    let mut scratch = Scratch::<BLOCK>::new();
                    for j in (0..n).step_by(S::LANES) {
                        let lanes = (n - j).min(S::LANES);
                        let (x, g) = (x.add(k + j), g.add(k + j));
                        let (x, g) = (storage::load_lanes(s, x, lanes), storage::load_lanes(s, g, lanes));
                        let across = if self.from.inverse.is_some() { s.mul_add(x, along, g) } else { g };
                        s.store(scratch.ptr().add(j), s.mul(across, factor));
                    }
                    let at = to.add(k * self.to.dtype.size());
                    storage::write(s, self.to.dtype, scratch.ptr(), at, n, false);
                }
            }
        }
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        dot(s, self.0, self.1)
    }
}

#[inline(always)]
fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut sums = [s.d_zero(); 2];
    for (turn, j) in (0..a.len()).step_by(S::LANES).enumerate() {
        let lanes = (a.len() - j).min(S::LANES);
        // SAFETY: within both.
        let (x, y) = unsafe {
            (
                storage::load_lanes(s, a.as_ptr().add(j), lanes),
                storage::load_lanes(s, b.as_ptr().add(j), lanes),
            )
        };
        sums[turn % 2] = s.d_mul_add(sums[turn % 2], x, y);
    }
    s.d_sum(s.d_merge(sums[0], sums[1]))
}
