//! From scores and means of some rows to their losses, and to the gradients of scores and means in their place.

use super::{Mixture, SUMS};
use crate::cpu::largest::Largest;
use crate::cpu::row::Row;
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::storage::{BLOCK, Scratch, read_one};
use std::ops::Range;

/// Experts at a time: their exponents stay on the stack.
const CHUNK: usize = 64;

/// Rows of a tile.
pub struct Rows<'a> {
    pub mixture: &'a Mixture<'a>,
    pub rows: Range<usize>,
    pub scores: &'a mut [f32],
    pub means: &'a mut [f32],
    /// Sums over the rows of the gradients of scores, means and log variances; empty where none are wanted.
    pub sums: &'a mut [f64],
}

/// What tells the chosen experts of a row from the others: they come no later than the k-th.
#[derive(Clone, Copy)]
struct Choice {
    all: bool,
    value: f32,
    index: usize,
}

impl Choice {
    #[inline(always)]
    fn holds(&self, score: f32, index: usize) -> bool {
        self.all || score > self.value || (score == self.value && index <= self.index)
    }
}

/// The experts of a chunk.
struct Chunk {
    /// Scores, and the same with the logarithm of the density; -inf of those that are not chosen.
    gate: [f64; CHUNK],
    joint: [f64; CHUNK],
}

impl Chunk {
    #[inline(always)]
    fn new(m: &Mixture, choice: Choice, y: f64, scores: &[f32], means: &[f32], k: Range<usize>) -> Chunk {
        let mut chunk = Chunk { gate: [f64::NEG_INFINITY; CHUNK], joint: [f64::NEG_INFINITY; CHUNK] };
        let (scores, means) = (&scores[k.clone()], &means[k.clone()]);
        let (log_variance, precision) = (&m.log_variance[k.clone()], &m.precision[k.clone()]);
        for i in 0..k.len() {
            let e = y - f64::from(means[i]);
            let gate = f64::from(scores[i]);
            let joint = gate - 0.5 * (e * e * precision[i] + f64::from(log_variance[i]));
            let chosen = choice.holds(scores[i], k.start + i);
            chunk.gate[i] = if chosen { gate } else { f64::NEG_INFINITY };
            chunk.joint[i] = if chosen { joint } else { f64::NEG_INFINITY };
        }
        chunk
    }
}

/// exp(x - top) in place of the first `n`, to f32's accuracy whatever the size of x.
#[inline(always)]
fn exps<S: Simd>(s: S, x: &mut [f64; CHUNK], n: usize, top: f64) {
    let mut near = [0f32; CHUNK];
    for i in 0..n {
        // Bounded, as the rest of an infinite number is a NaN.
        let d = x[i] - top;
        x[i] = if d < -1000.0 { -1000.0 } else { d };
        near[i] = x[i] as f32;
    }
    for i in 0..n {
        x[i] -= f64::from(near[i]);
    }
    let mut i = 0;
    while i < n {
        // SAFETY: the width of a vector divides that of a chunk.
        unsafe {
            let place = near.as_mut_ptr().add(i);
            s.store(place, math::exp(s, s.load(place)));
        }
        i += S::LANES;
    }
    for i in 0..n {
        let e = f64::from(near[i]);
        x[i] = e + e * x[i];
    }
}

impl Kernel for Rows<'_> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Rows { mixture: m, rows, scores, means, sums } = self;
        let n = m.precision.len();
        let (mut scratch, mut largest) = (Scratch::<BLOCK>::new(), Largest::new(m.k));
        let gradient = !sums.is_empty();
        sums.fill(0.0);
        let mut total = 0.0;
        for (r, at) in rows.zip((0..).step_by(n)) {
            let (scores, means) = (&mut scores[at..at + n], &mut means[at..at + n]);
            for i in 0..n {
                scores[i] += m.gate_bias[i];
                means[i] += m.expert_bias[i];
            }
            // SAFETY: r is a row of the call.
            let y = f64::from(unsafe { read_one(m.y.dtype, m.y.at(r)) });
            let mut choice = Choice { all: m.k == n, value: 0.0, index: 0 };
            if !choice.all {
                // SAFETY: a row of f32; the scratch is not used for those.
                let row = unsafe { Row::of_floats(scores.as_ptr(), n, scratch.ptr()) };
                largest.next_row();
                let mut first = 0f32;
                largest.each(
                    s,
                    &row,
                    #[inline(always)]
                    |j, index, value| {
                        first = if j == 0 { value } else { first };
                        choice = Choice { all: false, value, index };
                    },
                );
                choice.all = first.is_nan(); // and nothing of the row is a number
            }

            let (mut top_gate, mut top_joint) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
            for start in (0..n).step_by(CHUNK) {
                let chunk = Chunk::new(m, choice, y, scores, means, start..n.min(start + CHUNK));
                for i in 0..CHUNK {
                    top_gate = if chunk.gate[i] > top_gate { chunk.gate[i] } else { top_gate };
                    top_joint = if chunk.joint[i] > top_joint { chunk.joint[i] } else { top_joint };
                }
            }
            let about = |top: f64| if top == f64::NEG_INFINITY { 0.0 } else { top };
            let (top_gate, top_joint) = (about(top_gate), about(top_joint));
            let (mut gates, mut joints) = (0.0, 0.0);
            for start in (0..n).step_by(CHUNK) {
                let width = CHUNK.min(n - start);
                let mut chunk = Chunk::new(m, choice, y, scores, means, start..start + width);
                exps(s, &mut chunk.gate, width, top_gate);
                exps(s, &mut chunk.joint, width, top_joint);
                for i in 0..width {
                    gates += chunk.gate[i];
                    joints += chunk.joint[i];
                }
            }
            let loss = (top_gate - top_joint) + (gates / joints).ln() + HALF_LN_TAU;
            total += loss;
            if let Some(losses) = m.losses {
                losses.set(r, loss as f32);
            }
            if !gradient {
                continue;
            }

            let scale = m.upstream.of(r);
            let (of_gates, of_joints) = (scale / gates, scale / joints);
            let (of_score, rest) = sums.split_at_mut(n);
            let (of_mean, of_variance) = rest.split_at_mut(n);
            for start in (0..n).step_by(CHUNK) {
                let k = start..n.min(start + CHUNK);
                let mut chunk = Chunk::new(m, choice, y, scores, means, k.clone());
                exps(s, &mut chunk.gate, k.len(), top_gate);
                exps(s, &mut chunk.joint, k.len(), top_joint);
                let (scores, means) = (&mut scores[k.clone()], &mut means[k.clone()]);
                let precision = &m.precision[k.clone()];
                let of_score = &mut of_score[k.clone()];
                let (of_mean, of_variance) = (&mut of_mean[k.clone()], &mut of_variance[k.clone()]);
                for i in 0..k.len() {
                    let (h, e) = (chunk.joint[i] * of_joints, y - f64::from(means[i]));
                    // Of an expert that is not chosen the mean may be anything.
                    let e = if h == 0.0 { 0.0 } else { e };
                    let score = chunk.gate[i] * of_gates - h;
                    let mean = -h * e * precision[i];
                    of_score[i] += score;
                    of_mean[i] += mean;
                    of_variance[i] += 0.5 * (h + mean * e);
                    scores[i] = score as f32;
                    means[i] = mean as f32;
                }
            }
        }
        total
    }
}

/// ln(2 pi) / 2.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

const _: () = assert!(SUMS == 3);
