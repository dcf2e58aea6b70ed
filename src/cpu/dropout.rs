//! Dropout of the features of rows, in several samples: masks given, or drawn where they are needed.

use crate::cpu::philox::Philox;
use crate::cpu::simd::{Isa, Kernel, Simd};

#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    pub samples: usize,
    pub rows: usize,
    pub masks: Masks<'a>,
    /// What kept features are multiplied by: 1 / (1 - probability).
    pub factor: f32,
}

#[derive(Clone, Copy)]
pub enum Masks<'a> {
    /// [samples, rows, d], 1 = kept.
    Given(&'a [u8]),
    /// Kept where the word is at least this: see [`kept_from`].
    Drawn(Philox, u64),
}

/// The least word with word / 2^32 >= probability.
pub fn kept_from(probability: f64) -> u64 {
    (probability * 4_294_967_296.0).ceil() as u64
}

/// Words drawn at a time.
const BLOCK: usize = 1024;

impl Dropout<'_> {
    /// Masks and scales row `r` as it is in a sample. A dropped NaN stays one.
    pub fn apply(&self, isa: Isa, sample: usize, r: usize, row: &mut [f32]) {
        let first = (sample * self.rows + r) * row.len();
        match self.masks {
            Masks::Given(masks) => {
                let masks = &masks[first..first + row.len()];
                isa.dispatch(Mask { row, masks, kept: |&kept: &u8| kept != 0, factor: self.factor });
            }
            Masks::Drawn(from, least) => {
                let mut words = [0; BLOCK];
                for (block, row) in row.chunks_mut(BLOCK).enumerate() {
                    let words = &mut words[..row.len()];
                    from.words(isa, (first + block * BLOCK) as u64, words);
                    let kept = |&word: &u32| u64::from(word) >= least;
                    isa.dispatch(Mask { row, masks: words, kept, factor: self.factor });
                }
            }
        }
    }
}

/// Multiplies what is kept by a factor, the rest by 0. Plain code, compiled for each instruction set.
struct Mask<'a, T, F> {
    row: &'a mut [f32],
    masks: &'a [T],
    kept: F,
    factor: f32,
}

impl<T, F: Fn(&T) -> bool> Kernel for Mask<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (masks, n) = (self.masks, self.masks.len());
        let row = &mut self.row[..n];
        for i in 0..n {
            row[i] *= if (self.kept)(&masks[i]) { self.factor } else { 0.0 };
        }
    }
}
