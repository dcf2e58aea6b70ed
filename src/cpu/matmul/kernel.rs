//! The loops over panels, and the innermost one over a block of C held in registers.

use super::pack::{self, HEIGHT, Panels, ROW, WIDTH};
use super::{Matrix, MatrixMut};
use crate::cpu::simd::Simd;
use crate::cpu::storage::{fetch, load_lanes, store_lanes};

/// `MR` rows by `NV` vectors of C stay in registers.
///
/// # Safety
/// The shapes agree, and C is not empty.
#[inline(always)]
pub unsafe fn product<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    alpha: f32,
    a: Matrix,
    b: Matrix,
    beta: f32,
    c: MatrixMut,
    panels: &mut Panels,
) {
    let (m, n) = (c.rows, c.columns);
    let k = if alpha == 0.0 { 0 } else { a.columns };
    let width = NV * S::LANES;
    // Even parts, not whole panels and a thin rest; at least one, for beta.
    let depth = k.div_ceil(k.div_ceil(pack::depth(width)).max(1));
    let height = HEIGHT / MR * MR;
    let in_place = pack::in_place(&a);
    for j in (0..n).step_by(WIDTH) {
        let columns = j..n.min(j + WIDTH);
        let mut p = 0;
        loop {
            let inner = p..k.min(p + depth);
            // SAFETY: within B, and no larger than a panel.
            unsafe { pack::strips(s, &b, inner.clone(), columns.clone(), panels.b(), width) };
            for i in (0..m).step_by(height) {
                let rows = i..m.min(i + height);
                let whole = if in_place { rows.len() / MR * MR } else { 0 };
                let block = Block {
                    a: a.at(i, inner.start).cast(),
                    apart: a.row_stride,
                    whole,
                    rest: panels.a(),
                    depth: inner.len(),
                    rows: rows.len(),
                    columns: columns.len(),
                    alpha,
                    beta: if p == 0 { beta } else { 1.0 },
                    stride: c.stride,
                    width,
                };
                let (inner, rest) = (inner.clone(), rows.start + whole..rows.end);
                // SAFETY: within A and C, and no larger than a panel.
                unsafe {
                    let at = c.ptr.add(i * c.stride + j);
                    pack::rows::<S, MR>(s, &a, rest, inner, panels.a());
                    sweep::<S, MR, NV>(s, &block, panels.b(), at);
                }
            }
            p += depth;
            if p >= k {
                break;
            }
        }
    }
}

/// What one panel of A and one of B add to C.
struct Block {
    /// The first rows of A, so many, and their distance; then the rest, packed.
    a: *const f32,
    apart: usize,
    whole: usize,
    rest: *const f32,
    depth: usize,
    rows: usize,
    columns: usize,
    alpha: f32,
    beta: f32,
    /// Of C.
    stride: usize,
    /// Of a strip of B.
    width: usize,
}

/// # Safety
/// A and the panel of B at `b` are there for the block, and C is at `c`.
#[inline(always)]
unsafe fn sweep<S: Simd, const MR: usize, const NV: usize>(s: S, block: &Block, b: *const f32, c: *mut f32) {
    let width = block.width;
    for j in (0..block.columns).step_by(width) {
        // A strip of B stays in the first-level cache while the panel of A passes.
        let b = unsafe { b.add(j * block.depth) };
        for i in (0..block.rows).step_by(MR) {
            let rows = (block.rows - i).min(MR);
            let columns = (block.columns - j).min(width);
            unsafe {
                let a = if i < block.whole {
                    (block.a.add(i * block.apart), block.apart)
                } else {
                    (block.rest.add((i - block.whole) * ROW), ROW)
                };
                let c = c.add(i * block.stride + j);
                if rows == MR && columns == width {
                    // It will be wanted when the sums are there.
                    (0..MR).for_each(
                        #[inline(always)]
                        |row| fetch(c.add(row * block.stride).cast(), 4 * width),
                    );
                    let sums = products::<S, MR, NV>(s, block.depth, a, b, block.width);
                    finish(s, block, &sums, c);
                } else if columns <= S::LANES {
                    // Smaller kernels at the edges, or up to half the work on small tiles would be waste.
                    part::<S, MR, 1>(s, block, a, b, c, rows, columns);
                } else if rows * 2 > MR {
                    part::<S, MR, NV>(s, block, a, b, c, rows, columns);
                } else {
                    match MR {
                        14 => part::<S, 7, NV>(s, block, a, b, c, rows, columns),
                        8 => part::<S, 4, NV>(s, block, a, b, c, rows, columns),
                        6 => part::<S, 3, NV>(s, block, a, b, c, rows, columns),
                        _ => part::<S, MR, NV>(s, block, a, b, c, rows, columns),
                    }
                }
            }
        }
    }
}

/// Rows of A times `NV` vectors of a strip of B.
///
/// # Safety
/// See [`sweep`].
#[inline(always)]
unsafe fn products<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    depth: usize,
    (a, apart): (*const f32, usize),
    b: *const f32,
    width: usize,
) -> [[S::F; NV]; MR] {
    // Only ever indexed by constants once unrolled, or it would not stay in registers.
    let mut sums = [[s.zero(); NV]; MR];
    let mut lines = [a; MR];
    for (i, line) in lines.iter_mut().enumerate() {
        *line = a.wrapping_add(i * apart);
    }
    // Or their addresses would be worked out from `a` at every step.
    let lines = std::hint::black_box(lines);
    for p in 0..depth {
        unsafe {
            let b = b.add(p * width);
            let mut right = [s.zero(); NV];
            for (v, right) in right.iter_mut().enumerate() {
                *right = s.load(b.add(v * S::LANES));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let left = s.splat(*lines[i].add(p));
                for (sum, &right) in row.iter_mut().zip(&right) {
                    *sum = s.mul_add(left, right, *sum);
                }
            }
        }
    }
    sums
}

/// A whole tile of C, from registers.
///
/// # Safety
/// See [`sweep`].
#[inline(always)]
unsafe fn finish<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    block: &Block,
    sums: &[[S::F; NV]; MR],
    c: *mut f32,
) {
    let (alpha, beta) = (s.splat(block.alpha), s.splat(block.beta));
    // Not 0 times what is there: that may be NaN.
    if block.beta == 0.0 {
        for (i, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                unsafe { s.store(c.add(i * block.stride + v * S::LANES), s.mul(alpha, sum)) };
            }
        }
    } else {
        for (i, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                unsafe {
                    let at = c.add(i * block.stride + v * S::LANES);
                    s.store(at, s.mul_add(beta, s.load(at), s.mul(alpha, sum)));
                }
            }
        }
    }
}

/// A tile at the edge of C, through memory.
///
/// # Safety
/// See [`sweep`].
#[inline(always)]
unsafe fn part<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    block: &Block,
    a: (*const f32, usize),
    b: *const f32,
    c: *mut f32,
    rows: usize,
    columns: usize,
) {
    let sums = unsafe { products::<S, MR, NV>(s, block.depth, a, b, block.width) };
    let mut tile = [[s.zero(); NV]; MR];
    for (to, from) in tile.iter_mut().zip(&sums) {
        *to = *from;
    }
    let (alpha, beta) = (s.splat(block.alpha), s.splat(block.beta));
    for (i, row) in tile.iter().take(rows).enumerate() {
        for (v, &sum) in row.iter().take(columns.div_ceil(S::LANES)).enumerate() {
            let lanes = (columns - v * S::LANES).min(S::LANES);
            unsafe {
                let at = c.add(i * block.stride + v * S::LANES);
                let mut value = s.mul(alpha, sum);
                if block.beta != 0.0 {
                    value = s.mul_add(beta, load_lanes(s, at, lanes), value);
                }
                store_lanes(s, at, lanes, value);
            }
        }
    }
}
