//! Dropout of the features of rows, in several samples: masks given, or drawn where they are needed.

use crate::cpu::philox::Philox;
use crate::cpu::simd::Isa;

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
                for (x, &kept) in row.iter_mut().zip(&masks[first..]) {
                    *x *= if kept != 0 { self.factor } else { 0.0 };
                }
            }
            Masks::Drawn(from, least) => {
                let mut words = [0; BLOCK];
                for (block, row) in row.chunks_mut(BLOCK).enumerate() {
                    let words = &mut words[..row.len()];
                    from.words(isa, (first + block * BLOCK) as u64, words);
                    for (x, &word) in row.iter_mut().zip(&*words) {
                        *x *= if u64::from(word) >= least { self.factor } else { 0.0 };
                    }
                }
            }
        }
    }
}
