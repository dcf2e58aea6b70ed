//! The gradient from probabilities that carry the label: left by the sweep for the sums in the gradient's place, or
//! computed again for a block.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use super::block::{GROUP, vectors, vectors_to_end};
use super::gradient::{part_of_mean, spread};
use super::{MapLoss, Pixels};
use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, load_lanes, store_lanes};

/// What is kept of a pixel in a class: the probability, negative where the label is the class, 0 where it is ignored.
#[inline(always)]
pub fn pack<S: Simd>(s: S, p: S::F, own: S::M) -> S::F {
    s.sub(s.only(s.not(own), p), s.only(own, p))
}

/// The probabilities that are kept, and the loss's slopes there.
#[inline(always)]
fn slope_of<S: Simd, const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(
    s: S,
    loss: &L,
    factors: &[S::F; FACTORS],
    kept: S::F,
) -> (S::F, S::F) {
    let (p, own) = (s.abs(kept), s.lt(kept, s.zero()));
    (p, loss.slope(s, factors, &Pixels::labelled(s, p, own)))
}

/// What is kept of a block, by a function of the class, and how far away the next block is.
pub struct Rows<R> {
    pub row: R,
    pub classes: usize,
    pub len: usize,
    pub ahead: usize,
}

/// Puts the gradient in the place of what is kept.
///
/// # Safety
/// The rows are there, and room for them at `mean` and `part`.
#[inline(always)]
pub unsafe fn gradient<S: Simd, const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(
    s: S,
    loss: &L,
    factors: &[f32],
    rows: Rows<impl Fn(usize) -> *mut f32>,
    [mean, part]: [*mut f32; 2],
) {
    let Rows { row, classes, len, ahead } = rows;
    // With few classes a pixel's probabilities are looked at once; not where 0 times a slope may be NaN.
    let mut start = 0;
    if (2..=GROUP).contains(&classes)
        && L::AFFINE
        && factors[..classes * FACTORS].iter().all(|f| f.abs() < 1e30)
    {
        start = len - len % S::Wide::LANES;
        macro_rules! pixels {
            ($n:literal) => {
                affine::<S, SUMS, FACTORS, L, $n>(s, loss, std::array::from_fn(&row), factors, start, ahead)
            };
        }
        // SAFETY: as asked.
        unsafe {
            match classes {
                2 => pixels!(2),
                3 => pixels!(3),
                _ => pixels!(4),
            }
        }
    }
    let len = len - start;
    let classes = if len > 0 { classes } else { 0 };
    for class in 0..classes {
        let (row, factors) =
            (row(class).wrapping_add(start), spread::<S, FACTORS>(s, &factors[class * FACTORS..]));
        vectors_to_end::<S>(
            s,
            len,
            true,
            #[inline(always)]
            // SAFETY: within the block and the scratch.
            |k, lanes, _| unsafe {
                storage::fetch(row.wrapping_add(ahead + k).cast(), S::LANES * size_of::<f32>());
                let (p, slope) = slope_of(s, loss, &factors, load_lanes(s, row.add(k), lanes));
                part_of_mean(s, class, classes, [mean.add(k), part.add(k)], p, slope);
            },
        );
    }
    for class in 0..classes {
        let (row, factors) =
            (row(class).wrapping_add(start), spread::<S, FACTORS>(s, &factors[class * FACTORS..]));
        vectors_to_end::<S>(
            s,
            len,
            true,
            #[inline(always)]
            // SAFETY: within the block and the scratch.
            |k, lanes, _| unsafe {
                let (p, slope) = slope_of(s, loss, &factors, load_lanes(s, row.add(k), lanes));
                let g = s.mul(p, s.sub(slope, s.load(mean.add(k))));
                // Of an ignored pixel 0 whatever the factors.
                store_lanes(s, row.add(k), lanes, s.only(s.not(s.eq(p, s.zero())), g));
            },
        );
    }
}

/// The first `len` pixels of `N` rows, one for each class.
///
/// # Safety
/// The rows hold whole vectors.
#[inline(always)]
unsafe fn affine<
    S: Simd,
    const SUMS: usize,
    const FACTORS: usize,
    L: MapLoss<SUMS, FACTORS>,
    const N: usize,
>(
    s: S,
    loss: &L,
    rows: [*mut f32; N],
    factors: &[f32],
    len: usize,
    ahead: usize,
) {
    let (mut slopes, linear) = ([[s.zero(); 3]; N], !loss.usual());
    for c in 0..N {
        let factors = spread::<S, FACTORS>(s, &factors[c * FACTORS..]);
        for (slope, (p, own)) in slopes[c].iter_mut().zip([(0.0, S::LANES), (0.0, 0), (1.0, 0)]) {
            *slope = loss.slope(s, &factors, &Pixels::labelled(s, s.splat(p), s.first_n(own)));
        }
        slopes[c][2] = s.sub(slopes[c][2], slopes[c][1]);
    }
    vectors::<S::Wide>(
        len,
        #[inline(always)]
        // SAFETY: within the rows.
        |start| unsafe {
            for row in rows {
                storage::fetch(row.wrapping_add(ahead + start).cast(), S::Wide::LANES * size_of::<f32>());
            }
            for k in (start..start + S::Wide::LANES).step_by(S::LANES) {
                let [mut p, mut slope] = [[s.zero(); N]; 2];
                let mut parts = [s.zero(); 2];
                for c in 0..N {
                    let kept = s.load(rows[c].add(k));
                    p[c] = s.abs(kept);
                    slope[c] = s.select_negative(kept, slopes[c][0], slopes[c][1]);
                    if linear {
                        slope[c] = s.mul_add(p[c], slopes[c][2], slope[c]);
                    }
                    let part = &mut parts[c / 2];
                    *part = if c % 2 == 0 { s.mul(p[c], slope[c]) } else { s.mul_add(p[c], slope[c], *part) };
                }
                let mean = if N > 2 { s.add(parts[0], parts[1]) } else { parts[0] };
                for c in 0..N {
                    s.store(rows[c].add(k), s.mul(p[c], s.sub(slope[c], mean)));
                }
            }
        },
    );
}
