//! Elementary functions, generic over the instruction set.
//!
//! Largest errors in units in the last place, against f64 and over every 13th f32; the second figure is for
//! an ISA without fused multiply-add:
//!
//! | exp         | exp_m1      | ln          | ln_1p       | tanh        | sigmoid     | softplus    |
//! |-------------|-------------|-------------|-------------|-------------|-------------|-------------|
//! | 0.92 / 1.22 | 1.59 / 1.71 | 0.95 / 0.96 | 1.63 / 1.73 | 2.50 / 2.50 | 2.34 / 2.34 | 2.12 / 2.01 |
//!
//! NaN gives NaN. Relative accuracy holds for tiny arguments and results, except that what would be
//! subnormal is 0 for `exp`, and so for `sigmoid` and `softplus` of large negative arguments.
//!
//! A single chain of these is bound by latency: two vectors at a time run faster.

use super::{ROUND_MAGIC, Simd};

// ln 2 in two parts; the first has so few digits that its product with an exponent is exact.
pub const LN2_HI: f32 = 22713.0 / 32768.0;
pub const LN2_LO: f32 = 1.428_606_8e-6;

/// `c0 + c1 x + c2 x^2 + ...`, unrolled.
macro_rules! polynomial {
    ($s:ident, $x:ident, $c:expr) => { $s.splat($c) };
    ($s:ident, $x:ident, $c:expr, $($rest:expr),+) => {
        $s.mul_add(polynomial!($s, $x, $($rest),+), $x, $s.splat($c))
    };
}

/// (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, a minimax fit; from the lowest power up, as below.
pub const EXP: [f32; 5] = [0.5, 0.166_665_43, 0.041_666_437, 0.008_366_555, 0.001_393_757_8];

#[inline(always)]
fn exp_poly<S: Simd>(s: S, r: S::F) -> S::F {
    let [c0, c1, c2, c3, c4] = EXP;
    polynomial!(s, r, c0, c1, c2, c3, c4)
}

/// (e^x - 1 - x) / x^2 for |x| <= 0.34.
#[inline(always)]
pub fn exp_excess<S: Simd>(s: S, x: S::F) -> S::F {
    exp_poly(s, x)
}

/// (ln(1+f) - f) / f^2 on |f| <= 1/3, a minimax fit.
pub const LN: [f32; 9] = [
    -0.5,
    0.333_332_15,
    -0.249_998_05,
    0.200_104_45,
    -0.166_801_8,
    0.140_053_4,
    -0.121_883_82,
    0.139_867_07,
    -0.128_742_62,
];

/// Even and odd terms are summed apart, which halves the latency.
#[inline(always)]
fn ln_poly<S: Simd>(s: S, f: S::F) -> S::F {
    // The addend only keeps the square of a tiny number from being subnormal, which is very slow.
    let ff = s.mul_add(f, f, s.splat(1e-30));
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8] = LN;
    let even = polynomial!(s, ff, c0, c2, c4, c6, c8);
    let odd = polynomial!(s, ff, c1, c3, c5, c7);
    s.mul_add(odd, f, even)
}

/// `x = k ln 2 + r` with |r| <= ln(2)/2, as `(k, k + ROUND_MAGIC, r)`.
#[inline(always)]
fn exp_reduce<S: Simd>(s: S, x: S::F) -> (S::F, S::F, S::F) {
    let t = s.mul_add(x, s.splat(core::f32::consts::LOG2_E), s.splat(ROUND_MAGIC));
    let k = s.sub(t, s.splat(ROUND_MAGIC));
    let r = s.mul_add(k, s.splat(-LN2_HI), x);
    (k, t, s.mul_add(k, s.splat(-LN2_LO), r))
}

/// e^x. Infinity above [`EXP_MAX`](super::EXP_MAX), 0 below [`EXP_MIN`](super::EXP_MIN).
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    exp_clamped(s, x, s.exp_clamp(x))
}

/// e^-|x|.
#[inline(always)]
pub fn exp_neg_abs<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.neg(s.abs(x));
    exp_clamped(s, x, x)
}

#[inline(always)]
fn exp_clamped<S: Simd>(s: S, x: S::F, clamped: S::F) -> S::F {
    let one = s.splat(1.0);
    let (k, t, r) = exp_reduce(s, clamped);
    let p = exp_poly(s, r);
    let p = s.mul_add(s.mul_add(p, r, one), r, one);
    s.exp_finish(x, p, k, t)
}

/// e^x for the terms of a softmax, x <= 0: cheaper than [`exp`], with a relative error of at most
/// 2e-7 + 2e-8 |x|, and exactly 1 at 0. The error that grows with |x| stays far below the sum's, which is
/// at least 1.
#[inline(always)]
pub fn exp_softmax<S: Simd>(s: S, x: S::F) -> S::F {
    exp_softmax_of(s, [x])[0]
}

/// The same of `N` vectors, step by step for all of them: a processor looks some 40 instructions ahead, and then finds
/// those that do not wait for each other. For four there is [`Simd::softmax_terms`].
#[inline(always)]
pub fn exp_softmax_of<S: Simd, const N: usize>(s: S, mut x: [S::F; N]) -> [S::F; N] {
    if !S::FMA {
        // What rounding took away would be lost in the product's own rounding.
        for i in 0..N {
            x[i] = exp(s, x[i]);
        }
        return x;
    }
    let [mut t, mut k, mut p] = [x; 3];
    for i in 0..N {
        x[i] = s.term_clamp(x[i]);
    }
    for i in 0..N {
        t[i] = s.mul_add(x[i], s.splat(core::f32::consts::LOG2_E), s.splat(S::TERM_MAGIC));
    }
    for i in 0..N {
        k[i] = s.sub(t[i], s.splat(S::TERM_MAGIC));
    }
    let mut r = x;
    for i in 0..N {
        r[i] = s.mul_add(x[i], s.splat(core::f32::consts::LOG2_E), s.neg(k[i]));
    }
    for i in 0..N {
        p[i] = s.mul_add(s.splat(EXP2[0]), r[i], s.splat(EXP2[1]));
    }
    for c in &EXP2[2..] {
        for i in 0..N {
            p[i] = s.mul_add(p[i], r[i], s.splat(*c));
        }
    }
    for i in 0..N {
        p[i] = s.term_finish(x[i], p[i], k[i], t[i]);
    }
    p
}

/// The terms e^(z - about) of a softmax.
#[inline(always)]
pub fn exp_about<S: Simd>(s: S, mut z: [S::F; 4], about: S::F) -> [S::F; 4] {
    for z in &mut z {
        *z = s.sub(*z, about);
    }
    s.softmax_terms(z)
}

/// The terms e^(factor (z - about)).
#[inline(always)]
pub fn exp_scaled<S: Simd>(s: S, mut z: [S::F; 4], about: S::F, factor: S::F) -> [S::F; 4] {
    for z in &mut z {
        *z = s.mul(factor, s.sub(*z, about));
    }
    s.softmax_terms(z)
}

/// A power of two that exponentials are counted from, near one of them. A difference from a logit would lose digits.
#[repr(C)]
pub struct PowerOver<S: Simd> {
    /// What rounds to an integer, less the exponent.
    pub magic: S::F,
    /// Below this there is but 0.
    pub low: S::F,
}

impl<S: Simd> PowerOver<S> {
    /// The one next to e^x, |x| < 2^17; NaN for other x may be anything.
    #[inline(always)]
    pub fn near(s: S, x: S::F) -> Self {
        let k = s.round(s.mul(x, s.splat(core::f32::consts::LOG2_E)));
        let low = s.mul(s.sub(k, s.splat(127.0)), s.splat(core::f32::consts::LN_2));
        PowerOver { magic: s.sub(s.splat(S::TERM_MAGIC), k), low }
    }
}

/// What log2(e) lacks in f32.
pub const LOG2_E_REST: f32 = 1.925_963e-8;

/// For an ISA with fused multiply-add.
#[inline(always)]
pub fn exp_over_of<S: Simd>(s: S, mut x: [S::F; 4], power: &PowerOver<S>) -> [S::F; 4] {
    let log2_e = s.splat(core::f32::consts::LOG2_E);
    let [mut t, mut r, mut p] = [x; 3];
    for i in 0..4 {
        x[i] = s.max(power.low, x[i]);
        t[i] = s.mul_add(x[i], log2_e, power.magic);
        // Exact: the product of the integer part's digits cancels.
        r[i] = s.mul_add(x[i], log2_e, s.neg(s.sub(t[i], power.magic)));
        r[i] = s.mul_add(x[i], s.splat(LOG2_E_REST), r[i]);
        p[i] = exp2_poly(s, r[i]);
        let k = s.sub(t[i], s.splat(S::TERM_MAGIC));
        p[i] = s.term_finish(s.mul(k, s.splat(core::f32::consts::LN_2)), p[i], k, t[i]);
        // A NaN has no power.
        p[i] = s.select(s.is_nan(x[i]), x[i], p[i]);
    }
    p
}

/// 2^r on |r| <= 1/2, a minimax fit that is exact at 0; from the highest power down.
#[allow(clippy::approx_constant)] // ln 2, but for its fit
pub const EXP2: [f32; 6] = [0.001_326_47, 0.009_671_534, 0.055_507_34, 0.240_222_42, 0.693_147, 1.0];

#[inline(always)]
pub fn exp2_poly<S: Simd>(s: S, r: S::F) -> S::F {
    let [c5, c4, c3, c2, c1, c0] = EXP2;
    polynomial!(s, r, c0, c1, c2, c3, c4, c5)
}

/// e^x - 1 for -18 <= x <= 89 (or NaN).
#[inline(always)]
pub fn exp_m1_of<S: Simd>(s: S, x: S::F) -> S::F {
    let (k, _, r) = exp_reduce(s, x);
    // Not r^2 times the rest: for a tiny argument that square is subnormal, which is very slow.
    let q = s.mul_add(s.mul(r, exp_poly(s, r)), r, r);
    // 2^k (q + 1) - 1, at half its size so that 2^k cannot overflow before the result does.
    let scale = s.pow2(s.sub(k, s.splat(1.0)));
    let half = s.mul_add(scale, q, s.sub(scale, s.splat(0.5)));
    s.add(half, half)
}

/// e^x - 1.
#[inline(always)]
pub fn exp_m1<S: Simd>(s: S, x: S::F) -> S::F {
    let y = exp_m1_of(s, s.max(s.splat(-18.0), s.min(s.splat(89.0), x)));
    s.copysign(y, x)
}

/// ln((1 + f) 2^e) for |f| <= 1/3.
#[inline(always)]
fn ln_inner<S: Simd>(s: S, f: S::F, e: S::F) -> S::F {
    let fp = s.mul(f, ln_poly(s, f));
    if S::FMA {
        s.mul_add(e, s.splat(core::f32::consts::LN_2), s.mul_add(fp, f, f))
    } else {
        let tail = s.mul_add(fp, f, s.mul(e, s.splat(LN2_LO)));
        s.mul_add(e, s.splat(LN2_HI), s.add(tail, f))
    }
}

/// Natural logarithm. -infinity at 0, NaN for negative numbers; right for subnormal ones.
#[inline(always)]
pub fn ln<S: Simd>(s: S, x: S::F) -> S::F {
    let (m, e) = s.frexp(x);
    ln_inner(s, s.sub(m, s.splat(1.0)), e)
}

/// ln(1 + x).
#[inline(always)]
pub fn ln_1p<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let (m, e) = s.frexp(s.add(one, x));
    // The rounding error of 1 + x matters: the reduced argument is made from x itself, except where it is
    // so large that the 1 does not count, and at the ends of the domain.
    let scale = s.pow2(s.neg(e));
    let exact = s.mul_add(x, scale, s.sub(scale, one));
    let use_exact = s.and(s.lt(s.splat(-1.0), x), s.lt(x, s.splat(16_777_216.0)));
    let f = s.select(use_exact, exact, s.sub(m, one));
    s.copysign(ln_inner(s, f, e), x)
}

/// ln(1 + x) for -1/2 <= x < 2^126.
#[inline(always)]
pub fn ln_1p_above<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let (scale, e) = s.scale_of(s.add(one, x));
    ln_inner(s, s.mul_add(x, scale, s.sub(scale, one)), e)
}

/// (ln(1 + t) - t) / t^2 on 0 <= t <= 1, a minimax fit.
pub const LN_1P: [f32; 8] = [
    -0.499_996_48,
    0.333_213_24,
    -0.248_571_63,
    0.191_536_55,
    -0.137_538_03,
    0.079_204_54,
    -0.030_065_794,
    0.005_364_824_6,
];

/// ln(1 + t) for 0 <= t <= 1.
#[inline(always)]
pub fn ln_1p_unit<S: Simd>(s: S, t: S::F) -> S::F {
    if !S::FMA {
        return ln_1p(s, t); // the roundings of the products below would add up
    }
    // Even and odd terms summed apart would cost half a unit.
    let [c0, c1, c2, c3, c4, c5, c6, c7] = LN_1P;
    let p = polynomial!(s, t, c0, c1, c2, c3, c4, c5, c6, c7);
    s.mul_add(s.mul(t, p), t, t)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    // With t = e^(-2|x|) - 1, which keeps its digits near 0: tanh |x| = -t / (2 + t).
    let t = exp_m1_of(s, s.max(s.splat(-18.0), s.mul(s.abs(x), s.splat(-2.0))));
    s.copysign(s.div(t, s.add(t, s.splat(2.0))), x)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let e = exp_neg_abs(s, x);
    s.div(s.select(s.lt(x, s.zero()), e, one), s.add(one, e))
}

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::F) -> S::F {
    let t = exp_neg_abs(s, x);
    s.add(s.max(s.zero(), x), ln_1p_unit(s, t))
}

/// -1, 0 or 1; a NaN stays a NaN.
#[inline(always)]
pub fn sign<S: Simd>(s: S, x: S::F) -> S::F {
    let known = s.or(s.eq(x, s.zero()), s.is_nan(x));
    s.select(known, x, s.copysign(s.splat(1.0), x))
}
