//! Positive numbers `m 2^e` with an f64 exponent of their own: products and sums of probabilities over any
//! number of steps, as exact as f64 and never out of range. What the dynamic programmes use instead of
//! logarithms: no exponential and no logarithm per cell, and loops that vectorise.
//!
//! Sums and products let the mantissa grow by some bits each; [`normalise`] it every [`STEPS`] of them. There
//! is no zero: exponent [`ZERO`] stands for it, nothing beside any product of f32 weights.

/// Exponent of zero. Sums and products of zeros stay near it; `max` with it bounds them.
pub const ZERO: f64 = -1e300;
/// Below this a number is zero.
pub const VANISHED: f64 = -1e299;
/// A mantissa may go through this many steps of a few bits each and still be far from f64's limits.
pub const STEPS: usize = 32;

/// `x + MAGIC` has the bits of `x + 1023` at its low end.
const MAGIC: f64 = 6_755_399_441_055_744.0 + 1023.0; // 1.5 * 2^52 + 1023

/// 2^x for a whole x in [-1022, 1023].
#[inline(always)]
pub fn pow2(x: f64) -> f64 {
    f64::from_bits((x + MAGIC).to_bits() << 52)
}

/// One instruction, unlike `f64::max`; `b` where `a` is NaN.
#[inline(always)]
pub fn max(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// 2^x for a whole x up to 1023; tiny, not 0, where that underflows.
#[inline(always)]
pub fn scale(x: f64) -> f64 {
    pow2(max(x, -1022.0))
}

/// `m` to [1, 2), the rest to the exponent.
#[inline(always)]
pub fn normalise(m: f64, e: f64) -> (f64, f64) {
    const TWO52: u64 = 0x4330_0000_0000_0000;
    let bits = m.to_bits();
    let exponent = f64::from_bits(bits >> 52 | TWO52) - (4_503_599_627_370_496.0 + 1023.0);
    (f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000), max(e + exponent, ZERO))
}

/// Sum of two.
#[inline(always)]
pub fn add(m0: f64, e0: f64, m1: f64, e1: f64) -> (f64, f64) {
    let e = max(e0, e1);
    (m0 * scale(e0 - e) + m1 * scale(e1 - e), e)
}

/// Sum of three.
#[inline(always)]
pub fn add3(m0: f64, e0: f64, m1: f64, e1: f64, m2: f64, e2: f64) -> (f64, f64) {
    let e = max(max(e0, e1), e2);
    (m0 * scale(e0 - e) + m1 * scale(e1 - e) + m2 * scale(e2 - e), e)
}

/// exp(x), to 3 units in the last place of the mantissa and the rounding of `x log2(e)`; zero for -infinity.
#[inline(always)]
pub fn exp(x: f64) -> (f64, f64) {
    let x = max(x * std::f64::consts::LOG2_E, ZERO);
    let e = x.round_ties_even();
    let r = (x - e) * std::f64::consts::LN_2;
    // Taylor's series on |r| <= ln(2)/2: the next term is below 2e-16.
    let mut p = 1.0 / 479_001_600.0;
    for c in [
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + c;
    }
    (p, e)
}

/// Natural logarithm; -infinity for zero.
pub fn ln(m: f64, e: f64) -> f64 {
    if e < VANISHED { f64::NEG_INFINITY } else { m.ln() + e * std::f64::consts::LN_2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_normal_form() {
        for k in [-1022, -1000, -1, 0, 1, 52, 1023] {
            assert_eq!(pow2(f64::from(k)), 2f64.powi(k));
        }
        assert_eq!(normalise(12.0, -3.0), (1.5, 0.0));
        assert_eq!(normalise(0.375, 1e6), (1.5, 1e6 - 2.0));
        assert_eq!(normalise(3.0, 2.0 * ZERO).1, ZERO);
    }

    #[test]
    fn exponentials_beyond_any_range() {
        for x in [0.0, -0.3, 1.0, -700.0, -5000.5, 12345.678] {
            let (m, e) = exp(x);
            assert!((ln(m, e) - x).abs() <= 4e-16 * f64::max(1.0, x.abs()), "{x}: {}", ln(m, e));
        }
        assert_eq!(ln(exp(f64::NEG_INFINITY).0, exp(f64::NEG_INFINITY).1), f64::NEG_INFINITY);
    }

    #[test]
    fn sums() {
        let (m, e) = add3(1.5, -1e6, 1.25, -1e6 + 1.0, 1.0, ZERO);
        assert_eq!((m, e), (2.0, -1e6 + 1.0));
        assert_eq!(ln(add(1.0, ZERO, 1.0, ZERO).0, ZERO), f64::NEG_INFINITY);
    }
}
