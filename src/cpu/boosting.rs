//! Rows of an additive model and its targets: negative slopes, second derivatives and loss of each, for gradient
//! boosting.

#[path = "boosting/lanes.rs"]
mod lanes;
#[path = "boosting/softmax.rs"]
mod softmax;

use crate::cpu::blocks::short;
use crate::cpu::narrow;
use crate::cpu::parallel::Cells;
use crate::cpu::row::{Cache, Row};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::storage::{BLOCK, Scratch, fetch};
use crate::registry::Floats;
use softmax::Part;
pub use softmax::Softmax;
use std::ops::Range;

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

/// The rows of a call.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub kind: Kind,
    pub pred: Floats<'a>,
    pub target: Floats<'a>,
}

/// Some rows, and where what is found of them goes.
pub struct Sweep<'a> {
    pub rows: Rows<'a>,
    pub range: Range<usize>,
    /// Residuals and second derivatives, one row after the other from the first of the range on; null where they are
    /// not wanted.
    pub to: [*mut f32; 2],
    pub losses: Option<Cells<'a>>,
}

/// Vectors of residuals, second derivatives and terms of the loss.
struct Found<S: Simd> {
    residual: S::F,
    hessian: S::F,
    loss: S::F,
}

impl Kernel for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { kind, pred, target } = self.rows;
        if kind == Kind::Softmax && narrow::fits::<S>(pred.columns) {
            return self.lanes(s);
        }
        let cache = Cache::of_thread(pred.columns).cast::<f32>();
        let mut scratch = [const { Scratch::<BLOCK>::new() }; 3];
        let [f, t, again] = scratch.each_mut().map(Scratch::ptr);
        for (i, r) in self.range.clone().enumerate() {
            let (to, none) = (self.to_row(i), std::ptr::null_mut());
            // SAFETY: a row of both buffers.
            let rows = unsafe { [Row::new(&pred, r, f, none, 0), Row::new(&target, r, t, none, 0)] };
            let softmax = (kind == Kind::Softmax).then(
                #[inline(always)]
                || self.exponentials(s, r, &rows[0], to, cache),
            );
            let mut sums = [s.d_zero(); 2];
            for whole in (0..pred.columns).step_by(BLOCK) {
                let [f, t] = [rows[0].f32_block(s, whole), rows[1].f32_block(s, whole)];
                for at in (0..f.len()).step_by(short::<S>()) {
                    let start = whole + at;
                    let rows = [f.part(at, short::<S>()), t.part(at, short::<S>())];
                    let to = to.map(|to| if to.is_null() { to } else { to.wrapping_add(start) });
                    let part = Part { start, rows, to };
                    let found = match &softmax {
                        Some(softmax) => part.softmax(s, softmax, cache, again),
                        None if kind == Kind::Squared => [s.zero(), part.squared(s)],
                        None => [s.zero(), part.logistic(s, self.losses.is_some())],
                    };
                    for v in 0..2 {
                        sums[v] = s.d_add(sums[v], found[v]);
                    }
                }
            }
            if let Some(losses) = &self.losses {
                let log = softmax.map_or(0.0, |softmax| softmax.rest.ln_1p());
                let loss = s.d_sum(sums[1]) + s.d_sum(sums[0]) * log;
                losses.set(r, loss as f32);
            }
        }
    }
}

impl Sweep<'_> {
    /// Leaves the exponentials of row `r` at `kept`, and asks for what is read and written with them then.
    #[inline(always)]
    fn exponentials<S: Simd>(
        &self,
        s: S,
        r: usize,
        row: &Row,
        to: [*mut f32; 2],
        kept: *mut f32,
    ) -> Softmax<S> {
        let target = &self.rows.target;
        // SAFETY: a row of the buffer.
        let targets = unsafe { target.row(r) };
        let (mut next, size) = (0, target.dtype.size());
        Softmax::new(
            s,
            row.len,
            #[inline(always)]
            |start| row.f32_block(s, start),
            kept,
            #[inline(always)]
            || {
                fetch(targets.wrapping_add(next * size), 4 * S::LANES * size);
                for to in to {
                    fetch(to.wrapping_add(next).cast(), 4 * S::LANES * size_of::<f32>());
                }
                next += 4 * S::LANES;
            },
        )
    }

    /// Where row `i` of these goes.
    fn to_row(&self, i: usize) -> [*mut f32; 2] {
        self.to.map(|to| if to.is_null() { to } else { to.wrapping_add(i * self.rows.pred.columns) })
    }
}

impl Part {
    /// Sum of the terms of the loss. `each` gets a vector of the model and one of the target; beyond the end the model
    /// is `fill` and the target 0.
    #[inline(always)]
    fn sweep<S: Simd>(&self, s: S, fill: f32, each: impl Fn(S::F, S::F) -> Found<S>) -> S::F {
        let (n, mut sum) = (self.rows[0].len(), [s.zero(); 2]);
        let mut unwanted = Scratch::<BLOCK>::new();
        let unwanted = unwanted.ptr();
        let [residuals, hessian] = self.to.map(|to| if to.is_null() { unwanted } else { to });
        let [f, t] = self.rows.map(|row| row.floats());
        let mut k = 0;
        // SAFETY: within the part, and what is written.
        unsafe {
            while k + S::LANES <= n {
                let found = each(s.load(f.add(k)), s.load(t.add(k)));
                s.store(residuals.add(k), found.residual);
                s.store(hessian.add(k), found.hessian);
                sum = [sum[1], s.add(sum[0], found.loss)];
                k += S::LANES;
            }
            if k < n {
                let f = s.load_partial(f.add(k), n - k, fill);
                let found = each(f, s.load_partial(t.add(k), n - k, 0.0));
                s.store_partial(residuals.add(k), n - k, found.residual);
                s.store_partial(hessian.add(k), n - k, found.hessian);
                sum[0] = s.add(sum[0], found.loss);
            }
        }
        s.add(sum[0], sum[1])
    }

    #[inline(always)]
    fn squared<S: Simd>(&self, s: S) -> S::F {
        self.sweep(
            s,
            0.0,
            #[inline(always)]
            |f, t| {
                let residual = s.sub(t, f);
                Found {
                    residual,
                    hessian: s.splat(1.0),
                    loss: s.mul(s.mul(s.splat(0.5), residual), residual),
                }
            },
        )
    }

    /// With e = exp(-|f|): log(1 + e) + (1 - t) max(f, 0) + t max(-f, 0).
    #[inline(always)]
    fn logistic<S: Simd>(&self, s: S, wants_loss: bool) -> S::F {
        let (one, zero) = (s.splat(1.0), s.zero());
        self.sweep(
            s,
            // The loss of which for a target of 0 is 0.
            -f32::MAX,
            #[inline(always)]
            |f, t| {
                let e = math::exp_neg_abs(s, f);
                let larger = s.div(one, s.add(one, e));
                let smaller = s.mul(e, larger);
                let above = s.lt(zero, f);
                let residual = s.select(above, s.add(s.sub(t, one), smaller), s.sub(t, smaller));
                let mut loss = zero;
                if wants_loss {
                    let linear = s.mul(s.select(above, s.sub(one, t), t), s.abs(f));
                    loss = s.add(math::ln_1p_unit(s, e), linear);
                }
                Found { residual, hessian: s.mul(smaller, larger), loss }
            },
        )
    }
}
