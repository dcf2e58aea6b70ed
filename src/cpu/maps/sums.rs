//! The sweep for the sums of the classes.

// Arrays of the same small length are walked side by side by index.
#![allow(clippy::needless_range_loop)]

use super::block::{self, Block, vectors};
use super::{Chunks, MapLoss, Maps, Pixels, kept};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::Scratch;
use crate::registry::FloatsMut;
use std::ops::Range;

pub struct Sums<'a, L> {
    pub loss: &'a L,
    pub maps: &'a Maps<'a>,
    pub chunks: Chunks,
    /// Of chunks.
    pub range: Range<usize>,
    /// [chunks, classes, SUMS].
    pub to: Cells<'a, f64>,
    /// Where to leave the probabilities for the gradient, and whether to go around the cache.
    pub keep: Option<(FloatsMut<'a>, bool)>,
}

// The number of sums belongs to the loss's trait, so the kernel carries it.
impl<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>> Kernel
    for (Sums<'_, L>, [(); SUMS], [(); FACTORS])
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sums { loss, maps, chunks, range, to, keep } = self.0;
        // A copy that no store can change.
        let loss = &{ *loss };
        let mut block = Block::new(s, maps);
        // Where nothing is kept, it goes where it is overwritten.
        let mut nowhere = Scratch::<{ block::MOST }>::new();
        let nowhere = nowhere.ptr();
        for chunk in range {
            let (image, pixels) = maps.chunk(chunks, chunk);
            let first = chunk * maps.classes * SUMS;
            let mut start = pixels.start;
            while start < pixels.end {
                let len = block.size().min(pixels.end - start);
                block.load(image, start, len, L::LOGS);
                let whole = len.is_multiple_of(S::Wide::LANES);
                for class in 0..maps.classes {
                    let place = first + class * SUMS;
                    // Where what is kept goes, if it is.
                    let at = match &keep {
                        // SAFETY: this block of the checked buffer is written here only, after it was read.
                        Some((to, _)) => unsafe { to.at(block.index(class)) },
                        None => std::ptr::null_mut(),
                    };
                    let row = if whole && !at.is_null() { at.cast() } else { nowhere };
                    let past = keep.is_some_and(|(_, stream)| stream)
                        && row.addr().is_multiple_of(S::LANES * size_of::<f32>());
                    let target = Row { block: &mut block, class, row, past, to, place };
                    // SAFETY: as asked, and there is room.
                    let kept = unsafe {
                        if target.block.is_labelled(L::LOGS) {
                            if loss.usual() {
                                target.labelled::<SUMS, FACTORS, L, true>(loss);
                            } else {
                                target.labelled::<SUMS, FACTORS, L, false>(loss);
                            }
                            true
                        } else if target.block.is_sigmoid(L::LOGS) {
                            target.sigmoids(loss);
                            true
                        } else {
                            false
                        }
                    };
                    if kept {
                        if !whole && !at.is_null() {
                            // SAFETY: as above.
                            unsafe { at.cast::<f32>().copy_from_nonoverlapping(nowhere, len) };
                        }
                        continue;
                    }
                    let mut sums = [s.zero(); SUMS];
                    block.of_class(
                        class,
                        L::LOGS,
                        true,
                        #[inline(always)]
                        |k, _, x, exist| {
                            if S::LANES == 1 && k % SHORT == 0 {
                                add(s, std::mem::replace(&mut sums, [s.zero(); SUMS]), to, place);
                            }
                            let there;
                            let x = match exist {
                                None => x,
                                Some(exist) => {
                                    there = x.only(s, exist);
                                    &there
                                }
                            };
                            loss.add(s, &mut sums, x);
                        },
                    );
                    add(s, sums, to, place);
                }
                start += len;
            }
        }
        if let Some((_, true)) = keep {
            s.fence();
        }
    }
}

/// A class of a block, and where what is kept of it and its sums go.
struct Row<'b, 'a, S: Simd> {
    block: &'b mut Block<'a, S>,
    class: usize,
    row: *mut f32,
    past: bool,
    to: Cells<'b, f64>,
    place: usize,
}

// A store costs less than the question whether they are kept.
impl<S: Simd> Row<'_, '_, S> {
    /// # Safety
    /// The row has room for whole vectors, and the block [is so](Block::is_labelled).
    #[inline(always)]
    unsafe fn labelled<
        const SUMS: usize,
        const FACTORS: usize,
        L: MapLoss<SUMS, FACTORS>,
        const USUAL: bool,
    >(
        self,
        loss: &L,
    ) {
        let Row { block, class, row, past, to, place } = self;
        let v = block.s.wide();
        let mut sums = [v.zero(); SUMS];
        // SAFETY: as asked.
        let at = unsafe { block.labelled(v, class) };
        vectors::<S::Wide>(
            block.len,
            #[inline(always)]
            |k| {
                short::<S, SUMS>(v, k, &mut sums, to, place);
                let (p, own) = at(k);
                loss.add_labelled::<S::Wide, USUAL>(v, &mut sums, &Pixels::labelled(v, p, own), own);
                // SAFETY: as asked.
                unsafe { store(v, row.add(k), kept::pack(v, p, own), past) };
            },
        );
        add(v, sums, to, place);
    }

    /// # Safety
    /// The row has room for whole vectors, and the block [is so](Block::is_sigmoid).
    #[inline(always)]
    unsafe fn sigmoids<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(self, loss: &L) {
        let Row { block, class, row, past, to, place } = self;
        let v = block.s.wide();
        let mut sums = [v.zero(); SUMS];
        // SAFETY: as asked.
        unsafe {
            block.beside_target(
                class,
                #[inline(always)]
                |k, kept, x| {
                    short::<S, SUMS>(v, k, &mut sums, to, place);
                    loss.add(v, &mut sums, x);
                    store(v, row.add(k), kept, past);
                },
            );
        }
        add(v, sums, to, place);
    }
}

/// # Safety
/// See [`Simd`].
#[inline(always)]
unsafe fn store<S: Simd>(s: S, to: *mut f32, v: S::F, past: bool) {
    // SAFETY: as asked.
    unsafe { if past { s.stream(to, v) } else { s.store(to, v) } }
}

/// With one lane a block's sum is too long a chain for f32.
#[inline(always)]
fn short<S: Simd, const SUMS: usize>(
    v: S::Wide,
    k: usize,
    sums: &mut [<S::Wide as Simd>::F; SUMS],
    to: Cells<f64>,
    place: usize,
) {
    if S::LANES == 1 && k.is_multiple_of(SHORT) {
        add(v, std::mem::replace(sums, [v.zero(); SUMS]), to, place);
    }
}

/// Pixels of a sum in f32 with one lane.
const SHORT: usize = 32;

#[inline(always)]
fn add<S: Simd, const SUMS: usize>(s: S, sums: [S::F; SUMS], to: Cells<f64>, place: usize) {
    for j in 0..SUMS {
        to.set(place + j, to.get(place + j) + f64::from(s.reduce_add(sums[j])));
    }
}
