//! exp((l - top) / r) to f32's accuracy, however large the argument: in f32 it would be off by some |argument| / 2^23.

use crate::cpu::simd::{Simd, math};

/// Further below the top nothing counts at any temperature this is for.
const FAR: f32 = 1e34;

/// Whether f32 has the reciprocal of the temperature, and some room beyond.
pub fn serves(temperature: f64) -> bool {
    (1e-30..1e30).contains(&temperature)
}

pub struct Power<S: Simd> {
    s: S,
    top: S::F,
    lowest: S::F,
    /// log2(e) / r, and that in two parts; without fused multiply-add the first has so few digits that its product
    /// with as few is exact.
    scale: S::F,
    parts: [S::F; 2],
}

impl<S: Simd> Power<S> {
    #[inline(always)]
    pub fn new(s: S, top: f32, temperature: f64) -> Self {
        let exact = std::f64::consts::LOG2_E / temperature;
        let scale = exact as f32;
        let high = if S::FMA { scale } else { f32::from_bits(scale.to_bits() & !0xfff) };
        let low = (exact - f64::from(high)) as f32;
        let lowest = s.splat(f32::max(f32::MIN, top - FAR));
        Power { s, top: s.splat(top), lowest, scale: s.splat(scale), parts: [s.splat(high), s.splat(low)] }
    }

    #[inline(always)]
    pub fn of(&self, l: S::F) -> S::F {
        let s = self.s;
        let l = s.max(self.lowest, l);
        // With what rounding took from the difference.
        let d = s.sub(l, self.top);
        let b = s.sub(d, l);
        let rest = s.sub(s.sub(l, s.sub(d, b)), s.add(self.top, b));
        let u = s.mul(d, self.scale);
        let t = s.add(s.max(s.splat(-127.0), u), s.splat(S::TERM_MAGIC));
        let k = s.sub(t, s.splat(S::TERM_MAGIC));
        let [high, low] = self.parts;
        let r = if S::FMA {
            s.mul_add(d, low, s.mul_add(d, high, s.neg(k)))
        } else {
            let c = s.mul(d, s.splat(4097.0));
            let first = s.sub(c, s.sub(c, d));
            let product = s.add(s.sub(s.mul(first, high), k), s.mul(first, low));
            s.add(product, s.mul(s.sub(d, first), self.scale))
        };
        // Where k had to be limited r is far below, and its series no number.
        let r = s.max(s.splat(-1.0), s.mul_add(rest, self.scale, r));
        s.term_finish(s.mul(u, s.splat(std::f32::consts::LN_2)), math::exp2_poly(s, r), k, t)
    }
}
