//! The sweep over the instances that ends in losses and the gradient.

use super::bags::{FarSlope, Shifts, Slope};
use super::sweeps::{CHUNK, Instances};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::special::exp_negative;
use crate::cpu::storage::{self, write_one};
use crate::registry::FloatsMut;

/// Losses of the instances, and the gradient.
pub struct Finish<'a> {
    pub instances: Instances<'a>,
    pub range: std::ops::Range<usize>,
    pub slopes: &'a [Slope],
    /// Of the bags, where some logit is far.
    pub far: Option<(&'a [FarSlope], &'a [Shifts])>,
    /// What slopes of bags and of instances are multiplied by.
    pub factors: [f64; 2],
    pub gradient: Option<FloatsMut<'a>>,
}

/// Sums of a vector's losses, and its slopes.
type Vector<S> = (<S as Simd>::D, <S as Simd>::F);

impl Finish<'_> {
    /// Of vector `x` with targets `y` of bags with slopes `k`; `there`: the lanes that count.
    #[inline(always)]
    fn squared<S: Simd>(&self, s: S, sum: S::D, [x, y, k]: [S::F; 3], there: S::M) -> Vector<S> {
        let [of_bag, of_instance] = self.factors.map(|factor| s.splat(factor as f32));
        let d = s.sub(x, y);
        let counted = s.select(there, d, s.zero());
        let level = s.add(d, d);
        (s.d_mul_add(sum, counted, counted), s.mul_add(of_bag, k, s.mul(of_instance, level)))
    }

    #[inline(always)]
    fn logistic<S: Simd>(&self, s: S, sum: S::D, [x, y, k]: [S::F; 3], there: S::M) -> Vector<S> {
        let [of_bag, of_instance] = self.factors.map(|factor| s.splat(factor as f32));
        let (one, negative) = (s.splat(1.0), s.lt(x, s.zero()));
        let against = s.sub(one, y);
        let e = math::exp_neg_abs(s, x);
        // softplus(x) and softplus(-x) have a common tail; one has |x| besides.
        let loss = s.mul_add(s.abs(x), s.select(negative, y, against), math::ln_1p_unit(s, e));
        // 1 / (1 + e)^2, of fewer roundings than the square of a quotient.
        let square = s.div(one, s.mul_add(e, s.add(e, s.splat(2.0)), one));
        let high = s.mul(s.add(one, e), square);
        let low = s.mul(e, high);
        let (q, rest) = (s.select(negative, low, high), s.select(negative, high, low));
        let level = s.sub(s.mul(against, q), s.mul(y, rest));
        let slope = s.mul_add(of_instance, level, s.mul(of_bag, s.mul(k, s.mul(e, square))));
        (s.d_add(sum, s.select(there, loss, s.zero())), slope)
    }

    /// Slope at logit `x` of a bag without any that is near.
    #[cold]
    fn beyond(&self, x: f64, slope: &FarSlope, by: &Shifts) -> f64 {
        let [of_bag, of_instance] = self.factors;
        let FarSlope { y, k, inverse: [p, r] } = *slope;
        let (e, _) = exp_negative(-x.abs());
        let size = 1.0 / (1.0 + e);
        let (q, rest) = if x >= 0.0 { (size, e * size) } else { (e * size, size) };
        let own = exp_negative(x.min(0.0) + by[0]).0 * size;
        let other = exp_negative((-x).min(0.0) + by[1]).0 * size;
        of_bag * (k * (own * p) * (other * r)) + of_instance * ((1.0 - y) * q - y * rest)
    }
}

impl Kernel for Finish<'_> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (mut y, mut k) = ([0.0f32; CHUNK], [0.0f32; CHUNK]);
        let mut sum = s.d_zero();
        self.instances.sweep(
            s,
            self.range.clone(),
            #[inline(always)]
            |start, n, values| {
                let bags = &self.instances.bags[start..start + n];
                for (i, &bag) in bags.iter().enumerate() {
                    let slope = &self.slopes[bag as usize];
                    (y[i], k[i]) = (slope.y, slope.k);
                }
                for at in (0..n).step_by(S::LANES) {
                    let lanes = S::LANES.min(n - at);
                    // SAFETY: chunks are whole vectors; this block alone writes its range.
                    unsafe {
                        let vectors = [values, &y, &k].map(|from| s.load(from.as_ptr().add(at)));
                        let there = s.first_n(lanes);
                        let slope;
                        (sum, slope) = if self.instances.logistic {
                            self.logistic(s, sum, vectors, there)
                        } else {
                            self.squared(s, sum, vectors, there)
                        };
                        if let Some(to) = &self.gradient {
                            storage::store_typed(s, to.dtype, to.at(start + at), lanes, slope, false);
                        }
                    }
                }
                if let (Some((slopes, shifts)), Some(to)) = (self.far, &self.gradient) {
                    for (i, &bag) in bags.iter().enumerate() {
                        let by = &shifts[bag as usize];
                        if *by != [0.0; 2] {
                            let slope = self.beyond(f64::from(values[i]), &slopes[bag as usize], by);
                            // SAFETY: this block alone writes its range.
                            unsafe { write_one(to.dtype, slope as f32, to.at(start + i)) };
                        }
                    }
                }
            },
        );
        s.d_sum(sum)
    }
}
