//! A column that is being reduced: a set of keys that finds its largest fast, as a tree of bits.

use super::arena::{Arena, bytes};

const LEVELS: usize = 6;

pub struct Tree<'a> {
    /// A bit of a level tells whether the word below has any; level 0 has the keys, the last is one word.
    levels: [&'a mut [u64]; LEVELS],
    top: usize,
}

fn words(keys: usize) -> usize {
    keys.div_ceil(64).max(1)
}

impl<'a> Tree<'a> {
    pub fn bytes(keys: usize) -> usize {
        let (mut length, mut total) = (keys, 0);
        for _ in 0..LEVELS {
            length = words(length);
            total += bytes::<u64>(length);
        }
        total
    }

    /// Empty, for keys below `keys`, fewer than 2^36.
    pub fn new(keys: usize, room: &mut Arena<'a>) -> Tree<'a> {
        let (mut length, mut top) = (keys, 0);
        let levels = std::array::from_fn(|level| {
            if length > 64 {
                top = level + 1;
            }
            length = words(length);
            room.take(length, 0u64)
        });
        Tree { levels, top: top.min(LEVELS - 1) }
    }

    /// Adds the key, or takes it away if it is there: addition over Z/2.
    pub fn flip(&mut self, key: u32) {
        let mut at = key as usize;
        let word = &mut self.levels[0][at / 64];
        let before = *word;
        *word ^= 1 << (at % 64);
        let after = *word;
        at /= 64;
        if before == 0 {
            for level in self.levels[1..=self.top].iter_mut() {
                let word = &mut level[at / 64];
                let old = *word;
                *word |= 1 << (at % 64);
                if old != 0 {
                    return;
                }
                at /= 64;
            }
        } else if after == 0 {
            for level in self.levels[1..=self.top].iter_mut() {
                let word = &mut level[at / 64];
                *word &= !(1 << (at % 64));
                if *word != 0 {
                    return;
                }
                at /= 64;
            }
        }
    }

    pub fn largest(&self) -> Option<u32> {
        let mut at = 0;
        for level in self.levels[..=self.top].iter().rev() {
            let word: u64 = level[at];
            if word == 0 {
                return None;
            }
            at = at * 64 + 63 - word.leading_zeros() as usize;
        }
        Some(at as u32)
    }
}
