//! The loss of one sample and the gradient of its rows.

use super::Problem;
use super::lattice::{self, ROW, Weights};
use crate::cpu::extended;
use crate::cpu::rows::{self, Row, RowOut};
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::read_one;
use crate::registry::FloatsMut;

/// One sample and its slot.
pub(super) struct Sample<'a, 'b> {
    p: &'b Problem<'a>,
    b: usize,
    frames: usize,
    pub(super) count: usize,
    labels: &'b [i64],
    /// Largest logit of each frame, and the sum of exp(z - largest) less 1.
    stats: &'b mut [[f32; 2]],
    rows: &'b mut [f64],
    weights: &'b mut [f64],
    kept: &'b mut [f64],
    beta: &'b mut [f64],
    skip: &'b mut [f64],
    posterior: &'b mut [f64],
    /// The first label of the same class.
    first: &'b mut [usize],
    read_scratch: *mut f32,
    write_scratch: *mut f32,
}

impl<'a, 'b> Sample<'a, 'b> {
    pub(super) fn new(
        p: &'b Problem<'a>,
        b: usize,
        memory: &'b mut [f64],
        read: *mut f32,
        write: *mut f32,
    ) -> Self {
        let l = &p.layout;
        let (rows, rest) = memory.split_at_mut(l.weights);
        let (weights, rest) = rest.split_at_mut(l.kept - l.weights);
        let (kept, rest) = rest.split_at_mut(l.beta - l.kept);
        let (beta, rest) = rest.split_at_mut(l.skip - l.beta);
        let (skip, rest) = rest.split_at_mut(l.posterior - l.skip);
        let (posterior, rest) = rest.split_at_mut(l.first - l.posterior);
        let (first, stats) = rest.split_at_mut(l.stats - l.first);
        let count = p.label_lengths[b] as usize;
        Sample {
            p,
            b,
            frames: p.input_lengths[b] as usize,
            count,
            labels: &p.labels[b * p.max_label..][..count],
            stats: bytemuck::cast_slice_mut(stats),
            rows,
            weights,
            kept,
            beta,
            skip,
            posterior,
            first: bytemuck::cast_slice_mut(first),
            read_scratch: read,
            write_scratch: write,
        }
    }

    /// The loss; writes the gradient, `weight` of it.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&mut self, s: S, weight: f64) -> f64 {
        let log_sum = self.softmax(s);
        let segments = self.frames.div_ceil(self.p.layout.segment);
        let mut total = (1.0, extended::ZERO);
        if log_sum.is_finite() {
            self.prepare();
            (0..segments).for_each(|i| self.forward(i));
            total = self.total();
        }
        let mut loss = log_sum - extended::ln(total.0, total.1);
        let mut poison = f32::NAN;
        if loss == f64::INFINITY && self.p.zero_infinity {
            (loss, poison) = (0.0, 0.0);
        }
        if let Some(gradient) = self.p.gradient {
            let upstream = self.p.grad_loss.map_or(1.0, |g| g[if self.p.per_sample { self.b } else { 0 }]);
            let scale = f64::from(upstream) * weight;
            for t in self.frames..self.p.time {
                self.out(&gradient, t).fill_zero(self.p.classes);
            }
            if log_sum.is_finite() && total.1 > extended::VANISHED {
                self.backward(s, &gradient, segments, total, scale);
            } else {
                for t in 0..self.frames {
                    let out = self.out(&gradient, t);
                    self.row(t).map_to(
                        s,
                        &out,
                        #[inline(always)]
                        |_, _| s.splat(poison),
                    );
                }
            }
        }
        loss
    }

    #[inline(always)]
    fn row(&self, t: usize) -> Row {
        // SAFETY: row (t, b) is within the logits.
        unsafe {
            Row::new(&self.p.logits, t * self.p.batch + self.b, self.read_scratch, std::ptr::null_mut(), 0)
        }
    }

    #[inline(always)]
    fn out(&self, gradient: &FloatsMut, t: usize) -> RowOut {
        // SAFETY: as above, and rows of this sample are written by its block only.
        unsafe { RowOut::new(gradient, t * self.p.batch + self.b, self.write_scratch) }
    }

    /// Statistics of the rows; returns the sum of their log-sum-exps less their largest.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, s: S) -> f64 {
        let mut log_sum = 0.0;
        for t in 0..self.frames {
            let at = 2 * (t * self.p.batch + self.b);
            let stats = match self.p.saved_in {
                Some(saved) => [saved[at], saved[at + 1]],
                None => row_stats(s, &self.row(t)),
            };
            self.stats[t] = stats;
            if let Some(saved) = self.p.saved_out {
                saved.set(at, stats[0]);
                saved.set(at + 1, stats[1]);
            }
            log_sum += f64::from(stats[1]).ln_1p();
        }
        if let Some(saved) = self.p.saved_out {
            (self.frames..self.p.time)
                .flat_map(|t| [0, 1].map(|j| 2 * (t * self.p.batch + self.b) + j))
                .for_each(|at| saved.set(at, 0.0));
        }
        log_sum
    }

    /// What depends on the labels alone.
    fn prepare(&mut self) {
        let labels = self.labels;
        self.skip.fill(extended::ZERO);
        for i in 0..labels.len() {
            if i > 0 && labels[i] != labels[i - 1] {
                self.skip[i] = 0.0;
            }
            self.first[i] = labels.iter().position(|l| *l == labels[i]).unwrap_or(i);
        }
    }

    fn n(&self) -> usize {
        self.count + 1
    }

    /// exp(z - largest) of the labels and the blank in frame t, at `slot` of the weights.
    #[inline(always)]
    fn weigh(&mut self, t: usize, slot: usize) {
        let pitch = self.p.layout.pitch;
        let (logits, count, blank) = (&self.p.logits, self.count, self.p.blank);
        let at = &mut self.weights[slot * 2 * pitch..][..2 * pitch];
        let (m, e) = at.split_at_mut(pitch);
        // SAFETY: labels were checked.
        let row = unsafe { logits.row(t * self.p.batch + self.b) };
        let get = |k: usize| f64::from(unsafe { read_one(logits.dtype, row.add(k * logits.dtype.size())) });
        for (place, &label) in m.iter_mut().zip(self.labels) {
            *place = get(label as usize);
        }
        m[count] = f64::NEG_INFINITY;
        m[count + 1] = get(blank);
        let top = f64::from(self.stats[t][0]);
        let (m, e) = (&mut m[..count + 2], &mut e[..count + 2]);
        for i in 0..m.len() {
            (m[i], e[i]) = extended::exp(m[i] - top);
        }
    }

    #[inline(always)]
    fn frame_weights(&self, slot: usize) -> Weights<'_> {
        let pitch = self.p.layout.pitch;
        let (label_m, label_e) = self.weights[slot * 2 * pitch..][..2 * pitch].split_at(pitch);
        Weights { label_m, label_e, blank: (label_m[self.count + 1], label_e[self.count + 1]) }
    }

    /// Frames of a segment.
    fn frames_of(&self, segment: usize) -> std::ops::Range<usize> {
        let each = self.p.layout.segment;
        segment * each..((segment + 1) * each).min(self.frames)
    }

    /// Forward variables of a segment, from the last of the one before; keeps its own last.
    #[inline(always)]
    fn forward(&mut self, segment: usize) {
        let (pitch, n) = (self.p.layout.pitch, self.n());
        let size = ROW * pitch;
        let frames = self.frames_of(segment);
        for t in frames.clone() {
            let slot = t - frames.start;
            self.weigh(t, slot);
            let mut rows = std::mem::take(&mut self.rows);
            let w = self.frame_weights(slot);
            let (before, from_here) = rows.split_at_mut(slot * size);
            let out = &mut from_here[..size];
            if t == 0 {
                lattice::start(out, pitch, &w);
            } else {
                let prev = match slot {
                    0 => &self.kept[(segment - 1) * size..],
                    _ => &before[(slot - 1) * size..],
                };
                lattice::forward(n, &prev[..size], out, pitch, &w, self.skip, t);
            }
            std::mem::swap(&mut self.rows, &mut rows);
        }
        let last = (frames.len() - 1) * size;
        self.kept[segment * size..][..size].copy_from_slice(&self.rows[last..][..size]);
    }

    /// Sum over all alignments, from the last frame.
    fn total(&self) -> (f64, f64) {
        let (pitch, n) = (self.p.layout.pitch, self.n());
        let last = (self.frames_of((self.frames - 1) / self.p.layout.segment).len() - 1) * ROW * pitch;
        let row = lattice::Row::new(&self.rows[last..], pitch);
        // Blank n - 1 is the last one, label n - 2 the last label, or the zero before the first.
        let (m, e) = extended::add(row.blank_m[n], row.blank_e[n], row.label_m[n - 1], row.label_e[n - 1]);
        extended::normalise(m, e)
    }

    #[inline(always)]
    fn backward<S: Simd>(
        &mut self,
        s: S,
        gradient: &FloatsMut,
        segments: usize,
        total: (f64, f64),
        scale: f64,
    ) {
        let (pitch, n) = (self.p.layout.pitch, self.n());
        let size = ROW * pitch;
        let beta = std::mem::take(&mut self.beta);
        let (mut next, rest) = beta.split_at_mut(size);
        let (mut here, weighted) = rest.split_at_mut(size);
        lattice::clear(here, pitch);
        lattice::clear(weighted, pitch);
        lattice::end(n, next, pitch);
        let spare = self.p.layout.segment;
        for segment in (0..segments).rev() {
            if segment + 1 < segments {
                // The weights of the frame after the segment are still needed.
                self.forward(segment);
            }
            let frames = self.frames_of(segment);
            for t in frames.clone().rev() {
                let slot = t - frames.start;
                if t + 1 < self.frames {
                    let after = if t + 1 == frames.end { spare } else { slot + 1 };
                    let w = self.frame_weights(after);
                    lattice::backward(n, next, here, weighted, pitch, &w, self.skip, t);
                    std::mem::swap(&mut next, &mut here);
                }
                let alpha = &self.rows[slot * size..][..size];
                let blanks = lattice::posteriors(n, alpha, next, pitch, total, self.posterior);
                self.write_row(s, gradient, t, slot, blanks, scale);
            }
            self.weights.copy_within(0..2 * pitch, spare * 2 * pitch);
        }
    }

    /// scale (p_k - posterior of k) of frame t.
    #[inline(always)]
    fn write_row<S: Simd>(
        &mut self,
        s: S,
        gradient: &FloatsMut,
        t: usize,
        slot: usize,
        blanks: f64,
        scale: f64,
    ) {
        let [top, rest] = self.stats[t];
        let share = scale / (1.0 + f64::from(rest));
        let (about, factor) = (s.splat(top), s.splat(share as f32));
        let out = self.out(gradient, t);
        self.row(t).map_to(
            s,
            &out,
            #[inline(always)]
            |z, _| s.mul(factor, math::exp(s, s.sub(z, about))),
        );
        // Labels of a class add up at the first of them.
        for i in 0..self.count {
            if self.first[i] != i {
                let value = self.posterior[i];
                self.posterior[self.first[i]] += value;
            }
        }
        let w = self.frame_weights(slot);
        let value =
            |m: f64, e: f64, posterior: f64| (share * m * extended::scale(e) - scale * posterior) as f32;
        for i in 0..self.count {
            if self.first[i] == i {
                out.set(self.labels[i] as usize, value(w.label_m[i], w.label_e[i], self.posterior[i]));
            }
        }
        out.set(self.p.blank, value(w.blank.0, w.blank.1, blanks));
    }
}

/// Largest value of a row and the sum of exp(z - largest) less 1, without its rounding.
#[inline(always)]
fn row_stats<S: Simd>(s: S, row: &Row) -> [f32; 2] {
    let low = s.splat(f32::NEG_INFINITY);
    let mut tops = [low; 4];
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            tops = rows::fold(
                s,
                block,
                f32::NEG_INFINITY,
                tops,
                #[inline(always)]
                |acc, z, _| s.max(acc, z),
            )
        },
    );
    let top = s.reduce_max(s.max(s.max(tops[0], tops[1]), s.max(tops[2], tops[3])));
    let about = s.splat(top);
    let (zero, one) = (s.zero(), s.splat(1.0));
    let (mut rest, mut ties) = (0.0, 0.0);
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            let sums = rows::fold(
                s,
                block,
                f32::NEG_INFINITY,
                [(zero, zero); 4],
                #[inline(always)]
                |(sum, ties), z, _| {
                    let x = s.sub(z, about);
                    let largest = s.eq(x, zero);
                    let term = s.select(largest, zero, math::exp(s, x));
                    (s.add(sum, term), s.add(ties, s.select(largest, one, zero)))
                },
            );
            let [a, b, c, d] = sums;
            rest += f64::from(s.reduce_add(s.add(s.add(a.0, b.0), s.add(c.0, d.0))));
            ties += f64::from(s.reduce_add(s.add(s.add(a.1, b.1), s.add(c.1, d.1))));
        },
    );
    [top, (rest + (ties - 1.0)) as f32]
}
