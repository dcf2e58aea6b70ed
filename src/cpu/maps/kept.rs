//! The gradient from probabilities that the sweep for the sums has left in its place.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use super::block::{self, GROUP, vectors, vectors_to_end};
use super::sweep::{part_of_mean, spread};
use super::{Chunks, MapLoss, Maps, Pixels};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, Scratch, load_lanes, store_lanes};
use crate::registry::FloatsMut;
use std::ops::Range;

pub struct Kept<'a, L> {
    pub loss: &'a L,
    pub maps: &'a Maps<'a>,
    pub chunks: Chunks,
    pub range: Range<usize>,
    pub factors: &'a [f32],
    pub to: FloatsMut<'a>,
}

/// What is kept of a pixel in a class: the probability, negative where the label is the class, 0 where it is ignored.
#[inline(always)]
pub fn pack<S: Simd>(s: S, x: &Pixels<S>) -> S::F {
    match x.own {
        Some(own) => s.sub(s.only(s.not(own), x.p), s.only(own, x.p)),
        None => s.mul_add(s.mul(s.splat(-2.0), x.p), x.t, x.p),
    }
}

#[inline(always)]
fn unpack<S: Simd>(s: S, kept: S::F) -> Pixels<S> {
    let (p, own, one) = (s.abs(kept), s.lt(kept, s.zero()), s.splat(1.0));
    Pixels { p, q: s.sub(one, p), log_p: s.zero(), t: s.only(own, one), own: Some(own) }
}

impl<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>> Kernel
    for (Kept<'_, L>, [(); SUMS], [(); FACTORS])
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Kept { loss, maps, chunks, range, factors, to } = self.0;
        // A copy that no store can change.
        let loss = &{ *loss };
        let mut scratch = [const { Scratch::<{ block::MOST }>::new() }; 2];
        let [mean, part] = scratch.each_mut().map(Scratch::ptr);
        let (size, _) = block::size(maps.classes);
        for chunk in range {
            let (image, pixels) = maps.chunk(chunks, chunk);
            let factors = &factors[image * maps.classes * FACTORS..];
            let mut start = pixels.start;
            while start < pixels.end {
                let len = size.min(pixels.end - start);
                // SAFETY: within the checked buffer.
                let row = |class: usize| unsafe {
                    to.at((image * maps.classes + class) * maps.pixels + start).cast::<f32>()
                };
                // With few classes a pixel's probabilities are looked at once.
                let whole = len - len % S::LANES;
                if maps.classes <= GROUP && whole > 0 {
                    macro_rules! pixels {
                        ($n:literal) => {
                            few::<S, SUMS, FACTORS, L, $n>(
                                s,
                                loss,
                                std::array::from_fn(row),
                                factors,
                                whole,
                                size,
                            )
                        };
                    }
                    // SAFETY: within the checked buffer.
                    unsafe {
                        match maps.classes {
                            1 => pixels!(1),
                            2 => pixels!(2),
                            3 => pixels!(3),
                            _ => pixels!(4),
                        }
                    }
                    start += whole;
                    continue;
                }
                for class in 0..maps.classes {
                    let (row, factors) = (row(class), spread::<S, FACTORS>(s, &factors[class * FACTORS..]));
                    vectors_to_end::<S>(
                        s,
                        len,
                        true,
                        #[inline(always)]
                        // SAFETY: within the block and the scratch.
                        |k, lanes, _| unsafe {
                            let next = row.wrapping_add(size + k).cast();
                            storage::fetch(next, S::LANES * size_of::<f32>());
                            let x = unpack(s, load_lanes(s, row.add(k), lanes));
                            let slope = loss.slope(s, &factors, &x);
                            part_of_mean(s, class, maps.classes, [mean.add(k), part.add(k)], x.p, slope);
                        },
                    );
                }
                for class in 0..maps.classes {
                    let (row, factors) = (row(class), spread::<S, FACTORS>(s, &factors[class * FACTORS..]));
                    vectors_to_end::<S>(
                        s,
                        len,
                        true,
                        #[inline(always)]
                        // SAFETY: within the block and the scratch.
                        |k, lanes, _| unsafe {
                            let x = unpack(s, load_lanes(s, row.add(k), lanes));
                            let slope = loss.slope(s, &factors, &x);
                            let g = s.mul(x.p, s.sub(slope, s.load(mean.add(k))));
                            store_lanes(s, row.add(k), lanes, counted(s, x.p, g));
                        },
                    );
                }
                start += len;
            }
        }
    }
}

/// The gradient, but 0 of an ignored pixel whatever the factors.
#[inline(always)]
fn counted<S: Simd>(s: S, p: S::F, g: S::F) -> S::F {
    s.only(s.not(s.eq(p, s.zero())), g)
}

/// The first `len` pixels of `N` rows, one for each class.
///
/// # Safety
/// The rows hold whole vectors.
#[inline(always)]
unsafe fn few<S: Simd, const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>, const N: usize>(
    s: S,
    loss: &L,
    rows: [*mut f32; N],
    factors: &[f32],
    len: usize,
    ahead: usize,
) {
    let mut all = [[s.zero(); FACTORS]; N];
    for c in 0..N {
        all[c] = spread::<S, FACTORS>(s, &factors[c * FACTORS..]);
    }
    vectors::<S>(
        len,
        #[inline(always)]
        // SAFETY: within the rows.
        |k| unsafe {
            let [mut p, mut slope] = [[s.zero(); N]; 2];
            let mut mean = s.zero();
            for c in 0..N {
                storage::fetch(rows[c].wrapping_add(ahead + k).cast(), S::LANES * size_of::<f32>());
                let x = unpack(s, s.load(rows[c].add(k)));
                (p[c], slope[c]) = (x.p, loss.slope(s, &all[c], &x));
                mean = s.mul_add(p[c], slope[c], mean);
            }
            for c in 0..N {
                let g = s.mul(p[c], s.sub(slope[c], mean));
                s.store(rows[c].add(k), counted(s, p[c], g));
            }
        },
    );
}
