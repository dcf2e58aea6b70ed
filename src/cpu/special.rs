//! Special functions of f64 arguments, without branches: a loop over an array of them compiles to vectors. Some take
//! `fma`, a constant: whether the code they become part of has fused multiply-adds.
//!
//! | function                  | error                                                         |
//! |---------------------------|---------------------------------------------------------------|
//! | ln                        | 4e-16 of its size, 1e-16 near 1                               |
//! | ln_gamma                  | 1e-14 of max(1, its size)                                     |
//! | digamma                   | 2e-15 of max(1, its size)                                     |
//! | trigamma                  | 4e-15 of its size                                             |
//!
//! The tests hold them to these on 1e-20 .. 1e6. `kernels/special.cuh` has the same for devices.

/// a b + c; without `fma` rounded twice.
#[inline(always)]
fn mul_add(fma: bool, a: f64, b: f64, c: f64) -> f64 {
    if fma { a.mul_add(b, c) } else { a * b + c }
}

/// Natural logarithm of normal numbers; 0, infinity and NaN as usual. The same bits everywhere.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    ln_by(false, x)
}

#[inline(always)]
pub fn ln_by(fma: bool, x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits();
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
    let e = (bits.wrapping_sub(SQRT_HALF) as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((e << 52) as u64));
    let f = (m - 1.0) / (m + 1.0);
    let g = f * f;
    // artanh(f) = f + f^3 / 3 + ..., of |f| < 0.1716.
    let mut sum = 1.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        sum = mul_add(fma, sum, g, 1.0 / odd);
    }
    let small = 2.0 * f + 2.0 * f * g * sum;
    let result = mul_add(fma, e as f64, std::f64::consts::LN_2, small);
    let beyond = if x < 0.0 { f64::NAN } else { x };
    let beyond = if x == 0.0 { f64::NEG_INFINITY } else { beyond };
    if x > 0.0 && x < f64::INFINITY { result } else { beyond }
}

/// Below this exp counts as 0.
const EXP_MIN: f64 = -708.0;

/// (r, 2^k) with x = r + k ln 2, |r| <= ln(2) / 2, for [`EXP_MIN`] <= x <= 0; of smaller x as of the least.
#[inline(always)]
fn exp_parts(x: f64) -> (f64, f64) {
    // Adding it rounds a number of moderate size to an integer, which is left in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
    // ln 2 in two parts; the product of the first with an integer is exact.
    const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
    let y = if x < EXP_MIN { EXP_MIN } else { x };
    let rounded = y * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    ((y - k * LN_2[0]) - k * LN_2[1], f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52))
}

/// e^-x, x >= 0, to 6e-16 of its size; 0 where that would be subnormal. Like [`ln`] the same bits everywhere.
#[inline(always)]
pub fn exp_neg(x: f64) -> f64 {
    let (r, power) = exp_parts(-x);
    // Taylor's series.
    let mut sum = 1.0;
    for i in [14.0, 13.0, 12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = 1.0 + sum * (r * (1.0 / i));
    }
    let result = if x < -EXP_MIN { sum * power } else { 0.0 };
    if x.is_nan() { x } else { result }
}

/// From here on the asymptotic series are exact to rounding.
const LARGE: f64 = 8.0;

/// log Gamma and its first two derivatives.
#[derive(Clone, Copy, Debug)]
pub struct Gamma {
    /// log(Gamma divisor): logarithms of several divisors are taken at once.
    pub ln: f64,
    pub divisor: f64,
    pub psi: f64,
    pub psi1: f64,
}

/// Those of x > 0 that are asked for; the others are 0. A NaN gives NaNs.
#[inline(always)]
pub fn gamma<const LN: bool, const PSI: bool, const PSI1: bool>(fma: bool, x: f64) -> Gamma {
    let shifted = x < LARGE;
    let y = if shifted { x + LARGE } else { x };
    // What x (x + 1) ... (x + 7) is made of: (x + k)(x + 7 - k) = q + c, c = 0, 6, 10, 12.
    let (q, twice) = (x * (x + 7.0), 2.0 * x + 7.0);
    let product = q * (q + 6.0) * (q + 10.0) * (q + 12.0);
    let inverse = 1.0 / y;
    let z = inverse * inverse;
    let log = if LN || PSI { ln_by(fma, y) } else { 0.0 };
    let mut of = Gamma { ln: 0.0, divisor: 1.0, psi: 0.0, psi1: 0.0 };
    if LN {
        let series = series(
            fma,
            z,
            [
                1.0 / 12.0,
                -1.0 / 360.0,
                1.0 / 1260.0,
                -1.0 / 1680.0,
                1.0 / 1188.0,
                -691.0 / 360_360.0,
                1.0 / 156.0,
                -3617.0 / 122_400.0,
            ],
        );
        const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;
        of.divisor = if shifted { product } else { 1.0 };
        of.ln = ((y - 0.5) * log - y + HALF_LN_TWO_PI) + inverse * series;
    }
    if PSI {
        let series = series(
            fma,
            z,
            [
                1.0 / 12.0,
                -1.0 / 120.0,
                1.0 / 252.0,
                -1.0 / 240.0,
                1.0 / 132.0,
                -691.0 / 32_760.0,
                1.0 / 12.0,
                -3617.0 / 8160.0,
            ],
        );
        // The sum of 1 / (x + k).
        let top = twice * (((4.0 * q + 84.0) * q + 504.0) * q + 720.0);
        let before = if shifted { top / product } else { 0.0 };
        of.psi = log - 0.5 * inverse - z * series - before;
    }
    if PSI1 {
        let series = series(
            fma,
            z,
            [
                1.0 / 6.0,
                -1.0 / 30.0,
                1.0 / 42.0,
                -1.0 / 30.0,
                5.0 / 66.0,
                -691.0 / 2730.0,
                7.0 / 6.0,
                -3617.0 / 510.0,
            ],
        );
        // The sum of 1 / (x + k)^2, all terms positive.
        let mut top = 8.0;
        for c in [476.0, 11_928.0, 163_560.0, 1_334_592.0, 6_586_272.0, 18_817_920.0, 25_401_600.0] {
            top = mul_add(fma, top, q, c);
        }
        let before = if shifted { top / (product * product) } else { 0.0 };
        of.psi1 = inverse + z * (0.5 + inverse * series) + before;
    }
    of
}

/// `c[0] + c[1] z + ...`
#[inline(always)]
fn series(fma: bool, z: f64, c: [f64; 8]) -> f64 {
    let mut sum = c[7];
    for i in (0..7).rev() {
        sum = mul_add(fma, sum, z, c[i]);
    }
    sum
}

/// log Gamma(x), x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    let of = gamma::<true, false, false>(false, x);
    of.ln - ln(of.divisor)
}

/// The derivative of log Gamma, x > 0.
pub fn digamma(x: f64) -> f64 {
    gamma::<false, true, false>(false, x).psi
}

/// exp(x) and exp(x) - 1 of x <= 0, both to some 1e-15 of themselves; 0 and -1 below -708. By arithmetic alone: a loop
/// over it becomes vector code.
#[inline(always)]
pub fn exp_negative(x: f64) -> (f64, f64) {
    exp_negative_to::<13>(false, x)
}

/// The same with fewer `TERMS` of a series: 8 give 1e-9, which is enough for what ends as f32.
#[inline(always)]
pub fn exp_negative_to<const TERMS: usize>(fma: bool, x: f64) -> (f64, f64) {
    const TAYLOR: [f64; 13] = [
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
        1.0 / 6_227_020_800.0,
    ];
    let (r, power) = exp_parts(x);
    // exp(r) - 1.
    let mut q = TAYLOR[TERMS - 1];
    for i in (0..TERMS - 1).rev() {
        q = mul_add(fma, q, r, TAYLOR[i]);
    }
    q *= r;
    let (exp, less) = (power * (1.0 + q), power * q + (power - 1.0));
    if x < EXP_MIN { (0.0, -1.0) } else { (exp, less) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x, log Gamma, digamma, trigamma, by 50 digits.
    #[allow(clippy::excessive_precision, clippy::approx_constant, clippy::inconsistent_digit_grouping, clippy::unreadable_literal)]
    #[rustfmt::skip]
    const KNOWN: &[(f64, f64, f64, f64)] = &[
        (0.001, 6.907178885383853662, -1000.57557193181028, 1000001.642533195827),
        (0.01, 4.599479878042021702, -100.5608854578686724, 10001.6212135283128),
        (0.125, 2.019418357553796345, -8.388492663295854868, 65.38813344498803447),
        (0.3, 1.095797994818075561, -3.502524222200133125, 12.2453645461077313),
        (0.5, 0.5723649429247000871, -1.963510026021423479, 4.934802200544679309),
        (0.9, 0.06637623973474295443, -0.7549269499470513492, 1.922539959477203445),
        (1.0, 0.0, -0.5772156649015328606, 1.644934066848226436),
        (1.25, -0.09827183642181316146, -0.2274535333762654081, 1.197329154507110739),
        (1.4616, -0.1214862900358973284, -3.110625123034164966e-5, 0.9677007114650835451),
        (1.9, -0.03898427592308336167, 0.3561841611640596581, 0.687972058242635656),
        (2.0, 0.0, 0.4227843350984671394, 0.6449340668482264365),
        (2.5, 0.2846828704729191596, 0.7031566406452431872, 0.490357756100234865),
        (3.7, 1.428072326665388129, 1.167153539361511441, 0.3100378576700383022),
        (5.5, 3.957813967618716294, 1.611093148581751124, 0.1993423869896276591),
        (7.0, 6.579251212010100995, 1.872784335098467139, 0.1535451779593375476),
        (7.75, 8.025458396315983871, 1.981791562694345597, 0.1377137914476556605),
        (7.999, 8.523145786158915488, 2.015508332090348038, 0.1331547166131586039),
        (8.0, 8.5251613610654143, 2.015641477955609997, 0.1331370146940314251),
        (8.25, 9.033186919605122853, 2.048384561366494649, 0.128854262885448222),
        (9.5, 11.68933342079726848, 2.197737876402949533, 0.1109972884690990324),
        (12.0, 17.50230784587388584, 2.442661679975812017, 0.08690187287176839075),
        (16.5, 29.27775451504081456, 2.772751371622623497, 0.06247968267796899872),
        (37.0, 95.71969454214320248, 3.597343531893106247, 0.02739554700275768062),
        (100.25, 360.284559637764235, 4.602671243274712559, 0.01002497869812336619),
        (1000.0, 5905.220423209181212, 6.907255195648812052, 0.001000500166666633333),
        (9999.5, 82095.11236375763923, 9.21024036739259939, 0.000100010000916741672),
        (10000.0, 82099.71749644237727, 9.210290371142849404, 0.0001000050001666666663),
        (1000000.0, 12815504.56914761166, 13.81551005796419077, 1.000000500000166667e-6),
        (1e-20, 46.05170185988091374, -1.000000000000000055e+20, 1.00000000000000011e+40),
    ];

    fn all(x: f64) -> Gamma {
        let [mut one, fused] = [false, true].map(|fma| gamma::<true, true, true>(fma, x));
        one.ln -= ln(one.divisor);
        let ln = fused.ln - ln_by(true, fused.divisor);
        let close = |a: f64, b: f64, size: f64| (a - b).abs() <= 2e-15 * size;
        assert!(
            x.is_nan()
                || close(ln, one.ln, 5.0 * one.ln.abs().max(1.0))
                    && close(fused.psi, one.psi, one.psi.abs().max(1.0))
        );
        assert!(x.is_nan() || close(fused.psi1, one.psi1, 2.0 * one.psi1));
        one
    }

    #[test]
    fn known_values() {
        for &(x, ln, psi, psi1) in KNOWN {
            let got = all(x);
            let close = |a: f64, b: f64, size: f64| {
                assert!((a - b).abs() <= 2e-15 * size, "{x}: {a} {b}, {:e}", (a - b).abs() / size);
            };
            close(got.ln, ln, 5.0 * ln.abs().max(1.0));
            close(got.psi, psi, psi.abs().max(1.0));
            close(got.psi1, psi1, 2.0 * psi1);
            assert_eq!((ln_gamma(x), digamma(x)), (got.ln, got.psi));
        }
    }

    #[test]
    fn logarithms() {
        let mut x = 1e-300;
        while x < 1e300 {
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs(), "{x} {}", ln(x) - x.ln());
            x *= 1.37;
        }
        for i in -2000..2000 {
            let x = 1.0 + f64::from(i) * 1e-5;
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(0.2), "{x} {}", ln(x) - x.ln());
        }
        assert_eq!((ln(0.0), ln(f64::INFINITY)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(ln(-1.0).is_nan() && ln(f64::NAN).is_nan());
        let odd = all(f64::NAN);
        assert!(odd.ln.is_nan() && odd.psi.is_nan() && odd.psi1.is_nan());
    }

    #[test]
    fn exponentials() {
        let mut x = 0.0f64;
        while x < 707.9 {
            let exact = (-x).exp();
            assert!((exp_neg(x) - exact).abs() <= 6e-16 * exact, "{x} {:e}", (exp_neg(x) - exact) / exact);
            x += 0.0137;
        }
        assert_eq!((exp_neg(0.0), exp_neg(1e300)), (1.0, 0.0));
        assert!(exp_neg(f64::NAN).is_nan());
    }

    /// Recurrences across the place where the way of computing changes, and the duplication formula.
    #[test]
    fn recurrences() {
        let mut x = 1e-3;
        while x < 1e4 {
            let (here, next) = (all(x), all(x + 1.0));
            let rounding = 2e-14 * here.ln.abs().max(next.ln.abs()).max(1.0);
            assert!((next.ln - here.ln - x.ln()).abs() <= rounding, "{x}");
            assert!((next.psi - here.psi - 1.0 / x).abs() <= 4e-15 * (1.0 / x).max(10.0), "{x}");
            assert!((here.psi1 - next.psi1 - 1.0 / (x * x)).abs() <= 4e-15 * here.psi1, "{x}");
            let twice = ln_gamma(2.0 * x);
            let sum = here.ln + ln_gamma(x + 0.5) + (2.0 * x - 1.0) * std::f64::consts::LN_2
                - 0.5 * std::f64::consts::PI.ln();
            assert!((twice - sum).abs() <= 3e-14 * twice.abs().max(here.ln.abs()).max(1.0 + 2.0 * x), "{x}");
            x *= 1.013;
        }
    }
    #[test]
    fn exponentials_of_negative_numbers() {
        let close = |a: f64, b: f64| assert!((a - b).abs() <= 3e-15 * b.abs(), "{a} {b}");
        for i in 0..30_000 {
            let x = -707.9 * (1.0 - f64::from(i) / 30_000.0).powi(9);
            close(exp_negative(x).0, x.exp());
            close(exp_negative(x).1, x.exp_m1());
            let (e, m) = exp_negative_to::<8>(true, x);
            assert!(
                (e - x.exp()).abs() <= 1e-9 * x.exp() && (m - x.exp_m1()).abs() <= 1e-9 * x.exp_m1().abs()
            );
        }
        for x in [0.0, -1e-300, -1e-17] {
            assert_eq!(exp_negative(x), (1.0, x));
        }
        assert_eq!(exp_negative(f64::NEG_INFINITY), (0.0, -1.0));
        let (a, b) = exp_negative(f64::NAN);
        assert!(a.is_nan() && b.is_nan());
    }
}
