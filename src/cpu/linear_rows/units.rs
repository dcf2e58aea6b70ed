//! What happens to the part of a tile that one thread has in cache.

use super::products::Logits;
use super::tiling::Tile;
use super::{BIAS_UNIT, LinearRows, UNIT};
use crate::cpu::cross_entropy::{CrossEntropy, Stats};
use crate::cpu::row::{Row, RowOut};
use crate::cpu::rows::{self, RowLoss};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, load_vector};
use crate::cpu::workspace::Places;
use std::ops::Range;

pub struct LossOf<'a> {
    pub loss: &'a CrossEntropy<'a>,
    pub stats: Stats,
    pub label: usize,
}

impl Kernel for LossOf<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let state = self.loss.state_of(s, self.stats);
        self.loss.loss(s, &state, self.label)
    }
}

/// What happens to a unit's logits, row by row.
pub struct UnitRows<'a, 'b, F> {
    pub all: &'b LinearRows<'a>,
    pub tile: &'b Tile,
    /// The unit's rows and classes within the tile.
    pub i: Range<usize>,
    pub k: Range<usize>,
    pub logits: Logits,
    pub scale: Option<&'b F>,
    pub slot: usize,
}

impl<F: Fn(usize) -> f32> Kernel for UnitRows<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let UnitRows { all, tile, i, k, logits, scale, slot } = self;
        let (loss, n) = (all.p.loss, k.len());
        let (first, first_class) = (tile.rows.start, tile.classes.start + k.start);
        let mut bias = storage::Scratch::<UNIT>::new();
        // Kept logits have it.
        let biases = all.p.bias.filter(|_| logits == Logits::Missing);
        if let Some(from) = biases {
            for at in (0..n).step_by(S::LANES) {
                // SAFETY: one bias per class; the scratch is of whole vectors.
                unsafe { s.store(bias.ptr().add(at), load_vector(s, from, first_class + at)) };
            }
        }
        let bias = biases.map(|_| bias.ptr().cast_const());
        let mut scratch = storage::Scratch::<UNIT>::new();
        for i in i {
            let logits = all.tile.at(i * tile.stride + k.start);
            if let Some(bias) = bias {
                // SAFETY: n logits and biases.
                unsafe {
                    rows::map_into(
                        s,
                        logits,
                        logits,
                        n,
                        #[inline(always)]
                        |z, at| s.add(z, s.load(bias.add(at))),
                    );
                }
            }
            // SAFETY: n logits that this unit alone reads and writes.
            let row = unsafe { Row::of_floats(logits, n, scratch.ptr()) };
            let label = all.label(first + i);
            match scale {
                None => {
                    let place = i * tile.slots + slot;
                    let part = loss.part(s, &row, first_class, label);
                    // SAFETY: written when the forward pass began.
                    all.parts.set(place, loss.merge(unsafe { all.parts.get(place) }, part));
                }
                Some(scale) => {
                    // SAFETY: known before any gradient.
                    let state = loss.state_of(s, unsafe { all.stats.get(first + i) });
                    // SAFETY: as the row.
                    let out = unsafe { RowOut::of_floats(logits) };
                    loss.part_gradient(s, &state, &row, first_class, label, scale(first + i), &out);
                }
            }
        }
    }
}

/// Adds the sums of some columns of a tile.
pub struct ColumnSums<'a> {
    pub g: *const f32,
    pub rows: usize,
    pub stride: usize,
    pub k: Range<usize>,
    pub sums: Places<'a, f64>,
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = [0f64; BIAS_UNIT];
        let mut partial = [0f32; BIAS_UNIT];
        // Few enough rows at a time for f32.
        const TOGETHER: usize = 16;
        for first in (0..self.rows).step_by(TOGETHER) {
            partial.fill(0.0);
            for i in first..self.rows.min(first + TOGETHER) {
                for at in (0..self.k.len()).step_by(S::LANES) {
                    let lanes = S::LANES.min(self.k.len() - at);
                    // SAFETY: within the tile, and within the array.
                    unsafe {
                        let g =
                            storage::load_lanes(s, self.g.add(i * self.stride + self.k.start + at), lanes);
                        let sum = partial.as_mut_ptr().add(at);
                        s.store(sum, s.add(s.load(sum), g));
                    }
                }
            }
            sums.iter_mut().zip(&partial).for_each(|(sum, &g)| *sum += f64::from(g));
        }
        for (k, sum) in self.k.zip(sums) {
            // SAFETY: cleared when the class tile began; this block's place.
            self.sums.set(k, unsafe { self.sums.get(k) } + sum);
        }
    }
}
