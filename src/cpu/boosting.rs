//! Rows of an additive model and its targets: negative slopes, second derivatives and loss of each, for gradient
//! boosting.

use crate::cpu::row::Cache;
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::{line_ahead, load_some, load_typed};
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
    /// Whether the losses of rows are of use.
    const LOSS: bool;

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
    /// Gives the elements of row `r` to `sink` and returns the row's loss, if it is of use.
    ///
    /// # Safety
    /// `r` is a row of both buffers.
    #[inline(always)]
    pub unsafe fn row<S: Simd, K: Sink>(&self, s: S, r: usize, sink: &mut K) -> f64 {
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
        line_ahead(place);
        // SAFETY: within the row.
        let v = unsafe {
            if lanes == S::LANES {
                load_typed(s, from.dtype, place, lanes)
            } else {
                load_some(s, from.dtype, place, lanes, fill)
            }
        };
        (v, lanes)
    }

    #[inline(always)]
    unsafe fn squared<S: Simd, K: Sink>(&self, s: S, r: usize, sink: &mut K) -> f64 {
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
    unsafe fn logistic<S: Simd, K: Sink>(&self, s: S, r: usize, sink: &mut K) -> f64 {
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
    unsafe fn softmax<S: Simd, K: Sink>(&self, s: S, r: usize, sink: &mut K) -> f64 {
        let columns = self.pred.columns;
        // The exponentials, for the second sweep, if there is room: they stand first in the cache.
        let terms = Cache::of_thread(columns).cast::<f32>();
        let Softmax { top, rest } = unsafe { self.statistics(s, r, terms) };
        let (one, zero, m) = (s.splat(1.0), s.zero(), s.splat(top));
        let total = 1.0 + rest;
        let (share, others) = (s.splat((1.0 / total) as f32), s.splat((rest / total) as f32));
        // Where p > 1/2, 1 - p is taken from the rest.
        let is_certain = s.lt(others, share);
        let log = if K::LOSS { rest.ln_1p() } else { 0.0 };
        let (mut targets, mut distance, mut at) = (Sum::new(s), Sum::new(s), 0);
        while at < columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, f32::NEG_INFINITY) };
            let (t, _) = unsafe { self.load(s, self.target, r, at, 0.0) };
            let certain = s.and(s.eq(f, m), is_certain);
            // SAFETY: the cache has room for the row in whole vectors.
            let e = if terms.is_null() { exp_difference(s, f, m) } else { unsafe { s.load(terms.add(at)) } };
            let p = s.mul(e, share);
            let residual = s.select(certain, s.add(s.sub(t, one), others), s.sub(t, p));
            let other = s.select(certain, others, s.sub(one, p));
            // An impossible class that is not asked for costs nothing.
            let below = s.select(s.eq(t, zero), zero, s.sub(m, f));
            targets.few = s.add(targets.few, t);
            distance.few = s.mul_add(t, below, distance.few);
            sink.put(s, at, lanes, residual, s.mul(p, other));
            at += lanes;
            if at / S::LANES % FEW == 0 {
                targets.collect(s);
                distance.collect(s);
            }
        }
        log * targets.total(s) + distance.total(s)
    }

    /// Leaves the exponentials in `terms` unless that is null.
    #[inline(always)]
    unsafe fn statistics<S: Simd>(&self, s: S, r: usize, terms: *mut f32) -> Softmax {
        let columns = self.pred.columns;
        let (mut most, mut at) = ([s.splat(f32::NEG_INFINITY); 2], 0);
        while at < columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, f32::NEG_INFINITY) };
            most = [most[1], s.max_nan(most[0], f)];
            at += lanes;
        }
        let top = s.reduce_max(s.max_nan(most[0], most[1]));
        let m = s.splat(top);
        let (mut sum, mut tops, mut at) = (Sum::new(s), s.zero(), 0);
        while at < columns {
            let (f, lanes) = unsafe { self.load(s, self.pred, r, at, f32::NEG_INFINITY) };
            let is_top = s.eq(f, m);
            let e = exp_difference(s, f, m);
            if !terms.is_null() {
                // SAFETY: the cache has room for the row in whole vectors.
                unsafe { s.store(terms.add(at), e) };
            }
            tops = s.add(tops, s.select(is_top, s.splat(1.0), s.zero()));
            sum.few = s.add(sum.few, s.select(is_top, s.zero(), e));
            at += lanes;
            if at / S::LANES % FEW == 0 {
                sum.collect(s);
            }
        }
        // Without a finite maximum NaN.
        let poison = f64::from(0.0 * top);
        let tops = s.d_sum(s.d_add(s.d_zero(), tops));
        Softmax { top, rest: sum.total(s) + (tops - 1.0) + poison }
    }
}

/// Vectors of an f32 sum before it goes into the one in f64: so few that its rounding does not count.
const FEW: usize = 4;

/// Sum of terms of one sign.
struct Sum<S: Simd> {
    whole: S::D,
    few: S::F,
}

impl<S: Simd> Sum<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        Sum { whole: s.d_zero(), few: s.zero() }
    }

    #[inline(always)]
    fn collect(&mut self, s: S) {
        self.whole = s.d_add(self.whole, self.few);
        self.few = s.zero();
    }

    #[inline(always)]
    fn total(mut self, s: S) -> f64 {
        self.collect(s);
        s.d_sum(self.whole)
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
