//! Two rows of logits as distributions p and q: what KL(p || q) and its gradients need, found in one sweep.

use crate::cpu::blocks::{NO_ELEMENT, load_four, short};
use crate::cpu::row::{Block, Row, RowOut, map_row_blocks, store_wanted};
use crate::cpu::simd::{Simd, math};
use crate::cpu::softmax::Accumulator;
use crate::cpu::storage::BLOCK;

/// Statistics of rows z and w, p = softmax(f z), q = softmax(f w). Differences are taken before they are scaled, so
/// that large logits close to each other keep their digits.
#[derive(Clone, Copy)]
pub struct PairStats {
    factor: f64,
    /// Logits near the largest; the largest but `label` where that is left out.
    pub top: [f32; 2],
    /// Sums of exp(f (z_k - top)), and those without the class left out.
    pub sum: [f64; 2],
    pub rest: [f64; 2],
    /// Probabilities of that class.
    pub own: [f64; 2],
    /// Mean of z_k - w_k under p.
    pub lead: f64,
}

impl PairStats {
    /// KL(p || q) = sum_k p_k (log p_k - log q_k).
    pub fn divergence(&self) -> f64 {
        let tops = f64::from(self.top[1]) - f64::from(self.top[0]);
        self.factor * (self.lead + tops) + (self.sum[1].ln() - self.sum[0].ln())
    }

    /// exp(f (z - top)) of row `i`.
    pub fn term(&self, i: usize, z: f32) -> f64 {
        (self.factor * (f64::from(z) - f64::from(self.top[i]))).exp()
    }
}

/// Statistics for the factor f. The terms of class `label`, if it is one, are kept apart: they may leave little of
/// the sums. Where the rows have a cache, it holds the other terms afterwards.
#[inline(always)]
pub fn stats<S: Simd>(s: S, rows: &[Row; 2], label: usize, factor: f32) -> PairStats {
    let mut sums = [(); 2].map(|()| Accumulator::scaled(s, label, factor));
    let mut lead = 0.0;
    let mut start = 0;
    while start < rows[0].len {
        let blocks = [rows[0].f32_block(s, start), rows[1].f32_block(s, start)];
        let before = sums[0].about();
        sums[0].add_block(&rows[0], start, blocks[0]);
        sums[1].add_block(&rows[1], start, blocks[1]);
        let about = sums[0].about();
        if about != before && lead != 0.0 {
            lead *= (f64::from(factor) * (f64::from(before) - f64::from(about))).exp();
        }
        lead += leads(s, &rows[0], start, blocks, label, about, factor);
        start += BLOCK;
    }
    let [p, q] = sums;
    let [p, q] = [p.sums(&rows[0]), q.sums(&rows[1])];
    let mut stats = PairStats {
        factor: f64::from(factor),
        top: [p.0, q.0],
        sum: [p.1, q.1],
        rest: [p.1, q.1],
        own: [0.0; 2],
        lead: 0.0,
    };
    if label < rows[0].len {
        let own = [rows[0].get(label), rows[1].get(label)];
        for i in 0..2 {
            if stats.top[i] == f32::NEG_INFINITY {
                stats.top[i] = own[i];
            }
            let term = stats.term(i, own[i]);
            stats.sum[i] += term;
            stats.own[i] = term / stats.sum[i];
            if i == 0 && term != 0.0 {
                lead += term * (f64::from(own[0]) - f64::from(own[1]));
            }
        }
    }
    stats.lead = lead / stats.sum[0];
    stats
}

/// Sum over a block of exp(f (z_k - about)) (z_k - w_k) without class `label`.
#[inline(always)]
fn leads<S: Simd>(
    s: S,
    row: &Row,
    start: usize,
    blocks: [Block; 2],
    label: usize,
    about: f32,
    factor: f32,
) -> f64 {
    // As the accumulator takes it where there was nothing but -inf.
    let about = if about == f32::NEG_INFINITY { 0.0 } else { about };
    let (about, f, zero) = (s.splat(about), s.splat(factor), s.zero());
    let kept = (!row.cache.is_null()).then(|| row.cache_at(start));
    let mut sum = 0.0;
    // Parts short enough for sums in f32.
    for at in (0..blocks[0].len()).step_by(short::<S>()) {
        let part = blocks.map(|block| block.part(at, short::<S>()));
        let skip = label.wrapping_sub(start + at);
        let mut acc = [zero; 4];
        for k in (0..part[0].len()).step_by(4 * S::LANES) {
            let z = part[0].four(s, k, skip, f32::NEG_INFINITY);
            let w = part[1].four(s, k, NO_ELEMENT, f32::NEG_INFINITY);
            let p = match kept {
                // SAFETY: the accumulator has filled the block's part of the cache, in groups of four vectors.
                Some(terms) => unsafe { load_four(s, terms.add(at + k), 4 * S::LANES, 0.0) },
                None => math::exp_scaled(s, z, about, f),
            };
            for v in 0..4 {
                // A class of probability 0 adds nothing, whatever the other row says.
                let difference = s.select(s.eq(p[v], zero), zero, s.sub(z[v], w[v]));
                acc[v] = s.mul_add(p[v], difference, acc[v]);
            }
        }
        sum += f64::from(s.reduce_add(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3]))));
    }
    sum
}

/// Stores `map([p, q], [z, w])` where it is wanted, p and q times `weights`; what class `label` of the statistics gets
/// is unspecified. The outputs may lie over the rows.
#[inline(always)]
pub fn map_terms<S: Simd, const G: usize>(
    s: S,
    rows: &[Row; 2],
    stats: &PairStats,
    weights: [f64; 2],
    out: [Option<&RowOut>; G],
    map: impl Fn([[S::F; 4]; 2], [[S::F; 4]; 2]) -> [[S::F; 4]; G],
) {
    let f = s.splat(stats.factor as f32);
    let cached = rows[0].cached.get();
    map_row_blocks(
        s,
        rows[0].len,
        out,
        #[inline(always)]
        |start, n, to| {
            let blocks = [rows[0].f32_block(s, start), rows[1].f32_block(s, start)];
            let mut weight = [s.zero(); 2];
            let mut terms = [std::ptr::null_mut(); 2];
            for i in 0..2 {
                let mut w = weights[i] / stats.sum[i];
                if cached {
                    terms[i] = rows[i].cache_at(start);
                    let about = rows[i].block_value(start);
                    if about != stats.top[i] {
                        w *= stats.term(i, about);
                    }
                }
                weight[i] = s.splat(w as f32);
            }
            for k in (0..n).step_by(4 * S::LANES) {
                let mut x = [[s.zero(); 4]; 2];
                let mut p = x;
                for i in 0..2 {
                    x[i] = blocks[i].four(s, k, NO_ELEMENT, 0.0);
                    p[i] = if cached {
                        // SAFETY: the first sweep filled the cache.
                        unsafe { load_four(s, terms[i].add(k), 4 * S::LANES, 0.0) }
                    } else {
                        math::exp_scaled(s, x[i], s.splat(stats.top[i]), f)
                    };
                    for v in 0..4 {
                        p[i][v] = s.mul(weight[i], p[i][v]);
                    }
                }
                // SAFETY: within the blocks to write.
                unsafe { store_wanted(s, to, k, n, map(p, x)) };
            }
        },
    );
}
