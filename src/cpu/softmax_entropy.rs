//! Statistics of a softmax row with its largest element apart: everything about the row's entropy without
//! cancellation, however certain the row is.

use crate::cpu::row::{Row, blocks_of, fold, fold_blocks};
use crate::cpu::simd::{Simd, math};
use bytemuck::{Pod, Zeroable};

/// Of p = softmax(f z), x_k = f (z_k - top). Differences are taken before they are scaled.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct EntropyStats {
    /// The largest logit.
    pub top: f32,
    /// Sum of exp(x_k) over all elements but one of the largest.
    pub rest: f32,
    /// Sum of exp(x_k) x_k.
    pub cross: f32,
}

/// What follows from the statistics; nothing here is a difference of larger terms.
#[derive(Clone, Copy)]
pub struct Entropy {
    /// Largest probability, and what makes exp(x_k) a probability.
    pub share: f64,
    /// The sum of all other probabilities.
    pub others: f64,
    /// log p_k = x_k - log_sum.
    pub log_sum: f64,
    /// Mean of x under p, at most 0.
    pub mean: f64,
    /// H = -sum_k p_k log p_k.
    pub entropy: f64,
}

impl EntropyStats {
    #[inline(always)]
    pub fn entropy<S: Simd>(&self, s: S) -> Entropy {
        let log_sum = f64::from(s.first(math::ln_1p(s, s.splat(self.rest))));
        let share = 1.0 / (1.0 + f64::from(self.rest));
        let mean = f64::from(self.cross) * share;
        Entropy { share, others: f64::from(self.rest) * share, log_sum, mean, entropy: log_sum - mean }
    }
}

/// x below this has no probability; clamped, -inf times 0 is 0.
const NOTHING: f32 = -1e4;

/// x = f (z - top) as the sums see it.
#[inline(always)]
pub fn exponent<S: Simd>(s: S, z: S::F, top: S::F, factor: S::F) -> S::F {
    s.max(s.splat(NOTHING), s.mul(factor, s.sub(z, top)))
}

/// Statistics of a row for the factor f. A row of nothing but -inf, or with +inf or NaN, has NaN.
#[inline(always)]
pub fn stats<S: Simd>(s: S, row: &Row, factor: f32) -> EntropyStats {
    let mut top = f32::NEG_INFINITY;
    let (mut tops, mut rest, mut cross) = (0.0, 0.0, 0.0);
    let f = s.splat(factor);
    blocks_of(
        s,
        std::slice::from_ref(row).first_chunk().expect("one row"),
        #[inline(always)]
        |_, blocks: [&[f32]; 1]| {
            let new = block_max(s, blocks[0]);
            if new > top {
                if top != f32::NEG_INFINITY {
                    // The largest so far are among the others from now on.
                    let step = f64::from(factor) * (f64::from(top) - f64::from(new));
                    let shrink = step.exp();
                    let all = rest + tops;
                    cross = shrink * (cross + all * step);
                    rest = shrink * all;
                    tops = 0.0;
                }
                top = new;
            }
            // Where a row so far has nothing but -inf, any reference does.
            let about = s.splat(if top == f32::NEG_INFINITY { 0.0 } else { top });
            let (zero, one) = (s.zero(), s.splat(1.0));
            let sums = fold_blocks(
                s,
                blocks,
                f32::NEG_INFINITY,
                [[zero; 3]; 4],
                #[inline(always)]
                |acc: [S::F; 3], [z], _| {
                    let x = exponent(s, z, about, f);
                    let term = math::exp_softmax(s, x);
                    let is_top = s.eq(x, zero);
                    [
                        s.add(acc[0], s.select(is_top, one, zero)),
                        s.add(acc[1], s.select(is_top, zero, term)),
                        s.mul_add(term, x, acc[2]),
                    ]
                },
            );
            let total = |i: usize| {
                f64::from(s.reduce_add(s.add(s.add(sums[0][i], sums[1][i]), s.add(sums[2][i], sums[3][i]))))
            };
            tops += total(0);
            rest += total(1);
            cross += total(2);
        },
    );
    if top == f32::NEG_INFINITY {
        rest = f64::NAN;
    }
    EntropyStats { top, rest: (rest + (tops - 1.0)) as f32, cross: cross as f32 }
}

/// A NaN may get lost; the sums find it.
#[inline(always)]
fn block_max<S: Simd>(s: S, block: &[f32]) -> f32 {
    let low = s.splat(f32::NEG_INFINITY);
    let top = fold(
        s,
        block,
        f32::NEG_INFINITY,
        [low; 4],
        #[inline(always)]
        |acc, z, _| s.max(acc, z),
    );
    s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])))
}

/// The first element equal to `value`; the row's length if there is none.
pub fn index_of(row: &Row, value: f32) -> usize {
    (0..row.len).find(|&k| row.get(k) == value).unwrap_or(row.len)
}
