//! Statistics of a softmax row with its largest element apart and the others about the second largest: everything
//! about the row's entropy to f32's accuracy, however certain the row is.

use crate::cpu::blocks::NO_ELEMENT;
use crate::cpu::row::{Block, Row, RowOut, blocks_of, fold_blocks};
use crate::cpu::simd::Simd;
use crate::cpu::softmax::Odds;
use crate::cpu::storage::load_lanes;
use bytemuck::{Pod, Zeroable};

/// Of p = softmax(f z), x_k = f (z_k - second). Differences are taken before they are scaled.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct EntropyStats {
    /// The two largest logits.
    pub top: f32,
    pub second: f32,
    /// Sum of exp(x_k) over all elements but one of the largest.
    pub rest: f32,
    /// Sum of exp(x_k) x_k over the same.
    pub cross: f32,
}

/// What follows from the statistics; nothing here is a difference of larger terms.
pub struct Entropy {
    pub stats: EntropyStats,
    factor: f64,
    /// Exponent of the largest, at least 0.
    pub lead: f64,
    /// The largest against the others: its probability is `own`, p_k = exp(x_k) `share`.
    pub odds: Odds,
    /// logsumexp(f z) less the reference: log p_k = x_k - log_sum.
    pub log_sum: f64,
    /// Mean of x under p.
    pub mean: f64,
    /// H = -sum_k p_k log p_k.
    pub entropy: f64,
}

/// One class in its row.
pub struct Class {
    /// x of it, its probability, the sum of all others, and -log of its probability.
    pub x: f64,
    pub own: f64,
    pub others: f64,
    pub neg_log_prob: f64,
}

impl EntropyStats {
    #[inline(always)]
    pub fn entropy<S: Simd>(self, s: S, factor: f64) -> Entropy {
        let lead = factor * (f64::from(self.top) - f64::from(self.second));
        let odds = Odds::new(s, lead, self.rest);
        let cross = odds.share * f64::from(self.cross);
        let (log_sum, own) = (odds.log_sum(s), odds.own);
        let entropy = own * odds.neg_log_prob(s) + odds.others * log_sum - cross;
        Entropy { stats: self, factor, lead, mean: own * lead + cross, odds, log_sum, entropy }
    }
}

impl Entropy {
    /// log p_k + H of the largest.
    pub fn top_excess(&self) -> f64 {
        self.odds.others * self.lead - self.odds.share * f64::from(self.stats.cross)
    }

    /// The class with logit `z`.
    #[inline(always)]
    pub fn class<S: Simd>(&self, s: S, z: f32) -> Class {
        if z == self.stats.top {
            let odds = &self.odds;
            let (own, others) = (odds.own, odds.others);
            return Class { x: self.lead, own, others, neg_log_prob: odds.neg_log_prob(s) };
        }
        let x = self.factor * (f64::from(z) - f64::from(self.stats.second));
        let own = self.odds.share * x.exp();
        Class { x, own, others: 1.0 - own, neg_log_prob: self.log_sum - x }
    }

    /// -log p of the class with logit `z` where its rounding would be raised to a power.
    pub fn neg_log_prob_f64(&self, z: f32) -> f64 {
        if z == self.stats.top {
            return self.odds.neg_log_prob_f64();
        }
        self.odds.log_sum_f64() - self.factor * (f64::from(z) - f64::from(self.stats.second))
    }

    /// Stores `weight` exp(x_k) (`constant` + `slope` x_k), and `at_top` for every element equal to the largest.
    #[inline(always)]
    pub fn write<S: Simd>(
        &self,
        s: S,
        row: &Row,
        out: &RowOut,
        weight: f64,
        (constant, slope): (f64, f64),
        at_top: f64,
    ) {
        let (weight, at_top) = (s.splat(weight as f32), s.splat(at_top as f32));
        let (constant, slope) = (s.splat(constant as f32), s.splat(slope as f32));
        let factor = s.splat(self.factor as f32);
        let (top, second) = (s.splat(self.stats.top), s.splat(self.stats.second));
        if row.cached.get() {
            row.map_to(
                s,
                out,
                #[inline(always)]
                |z, k| {
                    // SAFETY: `stats` has filled the cache, in whole vectors.
                    let p = s.mul(weight, unsafe { s.load(row.cache_at(k)) });
                    let x = exponent(s, z, second, factor);
                    s.select(s.eq(z, top), at_top, s.mul(p, s.mul_add(slope, x, constant)))
                },
            );
            return;
        }
        row.map_to_by_four(
            s,
            out,
            #[inline(always)]
            |z, _| {
                let x = exponents(s, z, second, factor);
                let mut p = s.softmax_terms(x);
                for v in 0..4 {
                    let g = s.mul(s.mul(weight, p[v]), s.mul_add(slope, x[v], constant));
                    p[v] = s.select(s.eq(z[v], top), at_top, g);
                }
                p
            },
        );
    }
}

/// x below this has no probability; clamped, -inf times 0 is 0.
const NOTHING: f32 = -1e4;

/// x = f (z - about) as the sums see it.
#[inline(always)]
pub fn exponent<S: Simd>(s: S, z: S::F, about: S::F, factor: S::F) -> S::F {
    s.max(s.splat(NOTHING), s.mul(factor, s.sub(z, about)))
}

#[inline(always)]
pub fn exponents<S: Simd>(s: S, mut z: [S::F; 4], about: S::F, factor: S::F) -> [S::F; 4] {
    for z in &mut z {
        *z = exponent(s, *z, about, factor);
    }
    z
}

/// Statistics of a row for the factor f. A row of nothing but -inf, or with +inf or NaN, has NaN. Leaves the
/// exponentials in the row's cache, if it has one.
#[inline(always)]
pub fn stats<S: Simd>(s: S, row: &Row, factor: f32) -> EntropyStats {
    let (top, mut second) = two_largest(s, row);
    // Alone, the largest is left out; among equals its own term of 1 is taken away in the end.
    let (apart, extra) = if second < top { (top, 0.0) } else { (f32::NAN, 1.0) };
    if second == f32::NEG_INFINITY {
        second = top; // no other element counts: any reference does
    }
    let (mut rest, mut cross) = (0.0, 0.0);
    let (apart, about, f) = (s.splat(apart), s.splat(second), s.splat(factor));
    let (zero, low) = (s.zero(), s.splat(f32::NEG_INFINITY));
    blocks_of(
        s,
        std::slice::from_ref(row).first_chunk().expect("one row"),
        #[inline(always)]
        |start, [block]: [&[f32]; 1]| {
            let keep = if row.cache.is_null() { std::ptr::null_mut() } else { row.cache_at(start) };
            let sums = Block::of(block).fold_without(
                s,
                NO_ELEMENT,
                f32::NEG_INFINITY,
                [[zero; 2]; 4],
                #[inline(always)]
                || (),
                #[inline(always)]
                |mut acc: [[S::F; 2]; 4], mut z, k| {
                    for z in &mut z {
                        *z = s.select(s.eq(*z, apart), low, *z);
                    }
                    let x = exponents(s, z, about, f);
                    let term = s.softmax_terms(x);
                    for v in 0..4 {
                        if !keep.is_null() {
                            // SAFETY: the cache has room for the row, in groups of four vectors.
                            unsafe { s.store(keep.add(k + v * S::LANES), term[v]) };
                        }
                        acc[v] = [s.add(acc[v][0], term[v]), s.mul_add(term[v], x[v], acc[v][1])];
                    }
                    acc
                },
            );
            let total = |i: usize| {
                f64::from(s.reduce_add(s.add(s.add(sums[0][i], sums[1][i]), s.add(sums[2][i], sums[3][i]))))
            };
            rest += total(0);
            cross += total(1);
        },
    );
    row.cached.set(!row.cache.is_null());
    if !top.is_finite() {
        rest = f64::NAN;
    }
    EntropyStats { top, second, rest: (rest - extra) as f32, cross: cross as f32 }
}

/// The two largest values seen by each lane.
#[derive(Clone, Copy)]
struct Two<S: Simd> {
    first: S::F,
    second: S::F,
}

/// The two largest values of a row, -inf where there are none. A NaN may get lost.
#[inline(always)]
fn two_largest<S: Simd>(s: S, row: &Row) -> (f32, f32) {
    let low = s.splat(f32::NEG_INFINITY);
    let mut seen = [Two::<S> { first: low, second: low }; 4];
    blocks_of(
        s,
        std::slice::from_ref(row).first_chunk().expect("one row"),
        #[inline(always)]
        |_, blocks: [&[f32]; 1]| {
            seen = fold_blocks(
                s,
                blocks,
                f32::NEG_INFINITY,
                seen,
                #[inline(always)]
                |two: Two<S>, [z], _| Two {
                    first: s.max(two.first, z),
                    second: s.max(two.second, s.min(two.first, z)),
                },
            );
        },
    );
    let mut best = seen[0];
    for two in &seen[1..] {
        best = Two {
            first: s.max(best.first, two.first),
            second: s.max(s.max(best.second, two.second), s.min(best.first, two.first)),
        };
    }
    // No vector is longer.
    let (mut first, mut second) = ([f32::NEG_INFINITY; 16], [f32::NEG_INFINITY; 16]);
    const { assert!(S::LANES <= 16) };
    // SAFETY: room for a vector.
    unsafe {
        s.store(first.as_mut_ptr(), best.first);
        s.store(second.as_mut_ptr(), best.second);
    }
    let (mut one, mut two) = (first[0], second[0]);
    for i in 1..S::LANES {
        two = two.max(second[i]).max(one.min(first[i]));
        one = one.max(first[i]);
    }
    (one, two)
}

/// Where the element equal to `value` is that has `before` of them in front of it; the row's length if there is
/// none.
#[inline(always)]
pub fn index_of<S: Simd>(s: S, row: &Row, value: f32, before: usize) -> usize {
    let (mut found, mut left) = (row.len, before);
    let wanted = s.splat(value);
    row.blocks(
        s,
        #[inline(always)]
        |start, block| {
            let mut k = 0;
            while k < block.len() && found == row.len {
                let lanes = S::LANES.min(block.len() - k);
                // SAFETY: within the block.
                let z = unsafe { load_lanes(s, block.as_ptr().add(k), lanes) };
                let mut bits = s.mask_bits(s.eq(z, wanted)) & (u32::MAX >> (32 - lanes));
                while bits != 0 && found == row.len {
                    match left {
                        0 => found = start + k + bits.trailing_zeros() as usize,
                        _ => left -= 1,
                    }
                    bits &= bits - 1;
                }
                k += S::LANES;
            }
        },
    );
    found
}
