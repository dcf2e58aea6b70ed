//! The largest elements of a row, in descending order, the lower index first among equals. NaN counts as larger than
//! any number.

use crate::cpu::row::Row;
use crate::cpu::simd::Simd;
use crate::cpu::sort;
use crate::cpu::storage::{BLOCK, load_lanes};
use crate::registry::{Error, Result};
use std::mem::MaybeUninit;

/// Most elements of a row.
pub const MOST: u64 = u32::MAX as u64;

/// Refuses a choice of `k` of `experts` that is not possible.
pub fn check(entry: &str, k: i64, experts: u64) -> Result<()> {
    if k as u64 > experts {
        return Err(Error::option(format!(
            "{entry}: option 'k' is {k}, expected at most experts ({experts})"
        )));
    }
    if experts > MOST {
        return Err(Error::argument(format!(
            "{entry}: argument 'experts' is {experts}, expected at most {MOST}"
        )));
    }
    Ok(())
}

/// How many are found at a time: more take further sweeps over the row, for the largest below those.
pub const BATCH: usize = 1024;
/// Candidates that are kept before all but the best are dropped.
const ROOM: usize = 2 * BATCH;
/// Up to this many of a row of one block are found value by value: sweeps without branches that are hard to predict.
const FEW: usize = 16;

/// Value and index of an element; larger ones come first.
#[inline(always)]
fn pair(value: f32, index: usize) -> u64 {
    sort::pair(sort::key(value), !(index as u32) as usize)
}

/// The `k` largest of one row after another.
pub struct Largest {
    found: [MaybeUninit<u64>; ROOM],
    len: usize,
    k: usize,
    /// All k of the row at hand are in `found`.
    whole: bool,
}

impl Largest {
    pub fn new(k: usize) -> Largest {
        Largest { found: [const { MaybeUninit::uninit() }; ROOM], len: 0, k, whole: false }
    }

    /// What was found is of another row.
    pub fn next_row(&mut self) {
        self.whole = false;
    }

    /// Calls `take(j, index, value)` for the k largest, in their order. A second call for the same row is cheap
    /// unless k is large.
    #[inline(always)]
    pub fn each<S: Simd>(&mut self, s: S, row: &Row, mut take: impl FnMut(usize, usize, f32)) {
        let (mut first, mut below) = (0, u64::MAX);
        while first < self.k {
            if !self.whole {
                self.find(s, row, BATCH.min(self.k - first), below);
                self.whole = self.k <= BATCH;
            }
            let found = self.found();
            for (j, &pair) in found.iter().enumerate() {
                let (key, place) = sort::parts(pair);
                take(first + j, !(place as u32) as usize, sort::value(key));
            }
            first += found.len();
            match found.last() {
                Some(&last) => below = last,
                None => return, // the row has fewer elements
            }
        }
    }

    fn found(&mut self) -> &mut [u64] {
        // SAFETY: the first `len` have been written.
        unsafe { std::slice::from_raw_parts_mut(self.found.as_mut_ptr().cast(), self.len) }
    }

    #[inline(always)]
    fn push(&mut self, pair: u64) {
        self.found[self.len].write(pair);
        self.len += 1;
    }

    #[inline(always)]
    fn find<S: Simd>(&mut self, s: S, row: &Row, n: usize, below: u64) {
        self.len = 0;
        if n <= FEW && row.len <= BLOCK && below == u64::MAX {
            row.blocks(
                s,
                #[inline(always)]
                |_, block| self.value_by_value(s, block, n),
            );
        } else {
            self.filter(s, row, n, below);
        }
    }

    /// Pushes the places where `wanted` holds, as long as there are fewer than `n`. Of 64 elements at a time: where in
    /// a narrow row the largest is should cost no branch.
    #[inline(always)]
    fn list<S: Simd>(&mut self, s: S, block: &[f32], n: usize, wanted: impl Fn(S::F) -> S::M) {
        let mut start = 0;
        while start < block.len() {
            let end = block.len().min(start + 64);
            let (mut bits, mut k) = (0u64, start);
            while k < end {
                let lanes = S::LANES.min(end - k);
                // SAFETY: within the block.
                let z = unsafe { load_lanes(s, block.as_ptr().add(k), lanes) };
                let found = s.mask_bits(wanted(z)) & (u32::MAX >> (32 - lanes));
                bits |= u64::from(found) << (k - start);
                k += S::LANES;
            }
            while bits != 0 {
                if self.len == n {
                    return;
                }
                let at = start + bits.trailing_zeros() as usize;
                self.push(pair(block[at], at));
                bits &= bits - 1;
            }
            start += 64;
        }
    }

    /// The largest value, where it is, the next largest, and so on.
    #[inline(always)]
    fn value_by_value<S: Simd>(&mut self, s: S, block: &[f32], n: usize) {
        let low = s.splat(f32::NEG_INFINITY);
        let mut value = largest_of(
            s,
            block,
            #[inline(always)]
            |acc, z| s.max_nan(acc, z),
        );
        if value.is_nan() {
            self.list(
                s,
                block,
                n,
                #[inline(always)]
                |z| s.is_nan(z),
            );
            let high = s.splat(f32::INFINITY);
            value = largest_of(
                s,
                block,
                #[inline(always)]
                |acc, z| s.max(acc, s.select(s.le(z, high), z, low)),
            );
        }
        loop {
            let bound = s.splat(value);
            self.list(
                s,
                block,
                n,
                #[inline(always)]
                |z| s.eq(z, bound),
            );
            if self.len == n || value == f32::NEG_INFINITY {
                return;
            }
            value = largest_of(
                s,
                block,
                #[inline(always)]
                |acc, z| s.max(acc, s.select(s.lt(z, bound), z, low)),
            );
        }
    }

    /// One sweep for the `n` largest below `below`: most elements fail the comparison with the least of the best.
    #[inline(always)]
    fn filter<S: Simd>(&mut self, s: S, row: &Row, n: usize, below: u64) {
        let room = (2 * n).clamp(64, ROOM);
        let (mut least, mut threshold) = (0, s.splat(f32::NEG_INFINITY));
        for start in (0..row.len).step_by(BLOCK) {
            let values = row.f32_block(s, start);
            // SAFETY: in place, or in the scratch.
            let block = unsafe { std::slice::from_raw_parts(values.floats(), values.len()) };
            let mut k = 0;
            while k < block.len() {
                if k + 4 * S::LANES <= block.len() {
                    values.group_ahead::<S>(k);
                    // SAFETY: within the block.
                    if unsafe { all_below(s, &block[k..], threshold) } {
                        k += 4 * S::LANES;
                        continue;
                    }
                }
                let lanes = S::LANES.min(block.len() - k);
                // SAFETY: within the block.
                let z = unsafe { load_lanes(s, block.as_ptr().add(k), lanes) };
                // A NaN passes, and so does everything where the least is one.
                let mut bits = s.mask_bits(s.not(s.lt(z, threshold))) & (u32::MAX >> (32 - lanes));
                while bits != 0 {
                    let at = k + bits.trailing_zeros() as usize;
                    let pair = pair(block[at], start + at);
                    if least < pair && pair < below {
                        self.push(pair);
                        if self.len == room {
                            least = self.keep(n);
                            threshold = s.splat(sort::value(sort::parts(least).0));
                        }
                    }
                    bits &= bits - 1;
                }
                k += S::LANES;
            }
        }
        if self.len > n {
            self.keep(n);
        }
        self.found().sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Drops all but the `n` largest, of which there are more, and returns the least of those.
    fn keep(&mut self, n: usize) -> u64 {
        let (_, least, _) = self.found().select_nth_unstable_by(n - 1, |a, b| b.cmp(a));
        let least = *least;
        self.len = n;
        least
    }
}

/// Whether four vectors are less than `threshold`.
///
/// # Safety
/// The block has as many values.
#[inline(always)]
unsafe fn all_below<S: Simd>(s: S, block: &[f32], threshold: S::F) -> bool {
    let below = |v: usize| s.lt(unsafe { s.load(block.as_ptr().add(v * S::LANES)) }, threshold);
    let all = s.and(s.and(below(0), below(1)), s.and(below(2), below(3)));
    !s.any(s.not(all))
}

/// Folds a block from -infinity on, and takes the largest lane.
#[inline(always)]
fn largest_of<S: Simd>(s: S, block: &[f32], step: impl Fn(S::F, S::F) -> S::F) -> f32 {
    let (mut acc, mut k) = (s.splat(f32::NEG_INFINITY), 0);
    while k < block.len() {
        let lanes = S::LANES.min(block.len() - k);
        // SAFETY: both within the block.
        let z = match lanes == S::LANES {
            true => unsafe { s.load(block.as_ptr().add(k)) },
            false => unsafe { s.load_partial(block.as_ptr().add(k), lanes, f32::NEG_INFINITY) },
        };
        acc = step(acc, z);
        k += S::LANES;
    }
    s.reduce_max(acc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{Isa, Kernel};
    use crate::cpu::storage::Scratch;

    struct Find<'a>(&'a [f32], usize);

    impl Kernel for Find<'_> {
        type Output = Vec<usize>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<usize> {
            let mut scratch = Scratch::<BLOCK>::new();
            let row = unsafe { Row::of_floats(self.0.as_ptr(), self.0.len(), scratch.ptr()) };
            let (mut largest, mut all) = (Largest::new(self.1), Vec::new());
            for _ in 0..2 {
                all.clear();
                largest.each(
                    s,
                    &row,
                    #[inline(always)]
                    |j, index, value| {
                        assert_eq!(j, all.len());
                        assert!(value == self.0[index] || value.is_nan() && self.0[index].is_nan());
                        all.push(index);
                    },
                );
            }
            all
        }
    }

    #[test]
    fn equals_a_stable_sort() {
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0];
        for n in [1, 2, 5, 16, 17, 63, 300, 1024, 1025, 5000] {
            for kind in 0..4 {
                let values: Vec<f32> = (0..n)
                    .map(|i| match (kind, (i * 7919 + 13) % 1009) {
                        (0, m) => m as f32 - 500.0,
                        (1, m) => (m % 3) as f32,
                        (2, m) => special[m % special.len()],
                        _ => f32::NEG_INFINITY,
                    })
                    .collect();
                let mut expected: Vec<usize> = (0..n).collect();
                expected.sort_by_key(|&i| std::cmp::Reverse(sort::key(values[i])));
                for k in [1, 2, 7, 16, 17, 100, 1024, 1025, 3000, n].into_iter().filter(|&k| k <= n) {
                    for isa in Isa::available() {
                        assert_eq!(isa.dispatch(Find(&values, k)), expected[..k], "{n} {kind} {k}");
                    }
                }
            }
        }
    }
}
