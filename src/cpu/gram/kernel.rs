//! The two inner loops, both on differences: exact for points that nearly agree, wherever they lie. They
//! take two operations a pair and dimension where a matrix product takes one.
//!
//! Lanes run over rows: what belongs to a row is gathered without sums across lanes.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use super::{DEPTH, ROWS};
use crate::cpu::simd::Simd;

/// Columns, or dimensions, of a register block; it is two vectors of rows wide.
const BLOCK: usize = 4;

/// Rows `0..rows` of a set in groups of two vectors, dimensions `0..depth`: `[group][k][row of the group]`.
///
/// # Safety
/// `x` has `rows <= ROWS` rows of `depth` values, `stride` apart; `panel` room for `ROWS * depth`.
#[inline(always)]
pub unsafe fn pack<S: Simd>(_s: S, x: *const f32, stride: usize, rows: usize, depth: usize, panel: *mut f32) {
    let wide = 2 * S::LANES;
    for i in 0..rows.next_multiple_of(wide) {
        // Rows that are not there repeat the last one: finite if that is.
        let from = unsafe { x.add(i.min(rows - 1) * stride) };
        let to = unsafe { panel.add(i / wide * wide * depth + i % wide) };
        for k in 0..depth {
            unsafe { *to.add(k * wide) = *from.add(k) };
        }
    }
}

/// `tile[j][i] = scale * sum over k of (x[i][k] - y[j][k])^2`, plus what was there if `add`.
///
/// # Safety
/// `panel` was packed with this `depth`; `y` has `columns` rows of `depth` values, `stride` apart; `tile`
/// has `columns` rows of `ROWS`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub unsafe fn distances<S: Simd>(
    s: S,
    panel: *const f32,
    y: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    depth: usize,
    scale: f32,
    add: bool,
    tile: *mut f32,
) {
    let wide = 2 * S::LANES;
    for group in (0..rows).step_by(wide) {
        let mut j = 0;
        unsafe {
            let x = panel.add(group * depth);
            while j + BLOCK <= columns {
                let to = tile.add(j * ROWS + group);
                distance_block::<S, BLOCK>(s, x, y.add(j * stride), stride, depth, scale, add, to);
                j += BLOCK;
            }
            while j < columns {
                let to = tile.add(j * ROWS + group);
                distance_block::<S, 1>(s, x, y.add(j * stride), stride, depth, scale, add, to);
                j += 1;
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn distance_block<S: Simd, const N: usize>(
    s: S,
    x: *const f32,
    y: *const f32,
    stride: usize,
    depth: usize,
    scale: f32,
    add: bool,
    tile: *mut f32,
) {
    let mut sums = [[s.zero(); 2]; N];
    let mut k = 0;
    unsafe {
        while k < depth {
            let here = [s.load(x.add(2 * k * S::LANES)), s.load(x.add((2 * k + 1) * S::LANES))];
            for j in 0..N {
                let there = s.splat(*y.add(j * stride + k));
                for v in 0..2 {
                    let d = s.sub(here[v], there);
                    sums[j][v] = s.mul_add(d, d, sums[j][v]);
                }
            }
            k += 1;
        }
        for j in 0..N {
            for v in 0..2 {
                let to = tile.add(j * ROWS + v * S::LANES);
                let before = if add { s.load(to) } else { s.zero() };
                s.store(to, s.mul_add(s.splat(scale), sums[j][v], before));
            }
        }
    }
}

/// `sums[k][i] += sum over j of weights[j][i] (x[i][k] - y[j][k])`, laid out as the panel is.
///
/// # Safety
/// As [`distances`]; `sums` has room for `ROWS * depth`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub unsafe fn weighted_differences<S: Simd>(
    s: S,
    panel: *const f32,
    y: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
    depth: usize,
    weights: *const f32,
    sums: *mut f32,
) {
    debug_assert!(depth <= DEPTH);
    let wide = 2 * S::LANES;
    for group in (0..rows).step_by(wide) {
        let mut k = 0;
        unsafe {
            let at = group * depth;
            let (x, to, w) = (panel.add(at), sums.add(at), weights.add(group));
            while k + BLOCK <= depth {
                difference_block::<S, BLOCK>(
                    s,
                    x.add(k * wide),
                    y.add(k),
                    stride,
                    columns,
                    w,
                    to.add(k * wide),
                );
                k += BLOCK;
            }
            while k < depth {
                difference_block::<S, 1>(s, x.add(k * wide), y.add(k), stride, columns, w, to.add(k * wide));
                k += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn difference_block<S: Simd, const N: usize>(
    s: S,
    x: *const f32,
    y: *const f32,
    stride: usize,
    columns: usize,
    weights: *const f32,
    sums: *mut f32,
) {
    let at = |k: usize, v: usize| (2 * k + v) * S::LANES;
    let mut here = [[s.zero(); 2]; N];
    let mut acc = [[s.zero(); 2]; N];
    unsafe {
        for k in 0..N {
            for v in 0..2 {
                here[k][v] = s.load(x.add(at(k, v)));
            }
        }
        for j in 0..columns {
            let w = [s.load(weights.add(j * ROWS)), s.load(weights.add(j * ROWS + S::LANES))];
            for k in 0..N {
                let there = s.splat(*y.add(j * stride + k));
                for v in 0..2 {
                    acc[k][v] = s.mul_add(w[v], s.sub(here[k][v], there), acc[k][v]);
                }
            }
        }
        for k in 0..N {
            for v in 0..2 {
                let to = sums.add(at(k, v));
                s.store(to, s.add(s.load(to), acc[k][v]));
            }
        }
    }
}
