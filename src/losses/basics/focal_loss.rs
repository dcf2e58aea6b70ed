//! l = a q^gamma c, with m = z or -z, c = softplus(-m), q = sigmoid(-m).

use crate::cpu::elements::ElementLoss;
use crate::cpu::simd::{Simd, math};

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
    #[inline(always)]
    fn terms<S: Simd>(&self, s: S, [z, t]: [S::F; 2]) -> Terms<S> {
        let positive = s.gt(t, s.splat(0.5));
        let z = s.mul_add(t, s.zero(), z); // the NaN of a target stays
        let m = s.select(positive, z, s.neg(z));
        let e = math::exp(s, s.neg(s.abs(z)));
        let near = s.recip(s.add(s.splat(1.0), e));
        let far = s.mul(e, near);
        let is_right = s.gt(m, s.zero());
        let (right, q) = (s.select(is_right, near, far), s.select(is_right, far, near));
        let tail = math::ln_1p_unit(s, e);
        let c = s.add(s.max(s.zero(), s.neg(m)), tail);
        let power = match self.gamma {
            0.0 => s.splat(1.0),
            1.0 => q,
            2.0 => s.mul(q, q),
            _ => self.power(s, m, tail),
        };
        let weight = s.select(positive, s.splat(self.weights[1]), s.splat(self.weights[0]));
        Terms { positive, right, q, c, factor: s.mul(weight, power) }
    }

    /// sigmoid(-m)^gamma = e^(-gamma softplus(m)). The exponent is taken in two floats, as its rounding error is
    /// a relative error of the result.
    #[inline(always)]
    fn power<S: Simd>(&self, s: S, m: S::F, tail: S::F) -> S::F {
        let gamma = s.splat(-self.gamma);
        let above = s.max(s.zero(), m);
        let high = s.add(above, tail);
        let low = s.sub(tail, s.sub(high, above));
        let x = s.mul(gamma, high);
        let rest = s.mul_add(gamma, low, s.mul_add(gamma, high, s.neg(x)));
        let e = math::exp(s, x);
        s.mul_add(e, s.select(s.gt(e, s.zero()), rest, s.zero()), e)
    }
}

impl ElementLoss<2, 1> for FocalLoss {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: [S::F; 2]) -> S::F {
        let terms = self.terms(s, x);
        s.mul(terms.factor, terms.c)
    }

    /// dl/dm = -a q^gamma (q + gamma (1 - q) c).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: [S::F; 2]) -> [S::F; 1] {
        let Terms { positive, right, q, c, factor } = self.terms(s, x);
        let slope = s.mul_add(s.mul(s.splat(self.gamma), right), c, q);
        let g = s.mul(factor, slope);
        [s.select(positive, s.neg(g), g)]
    }
}

elements_entry!(focal_loss, rows * classes, [full logits, full target], [grad_logits], |call: &Call| {
    let alpha = call.opts.alpha as f32;
    let weights = if alpha < 0.0 { [1.0, 1.0] } else { [1.0 - alpha, alpha] };
    FocalLoss { gamma: call.opts.gamma as f32, weights }
});
