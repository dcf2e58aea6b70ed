//! Rows of a softmax that fill vectors of their own.

#![allow(clippy::redundant_closure)] // a reference in its place would be called, not inlined

use crate::cpu::blocks::{NO_ELEMENT, fold, lane, short, store_four};
use crate::cpu::row::Block;
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::block_max;
use crate::cpu::storage::{BLOCK, Scratch};

/// What exponentials of a row are counted from.
pub struct About<S: Simd> {
    /// Taken away first where logits are so large that this is exact for those that count; else 0.
    shift: S::F,
    power: math::PowerOver<S>,
}

impl<S: Simd> About<S> {
    #[inline(always)]
    pub fn new(s: S, top: S::F) -> Self {
        let shift = s.select(s.lt(s.abs(top), s.splat(65536.0)), s.zero(), top);
        About { shift, power: math::PowerOver::near(s, s.sub(top, shift)) }
    }

    #[inline(always)]
    pub fn exp(&self, s: S, mut f: [S::F; 4]) -> [S::F; 4] {
        for f in &mut f {
            *f = s.sub(*f, self.shift);
        }
        s.exp_over(f, &self.power)
    }
}

/// Adds the exponentials of a block without element `skip` to a sum, and finds the largest logit so far. They are left
/// at `to`, in groups of four vectors.
#[inline(always)]
fn terms<S: Simd>(
    s: S,
    block: Block,
    skip: usize,
    about: &About<S>,
    to: *mut f32,
    (mut sum, mut top): (S::D, S::F),
    mut between: impl FnMut(),
) -> (S::D, S::F) {
    for start in (0..block.len()).step_by(short::<S>()) {
        let [part, highest, ..] = block.part(start, short::<S>()).fold_without(
            s,
            skip.wrapping_sub(start),
            f32::NEG_INFINITY,
            [s.zero(), top, top, top],
            #[inline(always)]
            || between(),
            #[inline(always)]
            |[sum, top, ..], f, k| {
                let top = s.max(top, s.max(s.max(f[0], f[1]), s.max(f[2], f[3])));
                let e = about.exp(s, f);
                for v in 0..4 {
                    // SAFETY: there is room.
                    unsafe { s.store(to.add(start + k + v * S::LANES), e[v]) };
                }
                // One accumulator: registers are short.
                let sum = s.add(sum, s.add(s.add(e[0], e[1]), s.add(e[2], e[3])));
                [sum, top, top, top]
            },
        );
        (sum, top) = (s.d_add(sum, part), highest);
    }
    (sum, top)
}

/// The softmax of a row of logits.
#[derive(Clone, Copy)]
pub struct Softmax<S: Simd> {
    /// What exponentials are counted from.
    reference: f32,
    /// What makes them probabilities.
    share: S::F,
    /// The largest logit, and the rest of the sum over its exponential.
    top: S::F,
    pub rest: f64,
    /// The class with more than half of the probability, if there is one, and that of the others: what 1 - p leaves
    /// has not its digits.
    pub sure: usize,
    others: S::F,
    product: S::F,
}

impl<S: Simd> Softmax<S> {
    /// Leaves the exponentials at `kept`, in groups of four vectors, unless that is null. `between()` is called for
    /// every four whole vectors, once or more often.
    #[inline(always)]
    pub fn new(
        s: S,
        len: usize,
        block: impl Fn(usize) -> Block,
        kept: *mut f32,
        mut between: impl FnMut(),
    ) -> Self {
        let mut scratch = Scratch::<BLOCK>::new();
        let mut reference = block_max(s, block(0).part(0, 4 * S::LANES), NO_ELEMENT);
        let (mut top, mut sure) = (f32::NEG_INFINITY, NO_ELEMENT);
        let (mut moved, mut term) = (false, 0.0);
        let rest = loop {
            let about = About::new(s, s.splat(reference));
            let mut found = (s.d_zero(), s.splat(f32::NEG_INFINITY));
            for start in (0..len).step_by(BLOCK) {
                let to = if kept.is_null() { scratch.ptr() } else { kept.wrapping_add(start) };
                found = terms(
                    s,
                    block(start),
                    sure.wrapping_sub(start),
                    &about,
                    to,
                    found,
                    #[inline(always)]
                    || between(),
                );
            }
            let sum = s.d_sum(found.0);
            if sure != NO_ELEMENT {
                break sum;
            }
            top = s.reduce_max(found.1);
            // Much larger ones than the first, though not so much that digits are lost.
            if top > reference + 40.0 && !moved {
                (reference, moved) = (top, true);
                continue;
            }
            term = f64::from(s.first(about.exp(s, [s.splat(top); 4])[0]));
            if !(sum < 2.0 * term) {
                break sum - term;
            }
            for start in (0..len).step_by(BLOCK) {
                if let Some(at) = position(s, block(start), top) {
                    sure = start + at;
                    break;
                }
            }
            if !kept.is_null() {
                let mut rest = 0.0;
                // SAFETY: those kept; that of the class is not used again.
                let terms = unsafe { std::slice::from_raw_parts_mut(kept, len) };
                terms[sure] = 0.0;
                for block in terms.chunks(short::<S>()) {
                    let sum = fold(
                        s,
                        block,
                        0.0,
                        [s.zero(); 4],
                        #[inline(always)]
                        |sum, e, _| s.add(sum, e),
                    );
                    rest += f64::from(s.reduce_add(s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3]))));
                }
                break rest;
            }
        };
        let (total, rest) = (term + rest, rest / term);
        let others = rest / (1.0 + rest);
        Softmax {
            reference,
            share: s.splat((1.0 / total) as f32),
            top: s.splat(top),
            rest,
            sure,
            others: s.splat(others as f32),
            product: s.splat((others / (1.0 + rest)) as f32),
        }
    }

    /// Of a class that is not sure.
    #[inline(always)]
    fn slope(&self, s: S, e: S::F, t: S::F) -> [S::F; 2] {
        let p = s.mul(e, self.share);
        [s.sub(t, p), s.mul_add(s.neg(p), p, p)]
    }

    /// What the loss of a class is more than that of the largest; an impossible one that is not asked for costs
    /// nothing.
    #[inline(always)]
    fn cost(&self, s: S, f: S::F, t: S::F) -> S::F {
        s.select(s.eq(t, s.zero()), t, s.sub(self.top, f))
    }

    /// Residuals and second derivatives of some elements from their exponentials and targets; `sure` is that class
    /// among them.
    #[inline(always)]
    pub fn slopes(&self, s: S, e: [S::F; 4], t: [S::F; 4], sure: usize) -> [[S::F; 4]; 2] {
        let (mut residual, mut hessian) = ([s.zero(); 4], [s.zero(); 4]);
        for v in 0..4 {
            [residual[v], hessian[v]] = self.slope(s, e[v], t[v]);
        }
        if sure < 4 * S::LANES {
            for v in 0..4 {
                let here = lane(s, sure.wrapping_sub(v * S::LANES));
                residual[v] = s.select(here, s.add(s.sub(t[v], s.splat(1.0)), self.others), residual[v]);
                hessian[v] = s.select(here, self.product, hessian[v]);
            }
        }
        [residual, hessian]
    }

    /// Sums of targets, and of their products with costs.
    #[inline(always)]
    fn costs(&self, s: S, f: [S::F; 4], t: [S::F; 4], sums: [S::F; 2]) -> [S::F; 2] {
        let mut x = f;
        for v in 0..4 {
            x[v] = self.cost(s, f[v], t[v]);
        }
        let more = s.add(s.mul_add(t[0], x[0], s.mul(t[1], x[1])), s.mul_add(t[2], x[2], s.mul(t[3], x[3])));
        let all = s.add(s.add(t[0], t[1]), s.add(t[2], t[3]));
        [s.add(sums[0], all), s.add(sums[1], more)]
    }
}

/// Index of the first `value` of a block.
#[inline(always)]
fn position<S: Simd>(s: S, block: Block, value: f32) -> Option<usize> {
    let value = s.splat(value);
    for k in (0..block.len()).step_by(4 * S::LANES) {
        let z = block.four(s, k, NO_ELEMENT, f32::NAN);
        for v in 0..4 {
            let bits = s.mask_bits(s.eq(z[v], value));
            if bits != 0 {
                return Some(k + v * S::LANES + bits.trailing_zeros() as usize);
            }
        }
    }
    None
}

/// Part of a row in f32.
pub struct Part {
    /// Where it begins.
    pub start: usize,
    /// The model and the target.
    pub rows: [Block; 2],
    pub to: [*mut f32; 2],
}

impl Part {
    /// Writes the part from the softmax and the exponentials at `kept`, in groups of four vectors; or from new ones
    /// at `again`. Sums as in [`Softmax::costs`].
    #[inline(always)]
    pub fn softmax<S: Simd>(
        &self,
        s: S,
        softmax: &Softmax<S>,
        kept: *const f32,
        again: *mut f32,
    ) -> [S::F; 2] {
        let mut from = kept.wrapping_add(self.start);
        if kept.is_null() {
            from = again;
            let about = About::new(s, s.splat(softmax.reference));
            let none = (s.d_zero(), s.zero());
            terms(
                s,
                self.rows[0],
                NO_ELEMENT,
                &about,
                again,
                none,
                #[inline(always)]
                || (),
            );
        }
        let (len, sure) = (self.rows[0].len(), softmax.sure.wrapping_sub(self.start));
        let (mut sums, mut k) = ([s.zero(); 2], 0);
        while k + 4 * S::LANES <= len {
            if sure.wrapping_sub(k) < 4 * S::LANES {
                sums = self.four(s, softmax, from, k, sure, sums);
            } else {
                // One by one: four would not fit the registers.
                let mut some = [s.zero(); 2];
                for v in 0..4 {
                    some = self.vector(s, softmax, from, k + v * S::LANES, some);
                }
                sums = [s.add(sums[0], some[0]), s.add(sums[1], some[1])];
            }
            k += 4 * S::LANES;
        }
        if k < len {
            sums = self.four(s, softmax, from, k, sure, sums);
        }
        sums
    }

    /// A whole vector, without the class that is sure.
    #[inline(always)]
    fn vector<S: Simd>(
        &self,
        s: S,
        softmax: &Softmax<S>,
        terms: *const f32,
        k: usize,
        [all, more]: [S::F; 2],
    ) -> [S::F; 2] {
        // SAFETY: within the rows, the terms and the outputs.
        unsafe {
            let [f, t] = self.rows.map(
                #[inline(always)]
                |row| s.load(row.floats().add(k)),
            );
            let [residual, hessian] = softmax.slope(s, s.load(terms.add(k)), t);
            for (to, value) in self.to.into_iter().zip([residual, hessian]) {
                if !to.is_null() {
                    s.store(to.add(k), value);
                }
            }
            [s.add(all, t), s.mul_add(t, softmax.cost(s, f, t), more)]
        }
    }

    #[inline(always)]
    fn four<S: Simd>(
        &self,
        s: S,
        softmax: &Softmax<S>,
        terms: *const f32,
        k: usize,
        sure: usize,
        sums: [S::F; 2],
    ) -> [S::F; 2] {
        let f = self.rows[0].four(s, k, NO_ELEMENT, 0.0);
        let t = self.rows[1].four(s, k, NO_ELEMENT, 0.0);
        let mut e = f;
        // SAFETY: terms are in groups of four vectors; the outputs have room for the part.
        unsafe {
            for v in 0..4 {
                e[v] = s.load(terms.add(k + v * S::LANES));
            }
            let values = softmax.slopes(s, e, t, sure.wrapping_sub(k));
            for i in 0..2 {
                if !self.to[i].is_null() {
                    store_four(s, self.to[i].add(k), self.rows[0].len() - k, values[i]);
                }
            }
        }
        softmax.costs(s, f, t, sums)
    }
}
