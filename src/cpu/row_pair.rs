//! Two rows of logits as distributions p and q: what KL(p || q) and its gradients need, found in one sweep.

use crate::cpu::row::{Row, blocks_of, fold_blocks, fold_by_four};
use crate::cpu::simd::{Simd, math};

/// Statistics of rows z and w, p = softmax(f z), q = softmax(f w). Differences are taken before they are scaled, so
/// that large logits close to each other keep their digits.
#[derive(Clone, Copy)]
pub struct PairStats {
    factor: f64,
    /// The largest logits.
    pub top: [f32; 2],
    /// Sums of exp(f (z_k - top)).
    pub sum: [f64; 2],
    /// Mean of z_k - w_k under p.
    pub lead: f64,
}

impl PairStats {
    /// KL(p || q) = sum_k p_k (log p_k - log q_k).
    pub fn divergence(&self) -> f64 {
        let tops = f64::from(self.top[1]) - f64::from(self.top[0]);
        self.factor * (self.lead + tops) + (self.sum[1].ln() - self.sum[0].ln())
    }
}

/// Statistics for the factor f.
#[inline(always)]
pub fn stats<S: Simd>(s: S, rows: &[Row; 2], factor: f32) -> PairStats {
    let mut top = [f32::NEG_INFINITY; 2];
    let mut sum = [0.0; 2];
    let mut lead = 0.0;
    let f = s.splat(factor);
    blocks_of(
        s,
        rows,
        #[inline(always)]
        |_, blocks| {
            let low = s.splat(f32::NEG_INFINITY);
            let most = fold_blocks(
                s,
                blocks,
                f32::NEG_INFINITY,
                [[low; 2]; 4],
                #[inline(always)]
                |m: [S::F; 2], [z, w], _| [s.max(m[0], z), s.max(m[1], w)],
            );
            for i in 0..2 {
                // A NaN may get lost here; the sums find it.
                let new = s.reduce_max(s.max(s.max(most[0][i], most[1][i]), s.max(most[2][i], most[3][i])));
                if new > top[i] {
                    let shrink = if top[i] == f32::NEG_INFINITY {
                        0.0
                    } else {
                        (f64::from(factor) * (f64::from(top[i]) - f64::from(new))).exp()
                    };
                    sum[i] *= shrink;
                    if i == 0 {
                        lead *= shrink;
                    }
                    top[i] = new;
                }
            }
            // Where a row so far has nothing but -inf: exp(z - 0) is 0 for those and keeps a NaN.
            let about = top.map(|t| s.splat(if t == f32::NEG_INFINITY { 0.0 } else { t }));
            let zero = s.zero();
            let sums = fold_by_four(
                s,
                blocks,
                f32::NEG_INFINITY,
                [[zero; 3]; 4],
                #[inline(always)]
                |mut acc: [[S::F; 3]; 4], [z, w]| {
                    let p = math::exp_scaled(s, z, about[0], f);
                    let q = math::exp_scaled(s, w, about[1], f);
                    for v in 0..4 {
                        // A class of probability 0 adds nothing, whatever the other row says.
                        let difference = s.select(s.eq(p[v], zero), zero, s.sub(z[v], w[v]));
                        let [of_p, of_q, lead] = acc[v];
                        acc[v] = [s.add(of_p, p[v]), s.add(of_q, q[v]), s.mul_add(p[v], difference, lead)];
                    }
                    acc
                },
            );
            let total = |i: usize| {
                f64::from(s.reduce_add(s.add(s.add(sums[0][i], sums[1][i]), s.add(sums[2][i], sums[3][i]))))
            };
            sum[0] += total(0);
            sum[1] += total(1);
            lead += total(2);
        },
    );
    PairStats { factor: f64::from(factor), top, sum, lead: lead / sum[0] }
}
