//! l = a q^gamma c, with m = z or -z, c = softplus(-m), q = sigmoid(-m).

use crate::cpu::elements::{Block, ElementLoss};
use crate::cpu::simd::{Simd, batch::Function};

struct FocalLoss {
    gamma: f32,
    /// Weights of negative and positive elements.
    weights: [f32; 2],
}

/// An element as value and gradient need it.
struct Terms<S: Simd> {
    positive: S::M,
    /// Probability of being right.
    right: S::F,
    /// Probability of being wrong.
    q: S::F,
    c: S::F,
    /// a q^gamma.
    factor: S::F,
}

impl FocalLoss {
    /// Whether an element is positive, and m.
    #[inline(always)]
    fn margin<S: Simd>(s: S, [z, t, ..]: [S::F; 5]) -> (S::M, S::F) {
        let positive = s.gt(t, s.splat(0.5));
        let z = s.mul_add(t, s.zero(), z); // the NaN of a target stays
        (positive, s.select(positive, z, s.neg(z)))
    }

    #[inline(always)]
    fn terms<S: Simd>(&self, s: S, x @ [_, _, e, tail, power]: [S::F; 5]) -> Terms<S> {
        let (positive, m) = Self::margin(s, x);
        let near = s.div(s.splat(1.0), s.add(s.splat(1.0), e));
        let far = s.mul(e, near);
        let is_right = s.gt(m, s.zero());
        let (right, q) = (s.select(is_right, near, far), s.select(is_right, far, near));
        let c = s.add(s.max(s.zero(), s.neg(m)), tail);
        let power = match self.gamma {
            0.0 => s.splat(1.0),
            1.0 => q,
            2.0 => s.mul(q, q),
            _ => {
                let (_, rest) = self.exponent(s, m, tail);
                s.mul_add(power, s.select(s.gt(power, s.zero()), rest, s.zero()), power)
            }
        };
        let weight = s.select(positive, s.splat(self.weights[1]), s.splat(self.weights[0]));
        Terms { positive, right, q, c, factor: s.mul(weight, power) }
    }

    /// x of sigmoid(-m)^gamma = e^x, x = -gamma softplus(m), in two floats: its rounding error is a relative error of
    /// the power.
    #[inline(always)]
    fn exponent<S: Simd>(&self, s: S, m: S::F, tail: S::F) -> (S::F, S::F) {
        let gamma = s.splat(-self.gamma);
        let above = s.max(s.zero(), m);
        let high = s.add(above, tail);
        let low = s.sub(tail, s.sub(high, above));
        let x = s.mul(gamma, high);
        (x, s.mul_add(gamma, low, s.mul_add(gamma, high, s.neg(x))))
    }
}

/// Inputs: z, t; e^-|z|, ln(1 + e^-|z|), and the power of q but for a factor.
impl ElementLoss<5, 1> for FocalLoss {
    const DERIVED: usize = 3;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<5>, _: bool) {
        block.apply(s, Function::Logistic, 0, 2);
        if ![0.0, 1.0, 2.0].contains(&self.gamma) {
            block.map(
                s,
                4,
                #[inline(always)]
                |x| self.exponent(s, Self::margin(s, x).1, x[3]).0,
            );
            block.apply(s, Function::Exp, 4, 4);
        }
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: [S::F; 5]) -> S::F {
        let terms = self.terms(s, x);
        s.mul(terms.factor, terms.c)
    }

    /// dl/dm = -a q^gamma (q + gamma (1 - q) c).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: [S::F; 5]) -> [S::F; 1] {
        let Terms { positive, right, q, c, factor } = self.terms(s, x);
        let slope = s.mul_add(s.mul(s.splat(self.gamma), right), c, q);
        let g = s.mul(factor, slope);
        [s.select(positive, s.neg(g), g)]
    }
}

elements_entry!(
    focal_loss,
    rows * classes,
    [full logits, full target, derived e, derived tail, derived power],
    [grad_logits],
    |call: &Call| {
        let alpha = call.opts.alpha as f32;
        let weights = if alpha < 0.0 { [1.0, 1.0] } else { [1.0 - alpha, alpha] };
        FocalLoss { gamma: call.opts.gamma as f32, weights }
    }
);
