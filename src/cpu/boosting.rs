//! Rows of an additive model and its targets: negative slopes, second derivatives and loss of each, for gradient
//! boosting.

use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::load_some;
use crate::registry::Floats;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Squared,
    Logistic,
    Softmax,
}

impl Kind {
    pub fn from_code(code: i32) -> Kind {
        match code {
            0 => Kind::Squared,
            1 => Kind::Logistic,
            _ => Kind::Softmax,
        }
    }
}

/// Takes up to `LANES` neighbouring elements of a row.
pub trait Sink {
    fn put<S: Simd>(&mut self, s: S, at: usize, lanes: usize, residual: S::F, hessian: S::F);
}

/// The rows of a call.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub kind: Kind,
    pub pred: Floats<'a>,
    pub target: Floats<'a>,
}

/// Statistics of a softmax: its sum is 1 + `rest`, `rest` without one of the largest, so that 1 - p keeps its digits.
struct Softmax {
    top: f32,
    rest: f64,
}

impl Rows<'_> {
    /// Gives the elements of row `r` to `sink` and returns the row's loss.
    ///
    /// # Safety
    /// `r` is a row of both buffers.
    #[inline(always)]
    pub unsafe fn row<S: Simd>(&self, s: S, r: usize, sink: &mut impl Sink) -> f64 {
        unsafe {
            match self.kind {
                Kind::Squared => self.squared(s, r, sink),
                Kind::Logistic => self.logistic(s, r, sink),
                Kind::Softmax => self.softmax(s, r, sink),
            }
        }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, s: S, from: Floats, r: usize, at: usize, fill: f32) -> (S::F, usize) {
        let lanes = S::LANES.min(from.columns - at);
        let place = unsafe { from.row(r).add(at * from.dtype.size()) };
        (unsafe { load_some(s, from.dtype, place, lanes, fill) }, lanes)
    }

    #[inline(always)]
    unsafe fn squared<S: Simd>(&self, s: S, r: usize, sink: &mut impl Sink) -> f64 {
        let (mut loss, mut at) = (s.d_zero(), 0);
        while at < self.pred.columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, 0.0) };
            let (t, _) = unsafe { self.load(s, self.target, r, at, 0.0) };
            let residual = s.sub(t, f);
            loss = s.d_mul_add(loss, residual, residual);
            sink.put(s, at, lanes, residual, s.splat(1.0));
            at += lanes;
        }
        0.5 * s.d_sum(loss)
    }

    /// With e = exp(-|f|): log(1 + e) + (1 - t) max(f, 0) + t max(-f, 0).
    #[inline(always)]
    unsafe fn logistic<S: Simd>(&self, s: S, r: usize, sink: &mut impl Sink) -> f64 {
        let (one, zero) = (s.splat(1.0), s.zero());
        let (mut loss, mut at) = (s.d_zero(), 0);
        while at < self.pred.columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, 0.0) };
            let (t, _) = unsafe { self.load(s, self.target, r, at, 0.0) };
            let e = math::exp_neg_abs(s, f);
            let larger = s.div(one, s.add(one, e));
            let smaller = s.mul(e, larger);
            let above = s.lt(zero, f);
            let residual = s.select(above, s.add(s.sub(t, one), smaller), s.sub(t, smaller));
            let linear = s.mul(s.select(above, s.sub(one, t), t), s.abs(f));
            let each = s.add(math::ln_1p_unit(s, e), linear);
            loss = s.d_add(loss, s.select(s.first_n(lanes), each, zero));
            sink.put(s, at, lanes, residual, s.mul(smaller, larger));
            at += lanes;
        }
        s.d_sum(loss)
    }

    #[inline(always)]
    unsafe fn softmax<S: Simd>(&self, s: S, r: usize, sink: &mut impl Sink) -> f64 {
        let Softmax { top, rest } = unsafe { self.statistics(s, r) };
        let (one, zero, m) = (s.splat(1.0), s.zero(), s.splat(top));
        let total = 1.0 + rest;
        let (share, others) = (s.splat((1.0 / total) as f32), s.splat((rest / total) as f32));
        // Where p > 1/2, 1 - p is taken from the rest.
        let is_certain = s.lt(others, share);
        let log = rest.ln_1p();
        let (mut targets, mut distance, mut at) = (s.d_zero(), s.d_zero(), 0);
        while at < self.pred.columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, f32::NEG_INFINITY) };
            let (t, _) = unsafe { self.load(s, self.target, r, at, 0.0) };
            let certain = s.and(s.eq(f, m), is_certain);
            let p = s.mul(exp_difference(s, f, m), share);
            let residual = s.select(certain, s.add(s.sub(t, one), others), s.sub(t, p));
            let other = s.select(certain, others, s.sub(one, p));
            // An impossible class that is not asked for costs nothing.
            let below = s.select(s.eq(t, zero), zero, s.sub(m, f));
            targets = s.d_add(targets, t);
            distance = s.d_mul_add(distance, t, below);
            sink.put(s, at, lanes, residual, s.mul(p, other));
            at += lanes;
        }
        log * s.d_sum(targets) + s.d_sum(distance)
    }

    #[inline(always)]
    unsafe fn statistics<S: Simd>(&self, s: S, r: usize) -> Softmax {
        let columns = self.pred.columns;
        let (mut most, mut at) = (s.splat(f32::NEG_INFINITY), 0);
        while at < columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, f32::NEG_INFINITY) };
            most = s.max_nan(most, f);
            at += lanes;
        }
        let top = s.reduce_max(most);
        let m = s.splat(top);
        let (mut sum, mut tops, mut at) = (s.d_zero(), 0, 0);
        while at < columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, f32::NEG_INFINITY) };
            let is_top = s.eq(f, m);
            tops += s.mask_bits(s.and(is_top, s.first_n(lanes))).count_ones();
            sum = s.d_add(sum, s.select(is_top, s.zero(), exp_difference(s, f, m)));
            at += lanes;
        }
        // No finite maximum: NaN.
        // Without a finite maximum NaN.
        let poison = f64::from(0.0 * top);
        Softmax { top, rest: s.d_sum(sum) + (f64::from(tops) - 1.0) + poison }
    }
}

/// exp(f - m) for f <= m, the rounding error of the difference put back.
#[inline(always)]
fn exp_difference<S: Simd>(s: S, f: S::F, m: S::F) -> S::F {
    let d = s.sub(f, m);
    let b = s.sub(f, d);
    let error = s.add(s.sub(f, s.add(d, b)), s.sub(b, m));
    let e = math::exp(s, d);
    s.select(s.lt(d, s.splat(-87.0)), e, s.mul_add(e, error, e))
}
