//! Samples that count alike: f32 exponentials, sums in f64.

#[path = "power.rs"]
mod power;

use std::ops::Range;

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::storage::{self, BLOCK, Scratch};
use crate::registry::entries::doubly_robust_reweighting::Call;
use crate::registry::{Floats, FloatsMut};
use power::Power;
pub use power::serves;

/// Vectors at a time: a chain of one would wait for each result, and the f32 sum of so few is exact enough.
const MANY: usize = 2;

/// The sum of `exp((l - top) / r)`.
#[derive(Clone, Copy)]
struct Sum {
    top: f32,
    terms: f64,
}

impl Sum {
    const EMPTY: Sum = Sum { top: f32::NEG_INFINITY, terms: 0.0 };

    fn add(&mut self, other: &Sum, temperature: f64) {
        // A NaN is the highest.
        let (high, low) = if other.top <= self.top { (&*self, other) } else { (other, &*self) };
        let mut terms = low.terms;
        if high.top != low.top && terms != 0.0 {
            terms *= ((f64::from(low.top) - f64::from(high.top)) / temperature).exp();
        }
        *self = Sum { top: high.top, terms: high.terms + terms };
    }
}

/// The losses of a range.
struct Samples<'a> {
    losses: Floats<'a>,
    range: Range<usize>,
    temperature: f64,
}

/// A chunk of the losses.
struct Chunk<S: Simd> {
    s: S,
    from: *const f32,
    start: usize,
    n: usize,
}

impl<S: Simd> Chunk<S> {
    /// Calls `f(k, whole)` for the vectors `MANY` at a time; the last may not be whole.
    #[inline(always)]
    fn steps(&self, mut f: impl FnMut(usize, bool)) {
        let step = MANY * S::LANES;
        let whole = self.n - self.n % step;
        for k in (0..whole).step_by(step) {
            storage::ahead(self.from.wrapping_add(k).cast(), 4 * step);
            f(k, true);
        }
        if whole < self.n {
            f(whole, false);
        }
    }

    /// The losses of vector `v` from `k` on.
    #[inline(always)]
    fn lanes(&self, k: usize, v: usize, whole: bool) -> usize {
        if whole { S::LANES } else { self.n.saturating_sub(k + v * S::LANES).min(S::LANES) }
    }

    /// Losses; beyond the end the lowest.
    #[inline(always)]
    fn at(&self, k: usize, whole: bool) -> [S::F; MANY] {
        let mut x = [self.s.splat(f32::NEG_INFINITY); MANY];
        for (v, x) in x.iter_mut().enumerate() {
            let from = self.from.wrapping_add(k + v * S::LANES);
            // SAFETY: within the chunk.
            *x = unsafe {
                match self.lanes(k, v, whole) {
                    0 => *x,
                    lanes if lanes < S::LANES => self.s.load_partial(from, lanes, f32::NEG_INFINITY),
                    _ => self.s.load(from),
                }
            };
        }
        x
    }

    /// The largest loss, or NaN.
    #[inline(always)]
    fn top(&self) -> f32 {
        let s = self.s;
        let mut tops = [s.splat(f32::NEG_INFINITY); MANY];
        self.steps(
            #[inline(always)]
            |k, whole| {
                let x = self.at(k, whole);
                for v in 0..MANY {
                    tops[v] = s.max_nan(tops[v], x[v]);
                }
            },
        );
        s.reduce_max(s.max_nan(tops[0], tops[1]))
    }

    /// The sum of what `f` makes of the losses.
    #[inline(always)]
    fn sum(&self, f: impl Fn(S::F) -> S::F) -> f64 {
        let s = self.s;
        let mut sum = s.d_zero();
        self.steps(
            #[inline(always)]
            |k, whole| {
                let mut x = self.at(k, whole);
                for (v, x) in x.iter_mut().enumerate() {
                    *x = f(*x);
                    if !whole {
                        *x = s.select(s.first_n(self.lanes(k, v, whole)), *x, s.zero());
                    }
                }
                sum = s.d_add(sum, s.add(x[0], x[1]));
            },
        );
        s.d_sum(sum)
    }
}

impl Samples<'_> {
    /// Calls `f` for a chunk after the other.
    #[inline(always)]
    fn sweep<S: Simd>(&self, s: S, mut f: impl FnMut(Chunk<S>)) {
        let mut scratch = Scratch::<BLOCK>::new();
        for start in self.range.clone().step_by(BLOCK) {
            let n = BLOCK.min(self.range.end - start);
            // SAFETY: within the buffer, and a block.
            let from =
                unsafe { storage::read(s, self.losses.dtype, self.losses.at(start), n, scratch.ptr()) };
            f(Chunk { s, from, start, n });
        }
    }
}

/// The largest loss, and the sum about it.
struct Terms<'a>(Samples<'a>);

impl Kernel for Terms<'_> {
    type Output = Sum;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Sum {
        let mut sum = Sum::EMPTY;
        self.0.sweep(
            s,
            #[inline(always)]
            |chunk| {
                let highest = chunk.top();
                let top = if highest <= sum.top { sum.top } else { highest };
                let power = Power::new(s, top, self.0.temperature);
                let of_chunk = chunk.sum(
                    #[inline(always)]
                    |x| power.of(x),
                );
                // Of losses of -infinity alone it would be NaN.
                let terms = if top == f32::NEG_INFINITY { 0.0 } else { of_chunk };
                sum.add(&Sum { top, terms }, self.0.temperature);
            },
        );
        sum
    }
}

/// The sum of `exp((l - top) / r) - 1`, which keeps its digits where all terms are near 1.
struct Less<'a>(Samples<'a>, f32);

impl Kernel for Less<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (top, inverse) = (s.splat(self.1), s.splat((1.0 / self.0.temperature) as f32));
        let mut sum = 0.0;
        self.0.sweep(
            s,
            #[inline(always)]
            |chunk| {
                sum += chunk.sum(
                    #[inline(always)]
                    |x| math::exp_m1(s, s.mul(s.sub(x, top), inverse)),
                );
            },
        );
        sum
    }
}

/// Weights, and the gradient.
struct Finish<'a> {
    samples: Samples<'a>,
    sum: Sum,
    upstream: f64,
    weights: Option<Cells<'a>>,
    gradient: Option<FloatsMut<'a>>,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let largest = 1.0 / self.sum.terms;
        let [weight, slope] = [largest, largest * self.upstream].map(|factor| s.splat(factor as f32));
        let power = Power::new(s, self.sum.top, self.samples.temperature);
        self.samples.sweep(
            s,
            #[inline(always)]
            |chunk| {
                chunk.steps(
                    #[inline(always)]
                    |k, whole| {
                        let mut e = chunk.at(k, whole);
                        for e in &mut e {
                            *e = power.of(*e);
                        }
                        for (v, &e) in e.iter().enumerate() {
                            let lanes = chunk.lanes(k, v, whole);
                            if lanes == 0 {
                                break;
                            }
                            let at = chunk.start + k + v * S::LANES;
                            // SAFETY: this block alone writes its part.
                            unsafe {
                                if let Some(to) = self.weights {
                                    storage::store_lanes(s, to.at(at), lanes, s.mul(e, weight));
                                }
                                if let Some(to) = &self.gradient {
                                    let slopes = s.mul(e, slope);
                                    storage::store_typed(s, to.dtype, to.at(at), lanes, slopes, false);
                                }
                            }
                        }
                    },
                );
            },
        );
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) {
    let (n, losses, temperature) = (call.n, call.losses, call.opts.temperature);
    let blocks = Blocks::new(n, 8 * BLOCK, BLOCK);
    let samples = |block| Samples { losses, range: blocks.range(block), temperature };
    let work = 8 * n;

    let mut parts = [Sum::EMPTY; MAX_BLOCKS];
    let places = Cells::new(&mut parts);
    cpu.run(blocks.count, work, &|block| places.set(block, cpu.isa.dispatch(Terms(samples(block)))));
    let mut sum = Sum::EMPTY;
    parts[..blocks.count].iter().for_each(|part| sum.add(part, temperature));
    if sum.top == f32::NEG_INFINITY {
        sum.terms = f64::NAN;
    }
    if let Some(loss) = call.loss.as_deref_mut() {
        let mean = sum.terms / n as f64;
        let log = if mean > 0.5 {
            let less = cpu.sum(blocks.count, work, &|block| cpu.isa.dispatch(Less(samples(block), sum.top)));
            (less / n as f64).ln_1p()
        } else {
            mean.ln()
        };
        loss[0] = (f64::from(sum.top) + temperature * log) as f32;
    }
    let (weights, gradient) = (call.weights.as_deref_mut().map(Cells::new), call.grad_losses);
    if weights.is_some() || gradient.is_some() {
        let upstream = call.grad_loss.map_or(1.0, |g| f64::from(g[0]));
        cpu.run(blocks.count, work, &|block| {
            cpu.isa.dispatch(Finish { samples: samples(block), sum, upstream, weights, gradient })
        });
    }
}
