//! Small dense algebra in f64: products, LU, Cholesky. For what is a few hundred rows and columns and must not lose
//! digits; the large products of f32 are in [`matmul`](super::matmul).
//!
//! Results do not depend on the number of threads: work is cut into tiles by size alone.

mod cholesky;

use crate::cpu::Cpu;
use crate::cpu::simd::{Kernel, Simd};
use std::cell::RefCell;
use std::ops::Range;

pub use cholesky::{PANEL, cholesky, cholesky_solve};

/// A matrix of f32 or f64 with any strides, in elements.
#[derive(Clone, Copy)]
pub struct View<'a> {
    values: Values<'a>,
    pub rows: usize,
    pub columns: usize,
    row_stride: usize,
    column_stride: usize,
}

#[derive(Clone, Copy)]
enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl<'a> View<'a> {
    /// Dense rows.
    pub fn f32(values: &'a [f32], rows: usize, columns: usize) -> View<'a> {
        assert!(values.len() >= rows * columns);
        View { values: Values::F32(values), rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub fn f64(values: &'a [f64], rows: usize, columns: usize) -> View<'a> {
        assert!(values.len() >= rows * columns);
        View { values: Values::F64(values), rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub fn block(self, rows: Range<usize>, columns: Range<usize>) -> View<'a> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        let at = rows.start * self.row_stride + columns.start * self.column_stride;
        let values = match self.values {
            Values::F32(v) => Values::F32(&v[at.min(v.len())..]),
            Values::F64(v) => Values::F64(&v[at.min(v.len())..]),
        };
        View { values, rows: rows.len(), columns: columns.len(), ..self }
    }

    /// The transpose.
    pub fn t(self) -> View<'a> {
        View {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    #[inline(always)]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        let at = i * self.row_stride + j * self.column_stride;
        match self.values {
            Values::F32(v) => f64::from(v[at]),
            Values::F64(v) => v[at],
        }
    }

    /// `out[r * width + c]` is element (i + r, j + c); 0 beyond the matrix, up to `height` rows.
    #[inline(always)]
    fn pack_rows(&self, i: usize, j: usize, height: usize, width: usize, out: &mut [f64]) {
        let columns = width.min(self.columns - j);
        for r in 0..height.min(self.rows - i) {
            let line = &mut out[r * width..][..width];
            let at = (i + r) * self.row_stride + j;
            match self.values {
                Values::F32(v) if self.column_stride == 1 => {
                    for (to, &from) in line.iter_mut().zip(&v[at..at + columns]) {
                        *to = f64::from(from);
                    }
                }
                Values::F64(v) if self.column_stride == 1 => {
                    line[..columns].copy_from_slice(&v[at..at + columns])
                }
                _ => line[..columns].iter_mut().enumerate().for_each(|(c, to)| *to = self.get(i + r, j + c)),
            }
            line[columns..].fill(0.0);
        }
    }
}

/// Rows and columns of a tile of the result, and how much of the inner dimension is packed at a time.
const HEIGHT: usize = 64;
const WIDTH: usize = 128;
const DEPTH: usize = 256;
/// Rows and columns kept in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 16;

/// Packed operands of a thread; fixed size.
struct Packed {
    a: [f64; HEIGHT * DEPTH],
    b: [f64; DEPTH * COLUMNS],
}

thread_local! {
    static PACKED: RefCell<Box<Packed>> = RefCell::new(zeroed());
}

fn zeroed() -> Box<Packed> {
    let made = Box::<Packed>::new_uninit();
    // SAFETY: floats may have any bits, and these are written.
    unsafe {
        let raw = Box::into_raw(made).cast::<Packed>();
        std::ptr::write_bytes(raw, 0, 1);
        Box::from_raw(raw)
    }
}

/// c = a b + keep c, with `c` dense rows of f64; keep 0: the old values do not count.
pub fn product(cpu: &Cpu, a: View, b: View, keep: f64, c: &mut [f64]) {
    assert!(a.columns == b.rows && c.len() >= a.rows * b.columns);
    let stride = b.columns;
    tiles(cpu, Tiles { a, b, factor: 1.0, keep, c: Target(c.as_mut_ptr()), stride, lower: false });
}

/// The same where the result is symmetric: computes the lower half.
pub fn symmetric_product(cpu: &Cpu, a: View, b: View, keep: f64, c: &mut [f64]) {
    lower_product(cpu, a, b, keep, c);
    let n = a.rows;
    for i in 0..n {
        for j in i + 1..n {
            c[i * n + j] = c[j * n + i];
        }
    }
}

/// The lower half alone; the other is not known afterwards.
pub fn lower_product(cpu: &Cpu, a: View, b: View, keep: f64, c: &mut [f64]) {
    assert!(a.columns == b.rows && a.rows == b.columns && c.len() >= a.rows * a.rows);
    let stride = a.rows;
    tiles(cpu, Tiles { a, b, factor: 1.0, keep, c: Target(c.as_mut_ptr()), stride, lower: true });
}

/// c = factor a b + keep c, rows of `c` `stride` apart; `lower`: tiles above the diagonal are left out.
struct Tiles<'a> {
    a: View<'a>,
    b: View<'a>,
    factor: f64,
    keep: f64,
    c: Target,
    stride: usize,
    lower: bool,
}

fn tiles(cpu: &Cpu, all: Tiles) {
    let Tiles { a, b, lower, .. } = all;
    let (down, across) = (a.rows.div_ceil(HEIGHT), b.columns.div_ceil(WIDTH));
    // Some operations are worth about as much as a byte of traffic.
    let work = a.rows * b.columns * a.columns / 4;
    cpu.run(down * across, work, &|tile| {
        let (row, column) = (tile / across * HEIGHT, tile % across * WIDTH);
        if lower && column > row + HEIGHT - 1 {
            return;
        }
        // SAFETY: each tile writes its own part of `c`, within bounds.
        PACKED.with_borrow_mut(|packed| {
            cpu.isa.dispatch(Tile { all: &all, row, column, packed });
        });
    });
}

struct Target(*mut f64);

// SAFETY: tiles write disjoint parts.
unsafe impl Sync for Target {}

struct Tile<'a, 'b> {
    all: &'b Tiles<'a>,
    row: usize,
    column: usize,
    packed: &'b mut Packed,
}

impl Kernel for Tile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Tile { all, row, column, packed } = self;
        let &Tiles { a, b, factor, keep, ref c, stride, .. } = all;
        let height = HEIGHT.min(a.rows - row);
        let end = b.columns.min(column + WIDTH);
        let depth_total = a.columns;
        let mut k = 0;
        loop {
            let depth = DEPTH.min(depth_total - k);
            // Of `a` groups of ROWS rows, each column by column.
            for (g, group) in packed.a.chunks_exact_mut(ROWS * DEPTH).enumerate().take(height.div_ceil(ROWS))
            {
                a.t().pack_rows(k, row + g * ROWS, depth, ROWS, group);
            }
            let mut j = column;
            while j < end {
                b.pack_rows(k, j, depth, COLUMNS, &mut packed.b);
                for g in 0..height.div_ceil(ROWS) {
                    let sums = micro::<S>(
                        &packed.a[g * ROWS * DEPTH..][..ROWS * depth],
                        &packed.b[..COLUMNS * depth],
                    );
                    for (r, sums) in sums.iter().enumerate().take(height - g * ROWS) {
                        let width = COLUMNS.min(b.columns - j);
                        // SAFETY: within the tile, which no other task has.
                        let line = unsafe {
                            std::slice::from_raw_parts_mut(c.0.add((row + g * ROWS + r) * stride + j), width)
                        };
                        let first = k == 0;
                        for (place, &sum) in line.iter_mut().zip(sums) {
                            let sum = factor * sum;
                            *place = if !first {
                                *place + sum
                            } else if keep == 0.0 {
                                sum
                            } else {
                                keep * *place + sum
                            };
                        }
                    }
                }
                j += COLUMNS;
            }
            k += depth;
            if k >= depth_total {
                break;
            }
        }
    }
}

/// ROWS x COLUMNS sums of products.
#[inline(always)]
fn micro<S: Simd>(a: &[f64], b: &[f64]) -> [[f64; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLUMNS>().0) {
        for (line, &x) in sums.iter_mut().zip(a) {
            for (sum, &y) in line.iter_mut().zip(b) {
                *sum = if S::FMA { x.mul_add(y, *sum) } else { x * y + *sum };
            }
        }
    }
    sums
}

/// LU with partial pivoting, in place; `pivots[k]` is the row that row k changed places with. What is singular
/// gives infinities or NaNs later on.
pub fn lu(cpu: &Cpu, a: &mut [f64], n: usize, pivots: &mut [usize]) {
    cpu.isa.dispatch(Lu { a, n, pivots });
}

struct Lu<'a> {
    a: &'a mut [f64],
    n: usize,
    pivots: &'a mut [usize],
}

impl Kernel for Lu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Lu { a, n, pivots } = self;
        for k in 0..n {
            let mut pivot = k;
            for i in k + 1..n {
                if a[i * n + k].abs() > a[pivot * n + k].abs() {
                    pivot = i;
                }
            }
            pivots[k] = pivot;
            if pivot != k {
                let (above, below) = a.split_at_mut(pivot * n);
                above[k * n..][..n].swap_with_slice(&mut below[..n]);
            }
            let inverse = 1.0 / a[k * n + k];
            let (above, below) = a.split_at_mut((k + 1) * n);
            let line = &above[k * n..][k + 1..n];
            for row in below.chunks_exact_mut(n) {
                let factor = row[k] * inverse;
                row[k] = factor;
                subtract(&mut row[k + 1..n], line, factor);
            }
        }
    }
}

/// row -= factor line
#[inline(always)]
fn subtract(row: &mut [f64], line: &[f64], factor: f64) {
    for (x, &y) in row.iter_mut().zip(line) {
        *x -= factor * y;
    }
}

/// x <- a^-1 x for `x` [n, columns], from what [`lu`] made of `a`.
pub fn solve(cpu: &Cpu, lu: &[f64], n: usize, pivots: &[usize], x: &mut [f64], columns: usize) {
    for (k, &pivot) in pivots.iter().enumerate().take(n) {
        if pivot != k {
            let (above, below) = x.split_at_mut(pivot * columns);
            above[k * columns..][..columns].swap_with_slice(&mut below[..columns]);
        }
    }
    substitute(cpu, n, x, columns, LowerUpper { lu, n });
}

/// Triangular systems that are solved in place.
trait Triangular: Copy + Sync {
    /// For some columns of the right-hand sides; `row(i)` is row i of these.
    ///
    /// # Safety
    /// Nobody else has them, and no two calls of `row` with the same i are in use at a time.
    unsafe fn solve<'a>(&self, row: impl Fn(usize) -> &'a mut [f64]);
}

/// Solves for `x` [n, columns], in strips of columns.
fn substitute(cpu: &Cpu, n: usize, x: &mut [f64], columns: usize, system: impl Triangular) {
    assert!(x.len() >= n * columns);
    const STRIP: usize = 64;
    let target = Target(x.as_mut_ptr());
    cpu.run(columns.div_ceil(STRIP), n * n * columns / 4, &|strip| {
        let start = strip * STRIP;
        let width = STRIP.min(columns - start);
        cpu.isa.dispatch(Substitution { system, x: &target, columns, start, width });
    });
}

/// Of some columns.
struct Substitution<'a, T> {
    system: T,
    x: &'a Target,
    columns: usize,
    start: usize,
    width: usize,
}

impl<T: Triangular> Kernel for Substitution<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        // SAFETY: rows of this strip, which no other task has; never the same one twice at a time.
        unsafe {
            self.system.solve(
                #[inline(always)]
                |i| {
                    let first = self.x.0.add(i * self.columns + self.start);
                    std::slice::from_raw_parts_mut(first, self.width)
                },
            )
        };
    }
}

/// What [`lu`] makes.
#[derive(Clone, Copy)]
struct LowerUpper<'a> {
    lu: &'a [f64],
    n: usize,
}

impl Triangular for LowerUpper<'_> {
    #[inline(always)]
    unsafe fn solve<'a>(&self, row: impl Fn(usize) -> &'a mut [f64]) {
        let Self { lu, n } = *self;
        for i in 0..n {
            let x = row(i);
            for j in 0..i {
                subtract(x, row(j), lu[i * n + j]);
            }
        }
        for i in (0..n).rev() {
            let x = row(i);
            for j in i + 1..n {
                subtract(x, row(j), lu[i * n + j]);
            }
            let pivot = lu[i * n + i];
            x.iter_mut().for_each(|value| *value /= pivot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(count: usize, mut state: u64) -> Vec<f64> {
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
        };
        (0..count).map(|_| next()).collect()
    }

    fn plain(a: View, b: View) -> Vec<f64> {
        let at = |i, j| (0..a.columns).map(|k| a.get(i, k) * b.get(k, j)).sum();
        (0..a.rows).flat_map(|i| (0..b.columns).map(move |j| (i, j))).map(|(i, j)| at(i, j)).collect()
    }

    fn close(a: &[f64], b: &[f64]) {
        assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-11), "{a:?} {b:?}");
    }

    #[test]
    fn products_of_any_shape() {
        let cpu = Cpu::new(2);
        for (m, n, k) in [(1, 1, 1), (5, 17, 3), (65, 130, 300), (4, 16, 256), (70, 9, 513), (3, 2, 0)] {
            let (a, b) = (some(m * k, 1), some(k * n, 2));
            let single: Vec<f32> = b.iter().map(|&x| x as f32).collect();
            let at: Vec<f64> = (0..m * k).map(|i| a[i % m * k + i / m]).collect();
            let views = [
                (View::f64(&a, m, k), View::f32(&single, k, n)),
                (View::f64(&at, k, m).t(), View::f64(&b, k, n)),
            ];
            for (a, b) in views {
                let mut c = vec![f64::NAN; m * n];
                product(&cpu, a, b, 0.0, &mut c);
                close(&c, &plain(a, b));
                product(&cpu, a, b, -1.0, &mut c);
                close(&c, &vec![0.0; m * n]);
            }
            let mut square = vec![f64::NAN; m * m];
            let a = View::f64(&a, m, k);
            symmetric_product(&cpu, a, a.t(), 0.0, &mut square);
            close(&square, &plain(a, a.t()));
        }
    }

    #[test]
    fn positive_definite_systems() {
        let cpu = Cpu::new(2);
        for (n, columns) in [(1, 1), (7, 3), (64, 2), (65, 1), (150, 70)] {
            let (b, x) = (some(n * n, 3), some(n * columns, 4));
            let b = View::f64(&b, n, n);
            let mut a = plain(b, b.t());
            (0..n).for_each(|i| a[i * n + i] += 1.0);
            let mut y = plain(View::f64(&a, n, n), View::f64(&x, n, columns));
            let mut panel = vec![f64::NAN; n * PANEL];
            cholesky(&cpu, &mut a, n, &mut panel);
            cholesky_solve(&cpu, &a, n, &mut y, columns);
            assert!(y.iter().zip(&x).all(|(y, x)| (y - x).abs() < 1e-9), "{n}");
        }
    }

    #[test]
    fn systems() {
        let cpu = Cpu::new(2);
        for (n, columns) in [(1, 1), (7, 3), (40, 129)] {
            let (a, x) = (some(n * n, 3), some(n * columns, 4));
            let mut y = plain(View::f64(&a, n, n), View::f64(&x, n, columns));
            let (mut factors, mut pivots) = (a.clone(), vec![0; n]);
            lu(&cpu, &mut factors, n, &mut pivots);
            solve(&cpu, &factors, n, &pivots, &mut y, columns);
            assert!(y.iter().zip(&x).all(|(y, x)| (y - x).abs() < 1e-9));
        }
    }
}
