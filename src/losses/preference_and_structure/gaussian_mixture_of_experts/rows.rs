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

/// Experts of a row, one after the other.
#[derive(Clone, Copy)]
struct View<'a> {
    /// -inf of those that are not chosen.
    scores: &'a [f32],
    means: &'a [f32],
    log_variance: &'a [f32],
    precision: &'a [f64],
}

/// The few experts of a row that are chosen, side by side.
struct Chosen {
    index: [usize; CHUNK],
    scores: [f32; CHUNK],
    means: [f32; CHUNK],
    log_variance: [f32; CHUNK],
    precision: [f64; CHUNK],
}

/// Some experts of a row. Whole vectors of places: those beyond the last expert count as not chosen.
struct Chunk {
    /// Exponents of gate, and of gate and density; then the exponentials; then the gradients of score and mean.
    gate: [f64; CHUNK],
    joint: [f64; CHUNK],
    /// y less the mean; then the gradient of the log variance.
    error: [f64; CHUNK],
    len: usize,
}

/// Sums and maxima in this many parts, which need not wait for each other.
const PARTS: usize = 8;
const LARGEST_VECTOR: usize = 16;
const _: () = assert!(CHUNK.is_multiple_of(LARGEST_VECTOR));

impl Chunk {
    /// Experts `start` and those after it.
    #[inline(always)]
    fn fill(&mut self, y: f64, view: &View, start: usize) {
        let n = CHUNK.min(view.scores.len() - start);
        let (scores, means) = (&view.scores[start..][..n], &view.means[start..][..n]);
        let (log_variance, precision) = (&view.log_variance[start..][..n], &view.precision[start..][..n]);
        for i in 0..n {
            let (gate, e) = (f64::from(scores[i]), y - f64::from(means[i]));
            let density = 0.5 * (e * e * precision[i] + f64::from(log_variance[i]));
            // Of an expert that is not chosen the mean may be anything.
            self.joint[i] = if scores[i] == f32::NEG_INFINITY { f64::NEG_INFINITY } else { gate - density };
            self.gate[i] = gate;
            self.error[i] = e;
        }
        self.len = n.next_multiple_of(LARGEST_VECTOR);
        for i in n..self.len {
            (self.gate[i], self.joint[i], self.error[i]) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0);
        }
    }

    #[inline(always)]
    fn fold(&self, mut acc: [[f64; PARTS]; 2], step: impl Fn(f64, f64) -> f64) -> [[f64; PARTS]; 2] {
        let mut at = 0;
        while at < self.len {
            for part in 0..PARTS {
                acc[0][part] = step(acc[0][part], self.gate[at + part]);
                acc[1][part] = step(acc[1][part], self.joint[at + part]);
            }
            at += PARTS;
        }
        acc
    }

    #[inline(always)]
    fn exponentials<S: Simd>(&mut self, s: S, tops: [f64; 2]) {
        exps(s, &mut self.gate, self.len, tops[0]);
        exps(s, &mut self.joint, self.len, tops[1]);
    }

    /// `shares`: the upstream gradient over the sums of the exponentials.
    #[inline(always)]
    fn gradients(&mut self, shares: [f64; 2], precision: &[f64]) {
        for i in 0..precision.len() {
            let h = self.joint[i] * shares[1];
            let e = if h == 0.0 { 0.0 } else { self.error[i] };
            let mean = -h * e * precision[i];
            self.gate[i] = self.gate[i] * shares[0] - h;
            self.joint[i] = mean;
            self.error[i] = 0.5 * (h + mean * e);
        }
    }
}

/// exp(x - top) in place of the first `n`, whole vectors, to f32's accuracy whatever the size of x.
#[inline(always)]
fn exps<S: Simd>(s: S, x: &mut [f64; CHUNK], n: usize, top: f64) {
    let mut near = [0f32; CHUNK];
    // In steps of a fixed size, for the compiler to make vectors of.
    for at in (0..n).step_by(LARGEST_VECTOR) {
        for i in at..at + LARGEST_VECTOR {
            // Bounded, as the rest of an infinite number is a NaN.
            let d = x[i] - top;
            let d = if d < -1000.0 { -1000.0 } else { d };
            near[i] = d as f32;
            x[i] = d - f64::from(near[i]);
        }
        for i in (at..at + LARGEST_VECTOR).step_by(S::LANES) {
            // SAFETY: within the array, as the width of a vector divides its length.
            unsafe {
                let place = near.as_mut_ptr().add(i);
                s.store(place, math::exp(s, s.load(place)));
            }
        }
        for i in at..at + LARGEST_VECTOR {
            let e = f64::from(near[i]);
            x[i] = e + e * x[i];
        }
    }
}

#[inline(always)]
fn total(parts: [f64; PARTS]) -> f64 {
    let mut sum = 0.0;
    for part in parts {
        sum += part;
    }
    sum
}

/// The largest of all parts; 0 where nothing is larger than -inf.
#[inline(always)]
fn top(parts: [f64; PARTS]) -> f64 {
    let mut top = f64::NEG_INFINITY;
    for part in parts {
        top = if part > top { part } else { top };
    }
    if top == f64::NEG_INFINITY { 0.0 } else { top }
}

impl Kernel for Rows<'_> {
    /// Sum of the losses.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Rows { mixture: m, rows, scores, means, sums } = self;
        let n = m.precision.len();
        let (mut scratch, mut largest) = (Scratch::<BLOCK>::new(), Largest::new(m.k));
        let mut chosen = Chosen {
            index: [0; CHUNK],
            scores: [0.0; CHUNK],
            means: [0.0; CHUNK],
            log_variance: [0.0; CHUNK],
            precision: [0.0; CHUNK],
        };
        let mut chunk = Chunk { gate: [0.0; CHUNK], joint: [0.0; CHUNK], error: [0.0; CHUNK], len: 0 };
        let gradient = !sums.is_empty();
        sums.fill(0.0);
        let (of_score, rest) = sums.split_at_mut(if gradient { n } else { 0 });
        let (of_mean, of_variance) = rest.split_at_mut(of_score.len());
        let mut all_losses = 0.0;
        for (r, at) in rows.zip((0..).step_by(n)) {
            let (scores, means) = (&mut scores[at..at + n], &mut means[at..at + n]);
            for i in 0..n {
                scores[i] += m.gate_bias[i];
                means[i] += m.expert_bias[i];
            }
            // SAFETY: r is a row of the call.
            let y = f64::from(unsafe { read_one(m.y.dtype, m.y.at(r)) });
            let few = m.k < n && m.k <= CHUNK;
            if m.k < n {
                // SAFETY: a row of f32; the scratch is not used for those.
                let row = unsafe { Row::of_floats(scores.as_ptr(), n, scratch.ptr()) };
                largest.next_row();
                let (mut first, mut last) = (0f32, (0f32, 0));
                largest.each(
                    s,
                    &row,
                    #[inline(always)]
                    |j, index, value| {
                        first = if j == 0 { value } else { first };
                        last = (value, index);
                        if few {
                            chosen.index[j] = index;
                            chosen.scores[j] = value;
                            chosen.means[j] = means[index];
                            chosen.log_variance[j] = m.log_variance[index];
                            chosen.precision[j] = m.precision[index];
                        }
                    },
                );
                if first.is_nan() {
                    scores.fill(f32::NAN); // and nothing of the row is a number
                } else if !few {
                    for (i, score) in scores.iter_mut().enumerate() {
                        let holds = *score > last.0 || (*score == last.0 && i <= last.1);
                        *score = if holds { *score } else { f32::NEG_INFINITY };
                    }
                }
            }
            let view = if few {
                View {
                    scores: &chosen.scores[..m.k],
                    means: &chosen.means[..m.k],
                    log_variance: &chosen.log_variance[..m.k],
                    precision: &chosen.precision[..m.k],
                }
            } else {
                View { scores, means, log_variance: m.log_variance, precision: m.precision }
            };

            // A single chunk is made once, others anew in each sweep.
            let count = view.scores.len();
            let several = count > CHUNK;
            let mut tops = [[f64::NEG_INFINITY; PARTS]; 2];
            for start in (0..count).step_by(CHUNK) {
                chunk.fill(y, &view, start);
                tops = chunk.fold(
                    tops,
                    #[inline(always)]
                    |top, x| if x > top { x } else { top },
                );
            }
            let tops = [top(tops[0]), top(tops[1])];
            let mut totals = [[0.0; PARTS]; 2];
            for start in (0..count).step_by(CHUNK) {
                if several {
                    chunk.fill(y, &view, start);
                }
                chunk.exponentials(s, tops);
                totals = chunk.fold(
                    totals,
                    #[inline(always)]
                    |sum, x| sum + x,
                );
            }
            let [gates, joints] = [total(totals[0]), total(totals[1])];
            let loss = (tops[0] - tops[1]) + (gates / joints).ln() + HALF_LN_TAU;
            all_losses += loss;
            if let Some(losses) = m.losses {
                losses.set(r, loss as f32);
            }
            if !gradient {
                continue;
            }

            let scale = m.upstream.of(r);
            let shares = [scale / gates, scale / joints];
            if few {
                chunk.gradients(shares, &chosen.precision[..m.k]);
                scores.fill(0.0);
                means.fill(0.0);
                for (j, &i) in chosen.index[..m.k].iter().enumerate() {
                    (scores[i], means[i]) = (chunk.gate[j] as f32, chunk.joint[j] as f32);
                    of_score[i] += chunk.gate[j];
                    of_mean[i] += chunk.joint[j];
                    of_variance[i] += chunk.error[j];
                }
                continue;
            }
            for start in (0..n).step_by(CHUNK) {
                let k = start..n.min(start + CHUNK);
                if several {
                    let view = View { scores, means, log_variance: m.log_variance, precision: m.precision };
                    chunk.fill(y, &view, start);
                    chunk.exponentials(s, tops);
                }
                chunk.gradients(shares, &m.precision[k.clone()]);
                let (scores, means) = (&mut scores[k.clone()], &mut means[k.clone()]);
                let (of_score, of_mean) = (&mut of_score[k.clone()], &mut of_mean[k.clone()]);
                let of_variance = &mut of_variance[k.clone()];
                for i in 0..k.len() {
                    scores[i] = chunk.gate[i] as f32;
                    means[i] = chunk.joint[i] as f32;
                    of_score[i] += chunk.gate[i];
                    of_mean[i] += chunk.joint[i];
                    of_variance[i] += chunk.error[i];
                }
            }
        }
        all_losses
    }
}

/// ln(2 pi) / 2.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

const _: () = assert!(SUMS == 3);
