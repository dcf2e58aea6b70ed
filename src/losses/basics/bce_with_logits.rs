//! l = w ((1 - t) softplus(z) + q t softplus(-z)), with w = weight, q = pos_weight.

use crate::cpu::elements::ElementLoss;
use crate::cpu::{simd::Simd, simd::math};

struct BceWithLogits {
    want_target: bool,
}

impl ElementLoss<4, 2> for BceWithLogits {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [z, t, w, q]: [S::F; 4]) -> S::F {
        let [up, down] = softplus_both(s, z);
        let negative = s.mul(s.sub(s.splat(1.0), t), up);
        s.mul(w, s.mul_add(s.mul(q, t), down, negative))
    }

    /// dl/dz = w ((1 - t) sigmoid(z) - q t sigmoid(-z));  dl/dt = w (q softplus(-z) - softplus(z)).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [z, t, w, q]: [S::F; 4]) -> [S::F; 2] {
        let one = s.splat(1.0);
        let e = math::exp(s, s.neg(s.abs(z)));
        let near = s.recip(s.add(one, e));
        let far = s.mul(e, near);
        let positive = s.lt(s.zero(), z);
        let (up, down) = (s.select(positive, near, far), s.select(positive, far, near));
        let dz = s.sub(s.mul(s.sub(one, t), up), s.mul(s.mul(q, t), down));
        let dt = if self.want_target {
            let [up, down] = softplus_both(s, z);
            s.sub(s.mul(q, down), up)
        } else {
            s.zero()
        };
        [s.mul(w, dz), s.mul(w, dt)]
    }
}

/// softplus(z) and softplus(-z).
#[inline(always)]
fn softplus_both<S: Simd>(s: S, z: S::F) -> [S::F; 2] {
    let tail = math::ln_1p_unit(s, math::exp(s, s.neg(s.abs(z))));
    [s.add(s.max(s.zero(), z), tail), s.add(s.max(s.zero(), s.neg(z)), tail)]
}

elements_entry!(
    bce_with_logits,
    rows * classes,
    [full logits, full target, full_or_one weight, row_or_one pos_weight],
    [grad_logits, grad_target],
    |call: &Call| BceWithLogits { want_target: call.grad_target.is_some() }
);
