//! c tanh(z / c) beyond f32. A softmax turns an absolute error of a logit into a relative one of its
//! probability, so c times f32's rounding would show in every gradient.

use crate::cpu::simd::Simd;

/// `hi + lo` has an absolute error below c 1e-8.
#[derive(Clone, Copy)]
pub struct Capped<S: Simd> {
    pub hi: S::F,
    pub lo: S::F,
    /// 1 - tanh(z/c)^2.
    pub slope: S::F,
}

impl<S: Simd> Capped<S> {
    /// The same in all lanes.
    #[inline(always)]
    pub fn first(&self, s: S) -> (f32, f32) {
        (s.first(self.hi), s.first(self.lo))
    }

    /// Less a capped logit in two parts.
    #[inline(always)]
    pub fn minus(&self, s: S, (hi, lo): (f32, f32)) -> S::F {
        s.add(s.sub(self.hi, s.splat(hi)), s.sub(self.lo, s.splat(lo)))
    }
}

#[inline(always)]
pub fn soft_cap<S: Simd>(s: S, z: S::F, cap: f32) -> Capped<S> {
    // The remainders below need a fused multiply-add.
    if S::FMA { soft_cap_fused(s, z, cap) } else { soft_cap_f64(s, z, cap) }
}

/// With e = exp(-2|z|/c) and w = e / (1 + e): c tanh = +-(c - 2 c w), slope = 4 w / (1 + e).
#[inline(always)]
fn soft_cap_fused<S: Simd>(s: S, z: S::F, cap: f32) -> Capped<S> {
    let (one, two, c) = (s.splat(1.0), s.splat(2.0), s.splat(cap));
    let t = s.abs(z);
    let y = s.mul(two, s.div(t, c));
    let y_rest = s.mul(two, s.div(s.mul_add(s.mul(s.splat(-0.5), y), c, t), c));
    // Beyond, e is nothing beside 1.
    let near = s.lt(y, s.splat(60.0));
    let y = s.select(near, y, s.splat(60.0));
    let y_rest = s.select(near, y_rest, s.zero());

    // exp(-y) = 2^-n (1 + r + r^2 (...)), only the leading terms in two floats.
    let n = s.round(s.mul(y, s.splat(std::f32::consts::LOG2_E)));
    let whole = s.mul_add(n, s.splat(0.693_359_4), s.neg(y));
    let part = s.mul_add(n, s.splat(-2.121_944_4e-4), s.neg(y_rest));
    let r = s.add(whole, part);
    let r_rest = s.sub(part, s.sub(r, whole));
    let mut p = s.splat(1.0 / 40320.0);
    for c in [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        p = s.mul_add(p, r, s.splat(c));
    }
    let p = s.mul(p, s.mul(r, r));
    let first = s.add(one, r);
    let more = s.add(s.sub(r, s.sub(first, one)), s.add(r_rest, p));
    let sum = s.add(first, more);
    let power = s.pow2(s.neg(n));
    let e = s.mul(sum, power);
    let e_rest = s.mul(s.sub(more, s.sub(sum, first)), power);

    let d = s.add(one, e);
    let d_rest = s.add(s.sub(e, s.sub(d, one)), e_rest);
    let w = s.div(e, d);
    let minus_w = s.neg(w);
    let w_rest = s.div(s.add(s.mul_add(minus_w, d, e), s.mul_add(minus_w, d_rest, e_rest)), d);
    let twice = s.mul(two, c);
    let cut = s.mul(twice, w);
    let cut_rest = s.mul_add(twice, w_rest, s.mul_add(twice, w, s.neg(cut)));
    let hi = s.sub(c, cut);
    let lo = s.sub(s.sub(s.sub(c, hi), cut), cut_rest);
    let slope = s.div(s.mul(s.splat(4.0), s.add(w, w_rest)), s.add(d, d_rest));

    let nan = s.is_nan(z);
    Capped {
        hi: s.select(nan, z, s.copysign(hi, z)),
        lo: s.select(s.lt(z, s.zero()), s.neg(lo), lo),
        slope: s.select(nan, z, slope),
    }
}

fn soft_cap_f64<S: Simd>(s: S, z: S::F, cap: f32) -> Capped<S> {
    const WIDEST: usize = 16;
    assert!(S::LANES <= WIDEST);
    let (mut hi, mut lo, mut slope) = ([0f32; WIDEST], [0f32; WIDEST], [0f32; WIDEST]);
    // SAFETY: the arrays hold a vector.
    unsafe {
        s.store(hi.as_mut_ptr(), z);
        for i in 0..S::LANES {
            let x = f64::from(hi[i]) / f64::from(cap);
            let capped = f64::from(cap) * x.tanh();
            hi[i] = capped as f32;
            lo[i] = (capped - f64::from(hi[i])) as f32;
            // Not 1 - tanh^2, which loses its digits near 1.
            let e = (-2.0 * x.abs()).exp();
            slope[i] = (4.0 * e / ((1.0 + e) * (1.0 + e))) as f32;
        }
        Capped { hi: s.load(hi.as_ptr()), lo: s.load(lo.as_ptr()), slope: s.load(slope.as_ptr()) }
    }
}
