//! l = w ((1 - t) softplus(z) + q t softplus(-z)), with w = weight, q = pos_weight.

use crate::cpu::elements::{Block, ElementLoss};
use crate::cpu::simd::{Simd, batch::Function};

struct BceWithLogits {
    want_target: bool,
}

/// Inputs: z, t, w, q; e^-|z|, ln(1 + e^-|z|).
impl ElementLoss<6, 2> for BceWithLogits {
    const DERIVED: usize = 2;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<6>, _: bool) {
        block.apply(s, Function::Logistic, 0, 4);
    }

    /// softplus(z) and softplus(-z) have a common tail; one has |z| besides.
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x @ [z, .., tail]: [S::F; 6]) -> S::F {
        let [against, with] = factors(s, x);
        s.mul_add(against, s.abs(z), s.mul(s.add(against, with), tail))
    }

    /// dl/dz = w ((1 - t) sigmoid(z) - q t sigmoid(-z));  dl/dt = w (q softplus(-z) - softplus(z)).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x @ [z, _, w, q, e, tail]: [S::F; 6]) -> [S::F; 2] {
        let [against, with] = factors(s, x);
        let size = s.div(s.mul_add(s.neg(with), e, against), s.add(s.splat(1.0), e));
        let dz = s.select(s.lt(z, s.zero()), s.neg(size), size);
        if !self.want_target {
            return [dz, s.zero()];
        }
        let (up, down) = (s.add(s.max(s.zero(), z), tail), s.add(s.max(s.zero(), s.neg(z)), tail));
        [dz, s.mul(w, s.sub(s.mul(q, down), up))]
    }
}

/// w (1 - t) and w q t: the weight of what z speaks against, and of what it speaks for.
#[inline(always)]
fn factors<S: Simd>(s: S, [z, t, w, q, ..]: [S::F; 6]) -> [S::F; 2] {
    // w - w t rounded twice would lose the digits of a small 1 - t.
    let negative = if S::FMA { s.mul_add(s.neg(w), t, w) } else { s.mul(w, s.sub(s.splat(1.0), t)) };
    let positive = s.mul(s.mul(w, q), t);
    let below = s.lt(z, s.zero());
    [s.select(below, positive, negative), s.select(below, negative, positive)]
}

elements_entry!(
    bce_with_logits,
    rows * classes,
    [full logits, full target, full_or_one weight, row_or_one pos_weight, derived e, derived tail],
    [grad_logits, grad_target],
    |call: &Call| BceWithLogits { want_target: call.grad_target.is_some() }
);
