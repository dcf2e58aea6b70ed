//! The sweep over the instances that adds them to their bags.

use super::bags::{Bag, FAR, Shifts};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::storage::{self, Scratch};
use crate::registry::Floats;

/// Elements at a time: what is gathered for them stays in the first-level cache.
pub const CHUNK: usize = 256;

#[derive(Clone, Copy)]
pub struct Instances<'a> {
    pub pred: Floats<'a>,
    pub bags: &'a [i64],
    pub logistic: bool,
}

impl Instances<'_> {
    /// Calls `f(start, n, values)` for a range, a chunk at a time; beyond `n` values are 0.
    #[inline(always)]
    pub fn sweep<S: Simd>(
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

/// Adds instances to their bags. True if a logit is far and there are no shifts: the sums are then of no use.
pub struct Collect<'a> {
    pub instances: Instances<'a>,
    pub range: std::ops::Range<usize>,
    pub to: &'a mut [Bag],
    /// Where some logit is far.
    pub shifts: Option<&'a mut [Shifts]>,
}

impl Kernel for Collect<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let Collect { instances, range, to, mut shifts } = self;
        let (mut q, mut rest) = ([0.0f32; CHUNK], [0.0f32; CHUNK]);
        let mut far = false;
        instances.sweep(
            s,
            range,
            #[inline(always)]
            |start, n, values| {
                let bags = &instances.bags[start..start + n];
                if !instances.logistic {
                    for (&x, &bag) in values.iter().zip(bags) {
                        to[bag as usize].take(x, 0.0);
                    }
                    return;
                }
                let mut largest = s.zero();
                for k in (0..CHUNK).step_by(S::LANES) {
                    // SAFETY: chunks are whole vectors.
                    unsafe {
                        let x = s.load(values.as_ptr().add(k));
                        largest = s.max(largest, s.abs(x));
                        let e = math::exp_neg_abs(s, x);
                        let high = s.div(s.splat(1.0), s.add(s.splat(1.0), e));
                        let (low, negative) = (s.mul(e, high), s.lt(x, s.zero()));
                        s.store(q.as_mut_ptr().add(k), s.select(negative, low, high));
                        s.store(rest.as_mut_ptr().add(k), s.select(negative, high, low));
                    }
                }
                match &mut shifts {
                    None => {
                        far |= s.any(s.lt(s.splat(FAR as f32), largest));
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
        far
    }
}
