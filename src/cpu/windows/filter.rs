//! The two directions of a separable window, on rows of a whole number of vector pairs.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use crate::cpu::simd::Simd;

/// Rows are a multiple of this long, so that filters do two vectors at a time on every instruction set.
pub const PAD: usize = 32;

/// From `s` and `d`: their sums in the window and those of their squares, in `to` at `stride` from each other.
///
/// # Safety
/// `s` and `d` hold `n + weights.len()` values, `to` four rows of `n`; `n` is a multiple of [`PAD`].
#[inline(always)]
pub unsafe fn moments_along<S: Simd>(
    s: S,
    weights: &[f32],
    sum: *const f32,
    difference: *const f32,
    to: *mut f32,
    stride: usize,
    n: usize,
) {
    let mut k = 0;
    while k < n {
        let mut acc = [[s.zero(); 2]; 4];
        for (t, &weight) in weights.iter().enumerate() {
            let w = s.splat(weight);
            for half in 0..2 {
                unsafe {
                    let at = k + t + half * S::LANES;
                    let (a, b) = (s.load(sum.add(at)), s.load(difference.add(at)));
                    let (wa, wb) = (s.mul(w, a), s.mul(w, b));
                    acc[0][half] = s.add(acc[0][half], wa);
                    acc[1][half] = s.add(acc[1][half], wb);
                    acc[2][half] = s.mul_add(wa, a, acc[2][half]);
                    acc[3][half] = s.mul_add(wb, b, acc[3][half]);
                }
            }
        }
        unsafe { put(s, &acc, to.add(k), stride) };
        k += 2 * S::LANES;
    }
}

/// `M` rows at `stride` from each other, filtered along.
///
/// # Safety
/// As [`moments_along`], `from` with `n + weights.len()` values a row at `from_stride`.
#[inline(always)]
pub unsafe fn along<S: Simd, const M: usize>(
    s: S,
    weights: &[f32],
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    stride: usize,
    n: usize,
) {
    let mut k = 0;
    while k < n {
        let mut acc = [[s.zero(); 2]; M];
        for (t, &weight) in weights.iter().enumerate() {
            let w = s.splat(weight);
            for m in 0..M {
                for half in 0..2 {
                    let at = m * from_stride + k + t + half * S::LANES;
                    acc[m][half] = s.mul_add(w, unsafe { s.load(from.add(at)) }, acc[m][half]);
                }
            }
        }
        unsafe { put(s, &acc, to.add(k), stride) };
        k += 2 * S::LANES;
    }
}

/// `M` values at `k`, and at the vector behind it, filtered across the rows of a ring [weights, M, stride].
///
/// # Safety
/// The ring has that shape, `k + 2 LANES <= stride`.
#[inline(always)]
pub unsafe fn across<S: Simd, const M: usize>(
    s: S,
    weights: &[f32],
    ring: *const f32,
    stride: usize,
    k: usize,
) -> [[S::F; 2]; M] {
    let mut acc = [[s.zero(); 2]; M];
    for (row, &weight) in weights.iter().enumerate() {
        let w = s.splat(weight);
        for m in 0..M {
            for half in 0..2 {
                let at = (row * M + m) * stride + k + half * S::LANES;
                acc[m][half] = s.mul_add(w, unsafe { s.load(ring.add(at)) }, acc[m][half]);
            }
        }
    }
    acc
}

#[inline(always)]
unsafe fn put<S: Simd, const M: usize>(s: S, values: &[[S::F; 2]; M], to: *mut f32, stride: usize) {
    for m in 0..M {
        for half in 0..2 {
            unsafe { s.store(to.add(m * stride + half * S::LANES), values[m][half]) };
        }
    }
}
