//! Stable sort of f32 numbers, by integers in their order, together with their places.

use crate::cpu::Cpu;
use crate::cpu::parallel::Cells;
use crate::registry::{Error, Result};

/// Most numbers of one sort.
pub const MOST: u64 = u32::MAX as u64;

/// Refuses to sort more than [`MOST`]; `when` says what it is done for, if not always.
pub fn check(entry: &str, n: u64, when: &str) -> Result<()> {
    if n <= MOST {
        return Ok(());
    }
    Err(Error::argument(format!("{entry}: argument 'n' is {n}, expected at most {MOST}{when}")))
}

/// Integers in the order of the values; the two zeros are one, NaN comes last.
#[inline(always)]
pub fn key(value: f32) -> u32 {
    if value.is_nan() {
        return u32::MAX - 1;
    }
    let bits = (value + 0.0).to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

/// The value of a key.
pub fn value(key: u32) -> f32 {
    f32::from_bits(key ^ (((!key as i32 >> 31) as u32) | 1 << 31))
}

#[inline(always)]
pub fn pair(key: u32, place: usize) -> u64 {
    u64::from(key) << 32 | place as u64
}

/// Key and place of a pair.
#[inline(always)]
pub fn parts(pair: u64) -> (u32, usize) {
    ((pair >> 32) as u32, pair as u32 as usize)
}

/// What is sorted: keys, with whatever stands in the bits below them.
pub trait Item: Copy + Send + Sync {
    const BITS: u32;
    fn digit(self, shift: u32, radix: usize) -> usize;
}

macro_rules! item {
    ($t:ty) => {
        impl Item for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn digit(self, shift: u32, radix: usize) -> usize {
                (self >> shift) as usize & (radix - 1)
            }
        }
    };
}
item!(u32);
item!(u64);

/// Parts that are gone through at the same time, as a count waits for the one before if the digits are the same.
const STREAMS: usize = 4;
const MOST_BITS: u32 = 11;
type Counts = [u32; 1 << MOST_BITS];
/// Goes through parts of the items, each with counts of its own.
type Task<'a, T> = dyn Fn([&[T]; STREAMS], &mut [Counts; STREAMS]) + Sync + 'a;

/// By the bits from `shift` on, those equal in them as they came: counting sorts by some of these bits each, from one
/// array to the other. The result is in one of the two.
pub fn sort<'a, T: Item>(
    cpu: Option<&Cpu>,
    items: &'a mut [T],
    room: &'a mut [T],
    shift: u32,
) -> &'a mut [T] {
    // Few items are not worth many counts.
    let bits = if items.len() < 1 << 12 { 8 } else { MOST_BITS };
    let (mut few, mut many);
    let counts: &mut [Counts] = if items.len() < 1 << 16 {
        few = [[0; 1 << MOST_BITS]; STREAMS];
        &mut few
    } else {
        many = [[0; 1 << MOST_BITS]; 2 * STREAMS];
        &mut many
    };
    let (mut from, mut to) = (items, &mut room[..]);
    for shift in (shift..T::BITS).step_by(bits as usize) {
        if pass(cpu, from, to, shift, 1 << bits.min(T::BITS - shift), counts) {
            (from, to) = (to, from);
        }
    }
    from
}

/// One counting sort; false if all have the same digit and nothing has been done.
fn pass<T: Item>(
    cpu: Option<&Cpu>,
    from: &[T],
    to: &mut [T],
    shift: u32,
    radix: usize,
    counts: &mut [Counts],
) -> bool {
    let (n, parts) = (from.len(), counts.len());
    let each = n / parts;
    let places = Cells::new(to);
    let cells = Cells::new(counts);
    let tasks = |task: &Task<T>| {
        let run = |i: usize| {
            let streams = std::array::from_fn(|k| {
                let part = i * STREAMS + k;
                &from[part * each..if part + 1 < parts { (part + 1) * each } else { n }]
            });
            // SAFETY: one task alone has these counts, which are as many.
            task(streams, unsafe { &mut *cells.at(i * STREAMS).cast() });
        };
        match cpu {
            Some(cpu) => cpu.run(parts / STREAMS, 2 * size_of_val(from), &run),
            None => (0..parts / STREAMS).for_each(run),
        }
    };
    tasks(&|streams, counts| {
        counts.iter_mut().for_each(|c| c[..radix].fill(0));
        side_by_side(streams, each, |k, item| counts[k][item.digit(shift, radix)] += 1);
    });
    let mut start = 0;
    for digit in 0..radix {
        let before = start;
        for part in 0..parts {
            // SAFETY: no task is running.
            let count = unsafe { &mut (&mut *cells.at(part))[digit] };
            (*count, start) = (start, start + *count);
        }
        if (start - before) as usize == n {
            return false;
        }
    }
    tasks(&|streams, counts| {
        side_by_side(streams, each, |k, item| {
            let next = &mut counts[k][item.digit(shift, radix)];
            places.set(*next as usize, item);
            *next += 1;
        });
    });
    true
}

/// The items of all streams, each in its order; only the last may have more than `each`.
#[inline(always)]
fn side_by_side<T: Item>(streams: [&[T]; STREAMS], each: usize, mut take: impl FnMut(usize, T)) {
    let equal = streams.map(|stream| &stream[..each]);
    for i in 0..each {
        for (k, stream) in equal.iter().enumerate() {
            take(k, stream[i]);
        }
    }
    for &item in &streams[STREAMS - 1][each..] {
        take(STREAMS - 1, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_by_value_then_place() {
        let values = [1.5, -0.0, f32::NAN, 0.0, -3.0, f32::INFINITY, 1.5, f32::NEG_INFINITY, 1e-40, -3.0];
        let mut pairs: Vec<u64> = values.iter().enumerate().map(|(i, &v)| pair(key(v), i)).collect();
        let mut room = vec![0; pairs.len()];
        let places: Vec<usize> = sort(None, &mut pairs, &mut room, 32).iter().map(|&p| parts(p).1).collect();
        assert_eq!(places, [7, 4, 9, 1, 3, 8, 0, 6, 5, 2]);
        for v in [1.5, -3.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1e-40] {
            assert_eq!(value(key(v)), v);
        }
    }

    #[test]
    fn keeps_the_order_of_equals_for_any_number_of_threads() {
        for n in [0, 1, 3, 9, 5000, 70_001, 200_003] {
            let pairs: Vec<u64> = (0..n).map(|i| pair(((i * 7919) as u32 % 100) << 20, i)).collect();
            let mut expected = pairs.clone();
            expected.sort_unstable();
            for threads in [1, 2, 3] {
                let cpu = Cpu::new(threads);
                assert_eq!(sort(Some(&cpu), &mut pairs.clone(), &mut vec![0; n], 32), expected);
            }
        }
    }

    #[test]
    fn leaves_the_bits_below_alone() {
        let items: Vec<u32> = (0..9001u32).map(|i| i.wrapping_mul(2_654_435_769)).collect();
        let mut expected = items.clone();
        expected.sort_by_key(|&item| item >> 1);
        assert_eq!(sort(None, &mut items.clone(), &mut vec![0; items.len()], 1), expected);
    }
}
