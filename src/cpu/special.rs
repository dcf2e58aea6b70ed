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
}
