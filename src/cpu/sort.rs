//! Stable sort of f32 numbers together with their places.

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

const DIGITS: [(u32, usize); 3] = [(32, 11), (43, 11), (54, 10)];

fn digit(pair: u64, (shift, bits): (u32, usize)) -> usize {
    (pair >> shift) as usize & ((1 << bits) - 1)
}

/// Pairs by key, those of equal keys as they came: three counting sorts by some of its digits each, from one array
/// to the other. The result is in one of the two.
pub fn sort<'a>(pairs: &'a mut [u64], room: &'a mut [u64]) -> &'a mut [u64] {
    let n = pairs.len();
    let mut counts = [[0u32; 1 << 11]; DIGITS.len()];
    for &pair in pairs.iter() {
        for (count, place) in counts.iter_mut().zip(DIGITS) {
            count[digit(pair, place)] += 1;
        }
    }
    let (mut from, mut to) = (pairs, &mut room[..n]);
    for (count, place) in counts.iter_mut().zip(DIGITS) {
        if n == 0 || count[digit(from[0], place)] as usize == n {
            continue;
        }
        let mut start = 0;
        for c in count.iter_mut() {
            (*c, start) = (start, start + *c);
        }
        for &pair in from.iter() {
            let next = &mut count[digit(pair, place)];
            to[*next as usize] = pair;
            *next += 1;
        }
        (from, to) = (to, from);
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_by_value_then_place() {
        let values = [1.5, -0.0, f32::NAN, 0.0, -3.0, f32::INFINITY, 1.5, f32::NEG_INFINITY, 1e-40, -3.0];
        let mut pairs: Vec<u64> = values.iter().enumerate().map(|(i, &v)| pair(key(v), i)).collect();
        let mut room = vec![0; pairs.len()];
        let places: Vec<usize> = sort(&mut pairs, &mut room).iter().map(|&p| parts(p).1).collect();
        assert_eq!(places, [7, 4, 9, 1, 3, 8, 0, 6, 5, 2]);
        for v in [1.5, -3.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1e-40] {
            assert_eq!(value(key(v)), v);
        }
    }

    #[test]
    fn keeps_the_order_of_equals_among_many() {
        let mut pairs: Vec<u64> = (0..5000).map(|i| pair(((i * 7919) as u32 % 100) << 20, i)).collect();
        let mut expected = pairs.clone();
        expected.sort_unstable();
        assert_eq!(sort(&mut pairs, &mut vec![0; 5000]), expected);
    }
}
