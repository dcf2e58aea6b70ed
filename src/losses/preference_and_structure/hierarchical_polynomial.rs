//! p = x' a x - tr a = sum_j x_j (sum_(k < j) s_kj x_k + s_jj x_j / 2) - tr a with s = a + a'; y = sum_j c_j p^j.

use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply, tile, widen};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Isa, Kernel, Simd};
use crate::cpu::storage::{self, Scratch, load_lanes, read_one};
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::hierarchical_polynomial::{Args, Call};
use crate::registry::{Floats, FloatsMut, Pass, Result};
use std::ops::Range;

/// Depth of a product whose sums are f32.
const DEPTH: usize = 64;
/// Side of the tiles that a + a' is made of.
const SIDE: usize = 64;

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f32>(a.d.saturating_mul(a.d)).add::<f64>(a.n).bytes()
}

/// s = a + a', by tiles.
fn symmetrise(cpu: &Cpu, a: Matrix, s: Places<f32>) {
    let d = a.rows;
    let strips = d.div_ceil(SIDE);
    // Rows of the other tile are read across: not a power of two apart, they spread over the cache.
    const PITCH: usize = SIDE + 1;
    cpu.run(strips, d * d * 12, &|strip| {
        let (mut one, mut other) = ([0f32; SIDE * SIDE], [0f32; SIDE * PITCH]);
        let rows = strip * SIDE..((strip + 1) * SIDE).min(d);
        for start in (0..d).step_by(SIDE) {
            let columns = start..(start + SIDE).min(d);
            let (height, width) = (rows.len(), columns.len());
            widen(
                cpu.isa,
                a.block(rows.clone(), columns.clone()),
                MatrixMut::of(&mut one, height, width, SIDE),
            );
            widen(cpu.isa, a.block(columns, rows.clone()), MatrixMut::of(&mut other, width, height, PITCH));
            for i in 0..height {
                for j in 0..width {
                    one[i * SIDE + j] += other[j * PITCH + i];
                }
                let line = &one[i * SIDE..][..width];
                assert!((rows.start + i) * d + start + width <= d * d);
                // SAFETY: within the matrix, a place of this strip's.
                unsafe { line.as_ptr().copy_to_nonoverlapping(s.at((rows.start + i) * d + start), width) };
            }
        }
    });
}

/// Sums over a row of the tile times what `x` has at the same places, added to `to`.
struct Dots<'a> {
    tile: *const f32,
    x: Floats<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    to: &'a mut [f64],
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (width, wide) = (self.columns.len(), 4 * S::LANES);
        let mut scratch = Scratch::<{ tile::COLUMNS }>::new();
        for (slot, i) in self.rows.enumerate() {
            let (mut sum, mut j) = (s.d_zero(), 0);
            // SAFETY: within the tile and the row.
            unsafe {
                let from = self.x.row(i).add(self.columns.start * self.x.dtype.size());
                let x = storage::read(s, self.x.dtype, from, width, scratch.ptr());
                let products = self.tile.add(slot * width);
                while j + wide <= width {
                    // f32 sums are short.
                    let mut part = s.zero();
                    for v in (j..j + wide).step_by(S::LANES) {
                        part = s.mul_add(s.load(products.add(v)), s.load(x.add(v)), part);
                    }
                    sum = s.d_add(sum, part);
                    j += wide;
                }
                while j < width {
                    let lanes = S::LANES.min(width - j);
                    sum = s.d_mul_add(
                        sum,
                        load_lanes(s, products.add(j), lanes),
                        load_lanes(s, x.add(j), lanes),
                    );
                    j += lanes;
                }
            }
            self.to[slot] += s.d_sum(sum);
        }
    }
}

/// Rows of x and s = a + a'.
#[derive(Clone, Copy)]
struct Rows<'a> {
    isa: Isa,
    x: Floats<'a>,
    s: Matrix<'a>,
    columns: usize,
}

impl Rows<'_> {
    /// x' a x of some rows.
    fn values(&self, rows: Range<usize>, to: &mut [f64]) {
        to.fill(0.0);
        let x = Matrix::from_floats(self.x);
        for columns in parts(self.columns, tile::COLUMNS) {
            for depth in parts(columns.end, DEPTH) {
                // Nothing below the diagonal, and the diagonal's blocks count half.
                let block = depth.start >= columns.start;
                let from = if block { depth.start } else { columns.start };
                let cuts = [from, if block { depth.end } else { from }, columns.end];
                let factor = x.block(rows.clone(), depth.clone());
                tile::with_tile(|tile| {
                    let width = columns.end - from;
                    for (weight, part) in [(0.5, cuts[0]..cuts[1]), (1.0, cuts[1]..cuts[2])] {
                        let other = self.s.block(depth.clone(), part.clone());
                        // SAFETY: the tile has room for as many rows and columns.
                        let product = unsafe {
                            MatrixMut::new(tile.add(part.start - from), rows.len(), part.len(), width)
                        };
                        multiply(self.isa, weight, factor, other, 0.0, product);
                    }
                    self.isa.dispatch(Dots {
                        tile,
                        x: self.x,
                        rows: rows.clone(),
                        columns: from..columns.end,
                        to,
                    });
                });
            }
        }
    }

    /// factors (a + a') x of some rows.
    fn gradients(&self, rows: Range<usize>, factors: &[f32], to: FloatsMut) {
        let x = Matrix::from_floats(self.x).block(rows.clone(), 0..self.columns);
        tile::with_tile(|tile| {
            for columns in parts(self.columns, tile::COLUMNS) {
                // SAFETY: the tile has room for as many rows and columns, and these rows are this task's.
                unsafe {
                    tile::product(self.isa, x, self.s.block(0..self.columns, columns.clone()), DEPTH, tile);
                    tile::store(self.isa, tile, to, rows.clone(), columns, |slot| factors[slot]);
                }
            }
        });
    }
}

/// `0..end` in steps.
fn parts(end: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..end).step_by(step).map(move |start| start..(start + step).min(end))
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, d) = (call.n, call.d);
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let (s, p) = (work.take_places::<f32>(d * d), work.take_places::<f64>(n));
    let a = Matrix::from_floats(call.a);
    symmetrise(cpu, a, s);
    // SAFETY: one value each within the buffers.
    let value = |from: Floats, i: usize| f64::from(unsafe { read_one(from.dtype, from.at(i)) });
    let trace: f64 = (0..d).map(|i| value(call.a, i * d + i)).sum();
    let coefficients = call.coefficients;
    // SAFETY: written above.
    let s = Matrix::of(unsafe { s.slice(0, d * d) }, d, d, d);
    let rows = Rows { isa: cpu.isa, x: call.x, s, columns: d };
    let blocks = Blocks::new(n, n.div_ceil(16).next_multiple_of(16).min(tile::ROWS), 1);
    let parts = |block: usize| {
        let all = blocks.range(block);
        let end = all.end;
        all.step_by(tile::ROWS).map(move |start| start..(start + tile::ROWS).min(end))
    };
    let outputs =
        [&mut call.y, &mut call.feature, &mut call.saved_out].map(|out| out.as_deref_mut().map(Cells::new));
    let to = call.grad_x;
    let (given, upstream, pass) = (call.saved_in, call.grad_loss, call.pass);
    cpu.run(blocks.count, n.saturating_mul(d).saturating_mul(d), &|block| {
        for part in parts(block) {
            let mut factors = [0f32; tile::ROWS];
            if let Some(saved) = given {
                part.clone().for_each(|i| p.set(i, f64::from(saved[i])));
            } else {
                // SAFETY: this task's own samples.
                let values = unsafe {
                    part.clone().for_each(|i| p.set(i, 0.0));
                    p.slice_mut(part.start, part.len())
                };
                rows.values(part.clone(), values);
                values.iter_mut().for_each(|p| *p -= trace);
            }
            for (slot, i) in part.clone().enumerate() {
                // SAFETY: written above.
                let p = unsafe { p.get(i) };
                let single = f64::from(p as f32); // what `saved` holds
                // Horner's scheme, for the value and the slope.
                let (mut y, mut sum, mut slope) = (0.0, 0.0, 0.0);
                for j in (0..coefficients.len).rev() {
                    let c = value(coefficients, j);
                    slope = slope * single + sum;
                    sum = sum * single + c;
                    y = y * p + c;
                }
                if pass != Pass::Backward {
                    for (out, value) in [(&outputs[0], y), (&outputs[1], p), (&outputs[2], p)] {
                        if let Some(out) = out {
                            out.set(i, value as f32);
                        }
                    }
                }
                factors[slot] = (upstream.map_or(1.0, |g| f64::from(g[i])) * slope) as f32;
            }
            if let Some(to) = to {
                rows.gradients(part, &factors, to);
            }
        }
    });
    Ok(())
}

/// a + a', then parts of the forms, then the features.
#[cfg(gpu)]
fn places(a: &Args) -> [u64; 3] {
    use crate::cuda::align_up;
    let form = align_up(a.d.saturating_mul(a.d).saturating_mul(4).min(u64::MAX - 256));
    let parts = align_up(a.n.saturating_mul(splits(a)).saturating_mul(8).min(u64::MAX - 256));
    let features = form.saturating_add(parts);
    [form, features, features.saturating_add(a.n.saturating_mul(4))]
}

/// Parts that the columns of the forms are cut into.
#[cfg(gpu)]
fn splits(a: &Args) -> u64 {
    (256 / a.n.div_ceil(64).clamp(1, 256)).min(a.d.div_ceil(64))
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    places(a)[2]
}

#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct PolynomialArgs {
    call: Args,
    form: *mut f32,
    parts: *mut f64,
    features: *mut f32,
    splits: u64,
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let wants_values = pass.forward() && !(a.y.is_null() && a.feature.is_null() && a.saved.is_null());
    let wants_gradient = pass.backward() && !a.grad_x.is_null();
    if a.n == 0 || !(wants_values || wants_gradient) {
        return Ok(());
    }
    let given = pass == Pass::Backward && !a.saved.is_null();
    let [parts, features, _] = places(a).map(|offset| a.workspace.wrapping_byte_add(offset as usize));
    let args = PolynomialArgs {
        call: *a,
        form: a.workspace.cast(),
        parts: parts.cast(),
        features: if given { a.saved } else { features.cast() },
        splits: splits(a),
    };
    let launch = |kernel: &str, grid: [u64; 2], block: [u32; 3]| {
        // SAFETY: a struct of integers, floats and pointers.
        let bytes = unsafe { crate::cuda::bytes_of(&args) };
        device.launch(kernel, [grid[0] as u32, grid[1] as u32, 1], block, 0, bytes)
    };
    let tiles = a.d.div_ceil(32);
    launch("hierarchical_form", [tiles, tiles.min(1024)], [32, 8, 1])?;
    let row_tiles = a.n.div_ceil(64);
    if !given {
        launch("hierarchical_values", [row_tiles, args.splits], [256, 1, 1])?;
        launch("hierarchical_polynomial", [a.n.div_ceil(256), 1], [256, 1, 1])?;
    }
    if wants_gradient {
        launch("hierarchical_gradient", [row_tiles, a.d.div_ceil(64).min(1024)], [256, 1, 1])?;
    }
    Ok(())
}
