//! The sweep for the gradient.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use super::block::{self, Block, RUN};
use super::{Activation, Chunks, MapLoss, Maps, kept};
use crate::cpu::simd::{Kernel, Simd, batch};
use crate::cpu::storage::{Scratch, store_typed};
use crate::registry::{DType, FloatsMut};
use std::ops::Range;

pub struct Gradient<'a, L> {
    pub loss: &'a L,
    pub maps: &'a Maps<'a>,
    pub chunks: Chunks,
    pub range: Range<usize>,
    pub factors: &'a [f32],
    pub to: FloatsMut<'a>,
    /// Whether to go around the cache.
    pub stream: bool,
    /// Whether the probabilities have been left in the gradient's place.
    pub kept: bool,
}

impl<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>> Kernel
    for (Gradient<'_, L>, [(); SUMS], [(); FACTORS])
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { loss, maps, chunks, range, factors, to, stream, kept } = self.0;
        // A copy that no store can change.
        let loss = &{ *loss };
        let mut block = Block::new(s, maps);
        let mut scratch = [const { Scratch::<{ block::MOST }>::new() }; 3];
        let [mean, part, out] = scratch.each_mut().map(Scratch::ptr);
        let (size, softmax) = (block.size(), maps.activation == Activation::Softmax);
        for chunk in range {
            let (image, pixels) = maps.chunk(chunks, chunk);
            let first = image * maps.classes * FACTORS;
            let mut start = pixels.start;
            while start < pixels.end {
                let len = size.min(pixels.end - start);
                if kept {
                    block.place(image, start, len);
                } else {
                    block.load(image, start, len, L::LOGS);
                }
                // SAFETY: this block of the checked buffer is written here only, after it was read.
                let place =
                    |class: usize| unsafe { to.at((image * maps.classes + class) * maps.pixels + start) };
                if block.is_labelled(L::LOGS) {
                    let again = if kept { 0 } else { maps.classes };
                    for class in 0..again {
                        // SAFETY: within the block.
                        unsafe { block.pack(class) };
                    }
                    let terms = block.terms;
                    let row = |class: usize| {
                        if kept { place(class).cast() } else { terms.wrapping_add(class * size) }
                    };
                    // SAFETY: within the buffer and the scratch.
                    unsafe {
                        let rows = kept::Rows { row, classes: maps.classes, len, ahead: size };
                        kept::gradient(s, loss, &factors[first..], rows, [mean, part]);
                        for class in 0..again {
                            batch::narrowed(s, to.dtype, row(class), place(class), len, stream);
                        }
                    }
                    start += len;
                    continue;
                }
                if block.is_sigmoid(L::LOGS) {
                    for class in 0..maps.classes {
                        let v = s.wide();
                        let factors = spread::<S::Wide, FACTORS>(v, &factors[first + class * FACTORS..]);
                        let direct = kept && len.is_multiple_of(S::Wide::LANES);
                        let row = if direct { place(class).cast() } else { out };
                        // SAFETY: within the buffer and the scratch.
                        unsafe {
                            if !kept {
                                block.sigmoids(
                                    class,
                                    #[inline(always)]
                                    |k, kept| v.store(out.add(k), kept),
                                );
                            } else if !direct {
                                out.copy_from_nonoverlapping(place(class).cast(), len);
                            }
                            block.sigmoid_gradient::<SUMS, FACTORS, L>(loss, class, &factors, row);
                            if !direct {
                                batch::narrowed(s, to.dtype, row, place(class), len, stream);
                            }
                        }
                    }
                    start += len;
                    continue;
                }
                if softmax {
                    // Sum over the classes of p dp.
                    for class in 0..maps.classes {
                        let factors = spread::<S, FACTORS>(s, &factors[first + class * FACTORS..]);
                        block.of_class(
                            class,
                            L::LOGS,
                            false,
                            #[inline(always)]
                            // SAFETY: within the scratch, whole vectors.
                            |k, _, x, _| unsafe {
                                let slope = loss.slope(s, &factors, x);
                                part_of_mean(s, class, maps.classes, [mean.add(k), part.add(k)], x.p, slope);
                            },
                        );
                    }
                }
                for class in 0..maps.classes {
                    let factors = spread::<S, FACTORS>(s, &factors[first + class * FACTORS..]);
                    let place = place(class);
                    let direct = to.dtype == DType::F32 && len.is_multiple_of(S::LANES);
                    let target = if direct { place.cast::<f32>() } else { out };
                    let past = direct && stream && place.addr().is_multiple_of(S::LANES * size_of::<f32>());
                    block.of_class(
                        class,
                        L::LOGS,
                        false,
                        #[inline(always)]
                        // SAFETY: within the block.
                        |k, _, x, exist| unsafe {
                            let slope = loss.slope(s, &factors, x);
                            let g = match maps.activation {
                                Activation::Softmax => s.mul(x.p, s.sub(slope, s.load(mean.add(k)))),
                                Activation::Sigmoid => s.mul(s.mul(x.p, x.q), slope),
                                Activation::None => slope,
                            };
                            let g = match exist {
                                None => g,
                                Some(exist) => s.select(exist, g, s.zero()),
                            };
                            store_typed(s, DType::F32, target.add(k).cast(), S::LANES, g, past);
                        },
                    );
                    if !direct {
                        // SAFETY: as above.
                        unsafe { batch::narrowed(s, to.dtype, target, place, len, stream) };
                    }
                }
                start += len;
            }
        }
        if stream {
            s.fence();
        }
    }
}

/// Adds a class to the mean of the slopes, the classes in their order; a long sum in f32 would lose digits.
///
/// # Safety
/// There are vectors at both places.
#[inline(always)]
pub unsafe fn part_of_mean<S: Simd>(
    s: S,
    class: usize,
    classes: usize,
    [mean, part]: [*mut f32; 2],
    p: S::F,
    slope: S::F,
) {
    unsafe {
        let before = if class.is_multiple_of(RUN) { s.zero() } else { s.load(part) };
        let mut sum = s.mul_add(p, slope, before);
        if class + 1 == classes || (class + 1).is_multiple_of(RUN) {
            if class >= RUN {
                sum = s.add(s.load(mean), sum);
            }
            s.store(mean, sum);
        } else {
            s.store(part, sum);
        }
    }
}

#[inline(always)]
pub fn spread<S: Simd, const N: usize>(s: S, values: &[f32]) -> [S::F; N] {
    let mut all = [s.zero(); N];
    for j in 0..N {
        all[j] = s.splat(values[j]);
    }
    all
}
