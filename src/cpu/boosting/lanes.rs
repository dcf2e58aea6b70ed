//! Short rows of a softmax, one in each lane.

use super::Sweep;
use super::softmax::About;
use crate::cpu::narrow::{Lanes, Tiles};
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage;
use crate::registry::DType;
use std::ops::Range;

impl Sweep<'_> {
    #[inline(always)]
    pub fn lanes<S: Simd>(&self, s: S) {
        let mut tiles = [const { Tiles::new() }; 2];
        for first in self.range.clone().step_by(S::LANES) {
            self.group(s, first..self.range.end.min(first + S::LANES), &mut tiles);
        }
    }

    #[inline(always)]
    fn group<S: Simd>(&self, s: S, rows: Range<usize>, tiles: &mut [Tiles; 2]) {
        let (first, count, followed) = (rows.start, rows.len(), rows.end < self.range.end);
        let (zero, one, low) = (s.zero(), s.splat(1.0), s.splat(f32::NEG_INFINITY));
        let n = self.rows.pred.columns;
        let [mut f, mut t] = tiles.each_mut().map(|tiles| tiles.classes(n, rows.clone(), low));
        // SAFETY: rows of the call.
        unsafe {
            f.read(s, &self.rows.pred, followed);
            t.read(s, &self.rows.target, followed);
        }
        let top = f.top(s);
        let about = About::new(s, top);
        // The first of the largest is kept apart: 1 - p keeps its digits.
        let (mut before, mut rest) = (s.first_n(0), zero);
        for k in (0..n).step_by(4) {
            let mut z = [low; 4];
            for v in 0..4.min(n - k) {
                let (value, is_top) = (f.get(s, k + v), s.eq(f.get(s, k + v), top));
                z[v] = s.select(s.and(is_top, s.not(before)), low, value);
                before = s.or(before, is_top);
            }
            let e = about.exp(s, z);
            for v in 0..4.min(n - k) {
                f.set_term(s, k + v, e[v]);
            }
            rest = s.add(rest, s.add(s.add(e[0], e[1]), s.add(e[2], e[3])));
        }
        let term = about.exp(s, [top; 4])[0];
        let rest = s.div(rest, term);
        let own = s.div(one, s.add(one, rest));
        let (share, others, log) = (s.div(own, term), s.mul(rest, own), math::ln_1p(s, rest));
        // What the residual of the largest is the target less and plus.
        let is_certain = s.lt(others, own);
        let (less, plus) = (s.select(is_certain, one, own), s.select(is_certain, others, zero));
        let own_hessian = s.mul(own, others);
        let (mut before, mut loss) = (s.first_n(0), zero);
        for k in 0..n {
            let (value, target) = (f.get(s, k), t.get(s, k));
            let is_top = s.eq(value, top);
            let is_first = s.and(is_top, s.not(before));
            before = s.or(before, is_top);
            let p = s.mul(f.term(s, k), share);
            let residual = s.select(is_first, s.add(s.sub(target, less), plus), s.sub(target, p));
            let hessian = s.select(is_first, own_hessian, s.mul(p, s.sub(one, p)));
            let cost = s.mul(target, s.add(s.sub(top, value), log));
            loss = s.add(loss, s.select(s.eq(target, zero), zero, cost));
            f.set(s, k, residual);
            t.set(s, k, hessian);
        }
        if let Some(losses) = &self.losses {
            let values = Lanes::of(s, loss).0;
            (0..count).for_each(|i| losses.set(first + i, values[i]));
        }
        for (values, to) in [&mut f, &mut t].into_iter().zip(self.to) {
            if !to.is_null() {
                let from = values.by_rows(s);
                // SAFETY: room for these rows, one after the other.
                unsafe {
                    let to = to.add((first - self.range.start) * n);
                    storage::write(s, DType::F32, from, to.cast(), count * n, false);
                }
            }
        }
    }
}
