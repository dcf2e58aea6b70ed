//! Rows of an additive model and its targets: negative slopes, second derivatives and loss of each, for gradient
//! boosting.

#[path = "boosting/lanes.rs"]
mod lanes;

use crate::cpu::blocks::lane;
use crate::cpu::narrow;
use crate::cpu::parallel::Cells;
use crate::cpu::row::{Block, Cache, Row, blocks_of};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::softmax::{NO_LABEL, row_top};
use crate::cpu::softmax_entropy::index_of;
use crate::cpu::storage::{BLOCK, Scratch};
use crate::registry::Floats;
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
        let cache = Cache::of_thread(pred.columns);
        let mut scratch = [const { Scratch::<BLOCK>::new() }; 3];
        for (i, r) in self.range.clone().enumerate() {
            // SAFETY: a row of both buffers, and this one's own outputs.
            let [f, t, terms] = scratch.each_mut().map(Scratch::ptr);
            let (rows, to) = unsafe {
                let rows =
                    [Row::new(&pred, r, f, cache, 0), Row::new(&target, r, t, std::ptr::null_mut(), 0)];
                (rows, self.to.map(|to| if to.is_null() { to } else { to.add(i * pred.columns) }))
            };
            let row = OneRow { rows, to, terms, wants_loss: self.losses.is_some() };
            let loss = match kind {
                Kind::Squared => row.squared(s),
                Kind::Logistic => row.logistic(s),
                Kind::Softmax => row.softmax(s),
            };
            if let Some(losses) = &self.losses {
                losses.set(r, loss as f32);
            }
        }
    }
}

struct OneRow {
    /// The model and the target.
    rows: [Row; 2],
    to: [*mut f32; 2],
    /// Room for a block.
    terms: *mut f32,
    wants_loss: bool,
}

impl OneRow {
    /// Sum of the terms of the loss. `each` gets a vector of the model, one of the target, and its place in the block
    /// that begins at `start`; beyond the end the model is `fill` and the target 0.
    #[inline(always)]
    fn sweep<S: Simd, E: Fn(S::F, S::F, usize) -> Found<S>>(
        &self,
        s: S,
        fill: f32,
        block: impl Fn(usize, &[f32]) -> E,
    ) -> f64 {
        let mut loss = 0.0;
        let mut unwanted = Scratch::<BLOCK>::new();
        let unwanted = unwanted.ptr();
        blocks_of(
            s,
            &self.rows,
            #[inline(always)]
            |start, [f, t]| {
                let (n, mut sum, mut k) = (f.len(), [s.zero(); 2], 0);
                let each = block(start, f);
                let [residuals, hessian] =
                    self.to.map(|to| if to.is_null() { unwanted } else { to.wrapping_add(start) });
                // SAFETY: within the blocks, and the row to write.
                unsafe {
                    let (f, t) = (f.as_ptr(), t.as_ptr());
                    while k + S::LANES <= n {
                        let found = each(s.load(f.add(k)), s.load(t.add(k)), k);
                        s.store(residuals.add(k), found.residual);
                        s.store(hessian.add(k), found.hessian);
                        sum = [sum[1], s.add(sum[0], found.loss)];
                        k += S::LANES;
                    }
                    if k < n {
                        let f = s.load_partial(f.add(k), n - k, fill);
                        let found = each(f, s.load_partial(t.add(k), n - k, 0.0), k);
                        s.store_partial(residuals.add(k), n - k, found.residual);
                        s.store_partial(hessian.add(k), n - k, found.hessian);
                        sum[0] = s.add(sum[0], found.loss);
                    }
                }
                loss += f64::from(s.reduce_add(s.add(sum[0], sum[1])));
            },
        );
        loss
    }

    #[inline(always)]
    fn squared<S: Simd>(&self, s: S) -> f64 {
        0.5 * self.sweep(
            s,
            0.0,
            #[inline(always)]
            |_, _| {
                #[inline(always)]
                |f, t, _| {
                    let residual = s.sub(t, f);
                    Found { residual, hessian: s.splat(1.0), loss: s.mul(residual, residual) }
                }
            },
        )
    }

    /// With e = exp(-|f|): log(1 + e) + (1 - t) max(f, 0) + t max(-f, 0).
    #[inline(always)]
    fn logistic<S: Simd>(&self, s: S) -> f64 {
        let (one, zero) = (s.splat(1.0), s.zero());
        self.sweep(
            s,
            // The loss of which for a target of 0 is 0.
            -f32::MAX,
            #[inline(always)]
            |_, _| {
                #[inline(always)]
                |f, t, _| {
                    let e = math::exp_neg_abs(s, f);
                    let larger = s.div(one, s.add(one, e));
                    let smaller = s.mul(e, larger);
                    let above = s.lt(zero, f);
                    let residual = s.select(above, s.add(s.sub(t, one), smaller), s.sub(t, smaller));
                    let mut loss = zero;
                    if self.wants_loss {
                        let linear = s.mul(s.select(above, s.sub(one, t), t), s.abs(f));
                        loss = s.add(math::ln_1p_unit(s, e), linear);
                    }
                    Found { residual, hessian: s.mul(smaller, larger), loss }
                }
            },
        )
    }

    #[inline(always)]
    fn softmax<S: Simd>(&self, s: S) -> f64 {
        let row = &self.rows[0];
        let top = row_top(s, row, NO_LABEL);
        // One of the largest is kept apart: 1 - p keeps its digits.
        let largest = index_of(s, row, top, 0);
        let about = About::new(s, s.splat(top));
        let mut rest = 0.0;
        blocks_of(
            s,
            std::slice::from_ref(row).first_chunk().expect("one row"),
            #[inline(always)]
            |start, [block]: [&[f32]; 1]| {
                rest += terms(s, block, largest.wrapping_sub(start), &about, self.terms_at(start))
            },
        );
        let term = f64::from(s.first(about.exp(s, [s.splat(top); 4])[0]));
        let rest = rest / term;
        let total = 1.0 + rest;
        let (own, others) = ((1.0 / total) as f32, (rest / total) as f32);
        let share = s.splat((1.0 / (total * term)) as f32);
        // What the residual of the largest is the target less and plus.
        let (less, plus) = if others < own { (1.0, others) } else { (own, 0.0) };
        let (one, zero, log, top) = (s.splat(1.0), s.zero(), s.splat(rest.ln_1p() as f32), s.splat(top));
        self.sweep(
            s,
            f32::NEG_INFINITY,
            #[inline(always)]
            |start, block| {
                let (e, largest) = (self.terms_at(start), largest.wrapping_sub(start));
                if row.cache.is_null() {
                    terms(s, block, largest, &about, e);
                }
                #[inline(always)]
                move |f, t, k| {
                    // SAFETY: the terms of the block, in whole vectors.
                    let p = s.mul(unsafe { s.load(e.add(k)) }, share);
                    let (mut residual, mut hessian) = (s.sub(t, p), s.mul(p, s.sub(one, p)));
                    if largest.wrapping_sub(k) < S::LANES {
                        let here = lane(s, largest - k);
                        residual = s.select(here, s.add(s.sub(t, s.splat(less)), s.splat(plus)), residual);
                        hessian = s.select(here, s.splat(own * others), hessian);
                    }
                    // An impossible class that is not asked for costs nothing.
                    let cost = s.mul(t, s.add(s.sub(top, f), log));
                    Found { residual, hessian, loss: s.select(s.eq(t, zero), zero, cost) }
                }
            },
        )
    }

    /// Where the terms of the block that begins at `start` are: a row that is too long for the cache has but one block.
    #[inline(always)]
    fn terms_at(&self, start: usize) -> *mut f32 {
        if self.rows[0].cache.is_null() { self.terms } else { self.rows[0].cache_at(start) }
    }
}

/// What exponentials of a row are counted from.
struct About<S: Simd> {
    /// Taken away first where logits are so large that this is exact for those that count; else 0.
    shift: S::F,
    power: math::PowerOver<S>,
}

impl<S: Simd> About<S> {
    #[inline(always)]
    fn new(s: S, top: S::F) -> Self {
        let shift = s.select(s.lt(s.abs(top), s.splat(65536.0)), s.zero(), top);
        About { shift, power: math::PowerOver::near(s, s.sub(top, shift)) }
    }

    #[inline(always)]
    fn exp(&self, s: S, mut f: [S::F; 4]) -> [S::F; 4] {
        for f in &mut f {
            *f = s.sub(*f, self.shift);
        }
        s.exp_over(f, &self.power)
    }
}

/// Sum of the exponentials of a block without element `skip`; they are left at `to`, in groups of four vectors.
#[inline(always)]
fn terms<S: Simd>(s: S, block: &[f32], skip: usize, about: &About<S>, to: *mut f32) -> f64 {
    let sum = Block::of(block).fold_without(
        s,
        skip,
        f32::NEG_INFINITY,
        [s.zero(); 4],
        #[inline(always)]
        || (),
        #[inline(always)]
        |mut sum, f, k| {
            let e = about.exp(s, f);
            for v in 0..4 {
                // SAFETY: there is room.
                unsafe { s.store(to.add(k + v * S::LANES), e[v]) };
            }
            // One accumulator: registers are short.
            sum[0] = s.add(sum[0], s.add(s.add(e[0], e[1]), s.add(e[2], e[3])));
            sum
        },
    );
    f64::from(s.reduce_add(sum[0]))
}
