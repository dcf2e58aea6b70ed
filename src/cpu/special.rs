//! Special functions of f64 arguments.

/// From here on the asymptotic series are exact to rounding.
const LARGE: f64 = 16.0;

/// log Gamma(x), x > 0; error below 1e-14 of max(1, its size).
pub fn ln_gamma(x: f64) -> f64 {
    // Gamma(x + 1) = x Gamma(x) until x is large.
    let (mut x, mut product) = (x, 1.0);
    while x < LARGE {
        product *= x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = 1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series / x - product.ln()
}

/// The derivative of log Gamma, x > 0; error below 1e-14 of max(1, its size).
pub fn digamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < LARGE {
        sum += 1.0 / x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = 1.0 / 12.0 - y * (1.0 / 120.0 - y * (1.0 / 252.0 - y * (1.0 / 240.0 - y / 132.0)));
    x.ln() - 0.5 / x - y * series - sum
}

/// exp(x) and exp(x) - 1 of x <= 0, both to some 1e-15 of themselves; 0 and -1 below -708. By arithmetic alone: a loop
/// over it becomes vector code.
#[inline(always)]
pub fn exp_negative(x: f64) -> (f64, f64) {
    /// Adding it rounds a number of moderate size to an integer, which is left in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
    const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
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
    let y = if x < -708.0 { -708.0 } else { x };
    let rounded = y * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (y - k * LN_2[0]) - k * LN_2[1];
    // exp(r) - 1.
    let mut q = TAYLOR[12];
    for i in (0..12).rev() {
        q = q * r + TAYLOR[i];
    }
    q *= r;
    let power = f64::from_bits(rounded.to_bits().wrapping_add(1023) << 52);
    let (exp, less) = (power * (1.0 + q), power * q + (power - 1.0));
    if x < -708.0 { (0.0, -1.0) } else { (exp, less) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-14 * b.abs().max(1.0), "{a} {b}");
        close(ln_gamma(1.0), 0.0);
        close(ln_gamma(0.5), 0.5 * std::f64::consts::PI.ln());
        close(ln_gamma(11.0), 3_628_800f64.ln());
        close(ln_gamma(101.0), 363.739_375_555_563_47);
        close(digamma(1.0), -0.577_215_664_901_532_9);
        close(digamma(0.5), -0.577_215_664_901_532_9 - 2.0 * std::f64::consts::LN_2);
        close(digamma(100.0), 4.600_161_852_738_087);
    }
    #[test]
    fn exponentials_of_negative_numbers() {
        let close = |a: f64, b: f64| assert!((a - b).abs() <= 3e-15 * b.abs(), "{a} {b}");
        for i in 0..30_000 {
            let x = -707.9 * (1.0 - f64::from(i) / 30_000.0).powi(9);
            close(exp_negative(x).0, x.exp());
            close(exp_negative(x).1, x.exp_m1());
        }
        for x in [0.0, -1e-300, -1e-17] {
            assert_eq!(exp_negative(x), (1.0, x));
        }
        assert_eq!(exp_negative(f64::NEG_INFINITY), (0.0, -1.0));
        let (a, b) = exp_negative(f64::NAN);
        assert!(a.is_nan() && b.is_nan());
    }
}
