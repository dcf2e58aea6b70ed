//! Sweeps over the instances.

use super::bags::{Bag, FAR, Shifts, Slope};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::special::exp_negative;
use crate::cpu::storage::{self, Scratch};
use crate::registry::{Floats, FloatsMut};

/// Elements at a time: what is gathered for them stays in the first-level cache.
pub const CHUNK: usize = 256;
const LANES: usize = 8;

#[derive(Clone, Copy)]
pub struct Instances<'a> {
    pub pred: Floats<'a>,
    pub bags: &'a [i64],
    pub logistic: bool,
}

impl Instances<'_> {
    /// Calls `f(start, n, values)` for a range, a chunk at a time; beyond `n` values are 0.
    #[inline(always)]
    fn sweep<S: Simd>(
        &self,
        s: S,
        range: std::ops::Range<usize>,
        mut f: impl FnMut(usize, usize, &[f32; CHUNK]),
    ) {
        let mut scratch = Scratch::<CHUNK>::new();
        let mut values = [0.0; CHUNK];
        let mut start = range.start;
        while start < range.end {
            let n = CHUNK.min(range.end - start);
            // SAFETY: within the buffer, and a chunk.
            let from = unsafe {
                let from = storage::read(s, self.pred.dtype, self.pred.at(start), n, scratch.ptr());
                std::slice::from_raw_parts(from, n)
            };
            values[..n].copy_from_slice(from);
            values[n..].fill(0.0);
            f(start, n, &values);
            start += n;
        }
    }
}

/// exp(-|x|), sigmoid(x) and sigmoid(-x).
#[inline(always)]
fn sigmoids(x: f64) -> (f64, f64, f64) {
    let (e, _) = exp_negative(-x.abs());
    let size = 1.0 / (1.0 + e);
    let (q, rest) = if x >= 0.0 { (1.0, e) } else { (e, 1.0) };
    (size, q * size, rest * size)
}

/// Whether a logit of a range is far from 0.
pub struct Far<'a> {
    pub instances: Instances<'a>,
    pub range: std::ops::Range<usize>,
}

impl Kernel for Far<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let mut far = false;
        self.instances.sweep(
            s,
            self.range,
            #[inline(always)]
            |_, _, values| {
                for &x in values {
                    far |= x.abs() > FAR as f32;
                }
            },
        );
        far
    }
}

/// Adds instances to their bags.
pub struct Collect<'a> {
    pub instances: Instances<'a>,
    pub range: std::ops::Range<usize>,
    pub to: &'a mut [Bag],
    /// Where some logit is far.
    pub shifts: Option<&'a mut [Shifts]>,
}

impl Kernel for Collect<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Collect { instances, range, to, mut shifts } = self;
        let (mut q, mut rest) = ([0.0; CHUNK], [0.0; CHUNK]);
        instances.sweep(
            s,
            range,
            #[inline(always)]
            |start, n, values| {
                for i in 0..CHUNK {
                    q[i] = f64::from(values[i]);
                }
                if instances.logistic {
                    for i in 0..CHUNK {
                        (_, q[i], rest[i]) = sigmoids(f64::from(values[i]));
                    }
                }
                let bags = &instances.bags[start..start + n];
                match &mut shifts {
                    None => {
                        for (i, &bag) in bags.iter().enumerate() {
                            to[bag as usize].take(q[i], rest[i]);
                        }
                    }
                    Some(shifts) => {
                        for (i, &bag) in bags.iter().enumerate() {
                            let (bag, x) = (bag as usize, f64::from(values[i]));
                            to[bag].take_far(&mut shifts[bag], x, q[i], rest[i]);
                        }
                    }
                }
            },
        );
    }
}

/// Losses of the instances, and the gradient.
pub struct Finish<'a> {
    pub instances: Instances<'a>,
    pub range: std::ops::Range<usize>,
    pub slopes: &'a [Slope],
    /// Of the bags, where some logit is far.
    pub shifts: Option<&'a [Shifts]>,
    /// What slopes of bags and of instances are multiplied by.
    pub factors: [f64; 2],
    pub gradient: Option<FloatsMut<'a>>,
}

impl Finish<'_> {
    /// Losses of a chunk.
    #[inline(always)]
    fn losses<S: Simd>(&self, s: S, values: &[f32; CHUNK], y: &[f64; CHUNK], losses: &mut [f64; CHUNK]) {
        if !self.instances.logistic {
            for i in 0..CHUNK {
                let d = f64::from(values[i]) - y[i];
                losses[i] = d * d;
            }
            return;
        }
        // softplus(x) and softplus(-x) have a common tail; one has |x| besides.
        let mut tails = [0.0f32; CHUNK];
        for i in (0..CHUNK).step_by(S::LANES) {
            // SAFETY: chunks are whole vectors.
            unsafe {
                let tail = math::ln_1p_unit(s, math::exp_neg_abs(s, s.load(values.as_ptr().add(i))));
                s.store(tails.as_mut_ptr().add(i), tail);
            }
        }
        for i in 0..CHUNK {
            let x = f64::from(values[i]);
            losses[i] = x.abs() * if x < 0.0 { y[i] } else { 1.0 - y[i] } + f64::from(tails[i]);
        }
    }

    #[inline(always)]
    fn gradients(&self, values: &[f32; CHUNK], gathered: &Gathered, to: &mut [f32; CHUNK]) {
        let [of_bag, of_instance] = self.factors;
        let Gathered { y, k, inverse: [p, r], shifts: [up, down] } = gathered;
        for i in 0..CHUNK {
            let x = f64::from(values[i]);
            if !self.instances.logistic {
                to[i] = (of_bag * k[i] + of_instance * 2.0 * (x - y[i])) as f32;
                continue;
            }
            let (size, q, rest) = sigmoids(x);
            let (mut own, mut other) = (q, rest);
            if self.shifts.is_some() {
                own = exp_negative(x.min(0.0) + up[i]).0 * size;
                other = exp_negative((-x).min(0.0) + down[i]).0 * size;
            }
            let level = (1.0 - y[i]) * q - y[i] * rest;
            to[i] = (of_bag * (k[i] * (own * p[i]) * (other * r[i])) + of_instance * level) as f32;
        }
    }
}

/// Of the instances' bags.
struct Gathered {
    y: [f64; CHUNK],
    k: [f64; CHUNK],
    inverse: [[f64; CHUNK]; 2],
    shifts: [[f64; CHUNK]; 2],
}

impl Kernel for Finish<'_> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let zero = [0.0; CHUNK];
        let mut gathered = Gathered { y: zero, k: zero, inverse: [zero; 2], shifts: [zero; 2] };
        let (mut losses, mut slopes, mut sums) = (zero, [0.0f32; CHUNK], [0.0; LANES]);
        self.instances.sweep(
            s,
            self.range.clone(),
            #[inline(always)]
            |start, n, values| {
                for (i, &bag) in self.instances.bags[start..start + n].iter().enumerate() {
                    let slope = &self.slopes[bag as usize];
                    (gathered.y[i], gathered.k[i]) = (slope.y, slope.k);
                    for side in 0..if self.instances.logistic { 2 } else { 0 } {
                        gathered.inverse[side][i] = slope.inverse[side];
                        if let Some(shifts) = self.shifts {
                            gathered.shifts[side][i] = shifts[bag as usize][side];
                        }
                    }
                }
                self.losses(s, values, &gathered.y, &mut losses);
                losses[n..].fill(0.0);
                for start in (0..CHUNK).step_by(LANES) {
                    for lane in 0..LANES {
                        sums[lane] += losses[start + lane];
                    }
                }
                if let Some(to) = &self.gradient {
                    self.gradients(values, &gathered, &mut slopes);
                    // SAFETY: this block alone writes its range.
                    unsafe { storage::write(s, to.dtype, slopes.as_ptr(), to.at(start), n, false) };
                }
            },
        );
        sums.iter().sum()
    }
}
