//! Cholesky's decomposition of symmetric positive definite matrices, panel by panel.

use super::{Target, Tiles, Triangular, View, substitute, subtract, tiles};
use crate::cpu::Cpu;
use crate::cpu::simd::{Kernel, Simd};

/// Columns of a panel.
pub const PANEL: usize = 64;

/// a = L L', of which the lower half is read and written. `panel` has room for `n` rows of [`PANEL`]. What is not
/// positive definite gives NaNs.
pub fn cholesky(cpu: &Cpu, a: &mut [f64], n: usize, panel: &mut [f64]) {
    assert!(a.len() >= n * n && panel.len() >= n * PANEL);
    for start in (0..n).step_by(PANEL) {
        let width = PANEL.min(n - start);
        let (top, rest) = panel.split_at_mut(width * width);
        for i in 0..width {
            top[i * width..][..width].copy_from_slice(&a[(start + i) * n + start..][..width]);
        }
        cpu.isa.dispatch(Factor { a: top, n: width });
        for i in 0..width {
            a[(start + i) * n + start..][..=i].copy_from_slice(&top[i * width..][..=i]);
        }
        let first = start + width;
        let rows = n - first;
        if rows == 0 {
            break;
        }
        const STRIP: usize = 32;
        let target = Target(a.as_mut_ptr());
        let panel_rows = Target(rest.as_mut_ptr());
        let top = &*top;
        cpu.run(rows.div_ceil(STRIP), rows * width * width / 4, &|strip| {
            let range = strip * STRIP..((strip + 1) * STRIP).min(rows);
            cpu.isa.dispatch(Rows { top, width, range, first, n, start, a: &target, panel: &panel_rows });
        });
        // SAFETY: the rows have been written; the tiles are below and right of the panel.
        let panel = View::f64(&rest[..rows * width], rows, width);
        let c = Target(unsafe { a.as_mut_ptr().add(first * n + first) });
        tiles(cpu, Tiles { a: panel, b: panel.t(), factor: -1.0, keep: 1.0, c, stride: n, lower: true });
    }
}

/// Of a few rows and columns, in place.
struct Factor<'a> {
    a: &'a mut [f64],
    n: usize,
}

impl Kernel for Factor<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Factor { a, n } = self;
        for i in 0..n {
            for j in 0..=i {
                let dot = dot(&a[i * n..][..j], &a[j * n..][..j]);
                let value = a[i * n + j] - dot;
                a[i * n + j] = if i == j { value.sqrt() } else { value / a[j * n + j] };
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// Rows below the panel's top: x L' = a.
struct Rows<'a> {
    top: &'a [f64],
    width: usize,
    range: std::ops::Range<usize>,
    first: usize,
    n: usize,
    start: usize,
    a: &'a Target,
    panel: &'a Target,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let width = self.width;
        for i in self.range {
            // SAFETY: rows that this task alone has.
            let (row, copy) = unsafe {
                let at = self.a.0.add((self.first + i) * self.n + self.start);
                let copy = self.panel.0.add(i * width);
                (std::slice::from_raw_parts_mut(at, width), std::slice::from_raw_parts_mut(copy, width))
            };
            for j in 0..width {
                let line = &self.top[j * width..][..=j];
                row[j] = (row[j] - dot(&row[..j], &line[..j])) / line[j];
            }
            copy.copy_from_slice(row);
        }
    }
}

/// x <- (L L')^-1 x for `x` [n, columns].
pub fn cholesky_solve(cpu: &Cpu, l: &[f64], n: usize, x: &mut [f64], columns: usize) {
    assert!(l.len() >= n * n);
    substitute(cpu, n, x, columns, LowerTransposed { l, n });
}

/// L L'.
#[derive(Clone, Copy)]
struct LowerTransposed<'a> {
    l: &'a [f64],
    n: usize,
}

impl Triangular for LowerTransposed<'_> {
    #[inline(always)]
    unsafe fn solve<'a>(&self, row: impl Fn(usize) -> &'a mut [f64]) {
        let Self { l, n } = *self;
        for i in 0..n {
            let x = row(i);
            for j in 0..i {
                subtract(x, row(j), l[i * n + j]);
            }
            x.iter_mut().for_each(|value| *value /= l[i * n + i]);
        }
        for i in (0..n).rev() {
            let x = row(i);
            x.iter_mut().for_each(|value| *value /= l[i * n + i]);
            for j in 0..i {
                subtract(row(j), x, l[i * n + j]);
            }
        }
    }
}
