//! The k first of n floats in some order without sorting them: keys are counted by their highest digit, those that
//! share the digit of the k-th by the next one and so on. Linear in n, with memory that does not depend on it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::sort;
use crate::cpu::storage::{self, BLOCK, Scratch};
use crate::registry::{DType, Floats};

/// Shift and bits of the digits of a key, the highest first. (kernels/skeletons/select.cuh has the same.)
const DIGITS: [(u32, u32); 3] = [(21, 11), (10, 11), (0, 10)];
const VALUES: usize = 1 << 11;
/// Tables of counts that neighbours go to in turns: the next need not wait for the last.
const WAYS: usize = 4;
/// Elements that their 32 bits have room for; whole blocks.
const MOST: usize = 1 << 30;

/// Which floats come first. Equal ones are taken in the order given.
#[derive(Clone, Copy, PartialEq)]
pub enum Order {
    /// The smallest; NaN comes last.
    Smallest,
    /// The largest by magnitude; NaN comes first.
    LargestMagnitude,
}

/// Magnitude of every NaN: greater than infinity, and alone with its highest digit.
const NAN: u32 = 0x7ff0_0000;

impl Order {
    #[inline(always)]
    fn key(self, value: f32) -> u32 {
        match self {
            Order::Smallest => sort::key(value),
            Order::LargestMagnitude => {
                let magnitude = value.to_bits() & 0x7fff_ffff;
                !(if magnitude > 0x7f80_0000 { NAN } else { magnitude } << 1)
            }
        }
    }

    /// Highest digit of NaN.
    fn nan(self) -> usize {
        if self == Order::Smallest { VALUES - 1 } else { 0 }
    }
}

/// What keys of halves have in their lowest digit, which would tell nothing else.
const HALF: u32 = 0x3ff;

/// A dense buffer in an order.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    values: Floats<'a>,
    order: Order,
    blocks: Blocks,
}

/// The key of the last element taken: all smaller ones are, and `wanted` of the `ties` that have it.
#[derive(Clone, Copy)]
pub struct Rank {
    pub key: u32,
    wanted: u64,
    ties: u64,
    pub has_nan: bool,
}

impl Rank {
    /// The magnitude it stands for.
    pub fn magnitude(&self) -> f32 {
        f32::from_bits(!self.key >> 1)
    }
}

/// Taken are the elements of smaller keys, and those of this one that stand before `end`.
#[derive(Clone, Copy)]
pub struct Cut {
    key: u32,
    end: usize,
}

impl Cut {
    pub const NOTHING: Cut = Cut { key: 0, end: 0 };
    pub const EVERYTHING: Cut = Cut { key: u32::MAX, end: usize::MAX };
}

impl<'a> Keys<'a> {
    pub fn new(values: Floats<'a>, order: Order) -> Keys<'a> {
        Keys { values, order, blocks: Blocks::new(values.len, 16 * BLOCK, BLOCK) }
    }

    fn bytes(&self) -> usize {
        self.values.len * self.values.dtype.size()
    }

    /// Finds the `k`-th element, 1 <= k <= n.
    pub fn rank(&self, cpu: &Cpu, k: u64) -> Rank {
        let counts = [const { AtomicU64::new(0) }; VALUES];
        let mut rank = Rank { key: 0, wanted: k, ties: 0, has_nan: false };
        let digits = if self.values.dtype == DType::F32 { 3 } else { 2 };
        for digit in 0..digits {
            counts.iter().for_each(|c| c.store(0, Ordering::Relaxed));
            cpu.run(self.blocks.count, self.bytes(), &|block| {
                let all = self.blocks.range(block);
                for start in all.clone().step_by(MOST) {
                    let mut mine = [[0; VALUES]; WAYS];
                    let range = start..all.end.min(start + MOST);
                    cpu.isa.dispatch(Count { keys: self, range, digit, above: rank.key, counts: &mut mine });
                    for (value, to) in counts.iter().enumerate() {
                        let sum = mine.iter().map(|counts| counts[value]).sum::<u32>();
                        if sum > 0 {
                            to.fetch_add(sum.into(), Ordering::Relaxed);
                        }
                    }
                }
            });
            let count = |value: usize| counts[value].load(Ordering::Relaxed);
            rank.has_nan |= digit == 0 && count(self.order.nan()) > 0;
            let mut value = 0;
            while value < VALUES - 1 && rank.wanted > count(value) {
                rank.wanted -= count(value);
                value += 1;
            }
            rank.ties = count(value);
            rank.key |= (value as u32) << DIGITS[digit].0;
        }
        if digits == 2 {
            rank.key |= HALF;
        }
        rank
    }

    /// Where to stop among those of the same key.
    pub fn cut(&self, cpu: &Cpu, rank: &Rank) -> Cut {
        let key = rank.key;
        if rank.wanted == rank.ties {
            return Cut { key, end: usize::MAX };
        }
        let mut counts = [0; MAX_BLOCKS];
        let places = Cells::new(&mut counts);
        cpu.run(self.blocks.count, self.bytes(), &|block| {
            let ties = Ties { keys: self, range: self.blocks.range(block), key, wanted: u64::MAX };
            places.set(block, cpu.isa.dispatch(ties).0);
        });
        let (mut block, mut wanted) = (0, rank.wanted);
        while block + 1 < self.blocks.count && wanted > counts[block] {
            wanted -= counts[block];
            block += 1;
        }
        let (_, end) = cpu.isa.dispatch(Ties { keys: self, range: self.blocks.range(block), key, wanted });
        Cut { key, end }
    }

    /// Writes 1 for the elements from `start` on that are taken and 0 for the others; no more than [`BLOCK`].
    #[inline(always)]
    pub fn mask<S: Simd>(&self, s: S, cut: &Cut, start: usize, mask: &mut [u8]) {
        let mut keys = [0; BLOCK];
        let keys = &mut keys[..mask.len()];
        self.fill(s, start, keys);
        let before = cut.end.saturating_sub(start).min(BLOCK) as u32;
        for (i, (out, &key)) in mask.iter_mut().zip(keys.iter()).enumerate() {
            *out = u8::from(key < cut.key) | (u8::from(key == cut.key) & u8::from((i as u32) < before));
        }
    }

    /// Keys of the elements from `start` on, no more than [`BLOCK`].
    #[inline(always)]
    fn fill<S: Simd>(&self, s: S, start: usize, keys: &mut [u32]) {
        let (mut scratch, n) = (Scratch::<BLOCK>::new(), keys.len());
        assert!(n <= BLOCK && start + n <= self.values.len);
        let low = if self.values.dtype == DType::F32 { 0 } else { HALF };
        // SAFETY: within the buffer, and a block.
        let values = unsafe {
            let from = storage::read(s, self.values.dtype, self.values.at(start), n, scratch.ptr());
            std::slice::from_raw_parts(from, n)
        };
        for (key, &value) in keys.iter_mut().zip(values) {
            *key = self.order.key(value) | low;
        }
    }
}

/// Counts the values of a digit where those above it are those of `above`.
struct Count<'a> {
    keys: &'a Keys<'a>,
    range: std::ops::Range<usize>,
    digit: usize,
    above: u32,
    counts: &'a mut [[u32; VALUES]; WAYS],
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (shift, bits) = DIGITS[self.digit];
        let value = |key: u32| (key >> shift) as usize & ((1 << bits) - 1);
        let (mut keys, mut found) = ([0; BLOCK], [0; BLOCK + 1]);
        let mut start = self.range.start;
        while start < self.range.end {
            let keys = &mut keys[..BLOCK.min(self.range.end - start)];
            self.keys.fill(s, start, keys);
            start += keys.len();
            if self.digit == 0 {
                let (some, rest) = keys.as_chunks::<WAYS>();
                for some in some {
                    for way in 0..WAYS {
                        self.counts[way][(some[way] >> DIGITS[0].0) as usize] += 1;
                    }
                }
                for &key in rest {
                    self.counts[0][(key >> DIGITS[0].0) as usize] += 1;
                }
                continue;
            }
            // Of the first digit's values one is left, then next to nothing.
            let mask = !0 << (shift + bits);
            let mut left = 0;
            for few in keys.chunks(32) {
                let mut any = false;
                for &key in few {
                    any |= key & mask == self.above;
                }
                if any {
                    for &key in few {
                        found[left] = key;
                        left += usize::from(key & mask == self.above);
                    }
                }
            }
            for &key in &found[..left] {
                self.counts[0][value(key)] += 1;
            }
        }
    }
}

/// How many elements have a key, and where the `wanted`-th one ends.
struct Ties<'a> {
    keys: &'a Keys<'a>,
    range: std::ops::Range<usize>,
    key: u32,
    wanted: u64,
}

impl Kernel for Ties<'_> {
    type Output = (u64, usize);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (u64, usize) {
        let mut keys = [0; BLOCK];
        let (mut start, mut count) = (self.range.start, 0);
        while start < self.range.end {
            let keys = &mut keys[..BLOCK.min(self.range.end - start)];
            self.keys.fill(s, start, keys);
            let mut ties = 0;
            for &key in keys.iter() {
                ties += u32::from(key == self.key);
            }
            if count + u64::from(ties) < self.wanted {
                count += u64::from(ties);
                start += keys.len();
                continue;
            }
            for (i, &key) in keys.iter().enumerate() {
                count += u64::from(key == self.key);
                if count == self.wanted {
                    return (count, start + i + 1);
                }
            }
        }
        (count, self.range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::floats_of;

    #[test]
    fn takes_as_many_as_a_stable_sort() {
        let values: Vec<f32> = (0..50_000u32)
            .map(|i| match i.wrapping_mul(2_654_435_761) >> 16 {
                w if w % 97 == 0 => f32::NAN,
                w if w % 89 == 0 => f32::NEG_INFINITY,
                w => (w % 1000) as f32 * 1e-3 - 0.5,
            })
            .collect();
        for order in [Order::Smallest, Order::LargestMagnitude] {
            let mut sorted: Vec<usize> = (0..values.len()).collect();
            sorted.sort_by_key(|&i| order.key(values[i]));
            let keys = Keys::new(floats_of(&values), order);
            for (threads, k) in [(1, 1), (2, 1000), (3, 25_000), (2, 49_999), (1, 50_000)] {
                let cpu = Cpu::new(threads);
                let rank = keys.rank(&cpu, k as u64);
                assert!(rank.has_nan);
                let cut = keys.cut(&cpu, &rank);
                let mut expected = vec![0; values.len()];
                sorted[..k].iter().for_each(|&i| expected[i] = 1);
                for (block, expected) in expected.chunks(BLOCK).enumerate() {
                    let mut mask = vec![2; expected.len()];
                    keys.mask(crate::cpu::simd::Scalar, &cut, block * BLOCK, &mut mask);
                    assert_eq!(mask, expected);
                }
            }
        }
    }
}
