//! l = -log p_y of an average over models, of their logits or of their probabilities.

use crate::cpu::row::{Row, RowOut, fold, fold_without, map_by_four, map_into};
use crate::cpu::row_sets::{self, Problem, RowSetLoss};
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{self, Odds, SoftmaxStats};
use crate::cpu::storage::{self, BLOCK, STREAM_BYTES, Scratch, read_one};
use crate::registry::entries::ensemble_cross_entropy::Call;
use crate::registry::{Floats, FloatsMut, Reduction, Result};

/// What both ways of averaging need; row `m rows + r` of the logits is the sample's in model m.
struct Ensemble<'a> {
    models: usize,
    rows: usize,
    classes: usize,
    logits: Floats<'a>,
    labels: &'a [i64],
    gradients: Option<FloatsMut<'a>>,
    /// Gradients go past the caches.
    stream: bool,
}

/// f32 sums of more would lose digits.
fn short<S: Simd>() -> usize {
    BLOCK.min(64 * S::LANES)
}

impl Ensemble<'_> {
    fn get(&self, m: usize, r: usize, k: usize) -> f32 {
        assert!(m < self.models && r < self.rows && k < self.classes);
        // SAFETY: within the checked buffer.
        unsafe {
            let row = self.logits.row(m * self.rows + r);
            read_one(self.logits.dtype, row.add(k * self.logits.dtype.size()))
        }
    }

    /// Mean over models of z - z_reference for classes `start..start + n`; the mean of z where there is no
    /// reference. The differences come first: what models add to all logits does not blur them.
    #[inline(always)]
    fn mean<S: Simd>(
        &self,
        s: S,
        r: usize,
        (start, n): (usize, usize),
        reference: Option<usize>,
        (to, scratch): (*mut f32, *mut f32),
    ) {
        let dtype = self.logits.dtype;
        let share = s.splat((1.0 / self.models as f64) as f32);
        for m in 0..self.models {
            let about = s.splat(reference.map_or(0.0, |k| self.get(m, r, k)));
            let (first, last) = (m == 0, m + 1 == self.models);
            // SAFETY: within the checked buffer; `to` and `scratch` have room for a block.
            unsafe {
                let from = self.logits.row(m * self.rows + r).add(start * dtype.size());
                storage::ahead(from, n * dtype.size());
                let from = storage::read(s, dtype, from, n, scratch);
                map_into(
                    s,
                    from,
                    to,
                    n,
                    #[inline(always)]
                    |z, k| {
                        let d = s.sub(z, about);
                        let lanes = S::LANES.min(n - k);
                        let sum = if first { d } else { s.add(storage::load_lanes(s, to.add(k), lanes), d) };
                        if last { s.mul(sum, share) } else { sum }
                    },
                );
            }
        }
    }

    /// Calls `each(start, block of means)`.
    #[inline(always)]
    fn blocks<S: Simd>(
        &self,
        s: S,
        r: usize,
        reference: Option<usize>,
        mut each: impl FnMut(usize, &mut [f32]),
    ) {
        let (mut mean, mut scratch) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        let mut start = 0;
        while start < self.classes {
            let n = short::<S>().min(self.classes - start);
            self.mean(s, r, (start, n), reference, (mean.ptr(), scratch.ptr()));
            // SAFETY: just written.
            each(start, unsafe { std::slice::from_raw_parts_mut(mean.ptr(), n) });
            start += n;
        }
    }

    /// The other class of the largest mean, or one whose mean is as large as rounding can tell.
    #[inline(always)]
    fn reference<S: Simd>(&self, s: S, r: usize, label: usize) -> Option<usize> {
        let (mut best, mut found) = (f32::NEG_INFINITY, None);
        self.blocks(
            s,
            r,
            None,
            #[inline(always)]
            |start, block| {
                if let Some(own) = block.get_mut(label.wrapping_sub(start)) {
                    *own = f32::NEG_INFINITY;
                }
                let low = s.splat(f32::NEG_INFINITY);
                let top = fold(
                    s,
                    block,
                    f32::NEG_INFINITY,
                    [low; 4],
                    #[inline(always)]
                    |top, z, _| s.max(top, z),
                );
                let top = s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])));
                if top > best
                    && let Some(k) = block.iter().position(|&z| z == top)
                {
                    (best, found) = (top, Some(start + k));
                }
            },
        );
        found
    }

    /// # Safety
    /// Only the block with sample r calls this.
    unsafe fn out(&self, m: usize, r: usize, scratch: &mut Scratch) -> Option<RowOut> {
        let gradients = self.gradients.as_ref()?;
        Some(unsafe { RowOut::new(gradients, m * self.rows + r, scratch.ptr()) })
    }
}

/// `average` logits.
struct OfLogits<'a>(Ensemble<'a>);

struct Averaged {
    reference: Option<usize>,
    odds: Odds,
}

impl RowSetLoss<1> for OfLogits<'_> {
    type State = Averaged;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 1]) -> Averaged {
        let label = self.0.labels[r] as usize;
        let reference = self.0.reference(s, r, label);
        let mut rest = 0.0;
        // For the gradient the terms are kept: it need not read all models again.
        let keeps = !rows[0].cache.is_null();
        self.0.blocks(
            s,
            r,
            reference,
            #[inline(always)]
            |start, block| {
                let (ptr, n) = (block.as_mut_ptr(), block.len());
                let terms = if keeps { rows[0].cache_at(start) } else { ptr };
                // SAFETY: within the block, or the cache that has room for it.
                let terms = unsafe {
                    map_by_four(
                        s,
                        ptr,
                        terms,
                        n,
                        #[inline(always)]
                        |x| s.softmax_terms(x),
                    );
                    std::slice::from_raw_parts(terms, n)
                };
                let sum = fold_without(
                    s,
                    terms,
                    label.wrapping_sub(start),
                    0.0,
                    [s.zero(); 4],
                    #[inline(always)]
                    |acc, term| s.add(acc, term),
                );
                rest += f64::from(s.reduce_add(s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3]))));
            },
        );
        let lead = |k: usize| {
            let models = 0..self.0.models;
            let sum: f64 =
                models.map(|m| f64::from(self.0.get(m, r, label)) - f64::from(self.0.get(m, r, k))).sum();
            sum / self.0.models as f64
        };
        let odds = match reference {
            Some(k) if lead(k) == f64::INFINITY => Odds::new(s, 0.0, f32::NAN),
            Some(k) => Odds::new(s, lead(k), rest as f32),
            // No other class with a finite mean: the label has it all, unless there is a NaN.
            None => {
                let nan = (0..self.0.models).any(|m| !self.0.get(m, r, label).is_finite())
                    || (self.0.classes > 1 && !(rest < f64::INFINITY));
                Odds::new(s, 0.0, if nan { f32::NAN } else { 0.0 })
            }
        };
        Averaged { reference, odds }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, _r: usize, state: &Averaged) -> f32 {
        state.odds.neg_log_prob(s) as f32
    }

    /// dl/dz^m_k = (p_k - delta_ky) / models: the same for all.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &Averaged,
        rows: &[Row; 1],
        scale: f32,
        _out: &[Option<RowOut>; 1],
    ) {
        if self.0.gradients.is_none() {
            return;
        }
        let scale = f64::from(scale) / self.0.models as f64;
        let weight = s.splat((scale * state.odds.share) as f32);
        let own = (-scale * state.odds.others) as f32;
        if rows[0].cache.is_null() {
            self.0.blocks(
                s,
                r,
                state.reference,
                #[inline(always)]
                |start, block| {
                    let ptr = block.as_mut_ptr();
                    // SAFETY: within the block.
                    unsafe {
                        map_by_four(
                            s,
                            ptr,
                            ptr,
                            block.len(),
                            #[inline(always)]
                            |x| {
                                let mut g = s.softmax_terms(x);
                                for g in &mut g {
                                    *g = s.mul(weight, *g);
                                }
                                g
                            },
                        );
                    }
                    self.write(s, r, start, block, own);
                },
            );
            s.fence();
            return;
        }
        let mut scratch = Scratch::<BLOCK>::new();
        for start in (0..self.0.classes).step_by(BLOCK) {
            let n = BLOCK.min(self.0.classes - start);
            // SAFETY: `state` has filled the cache.
            let block = unsafe {
                map_into(
                    s,
                    rows[0].cache_at(start),
                    scratch.ptr(),
                    n,
                    #[inline(always)]
                    |term, _| s.mul(weight, term),
                );
                std::slice::from_raw_parts_mut(scratch.ptr(), n)
            };
            self.write(s, r, start, block, own);
        }
        s.fence();
    }
}

impl OfLogits<'_> {
    /// Writes a block of the gradient, but for the label's own element, to all models.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, r: usize, start: usize, block: &mut [f32], own: f32) {
        let Some(gradients) = &self.0.gradients else { return };
        if let Some(place) = block.get_mut((self.0.labels[r] as usize).wrapping_sub(start)) {
            *place = own;
        }
        for m in 0..self.0.models {
            // SAFETY: within rows that only the block with sample r writes.
            unsafe {
                let to = gradients.row(m * self.0.rows + r).add(start * gradients.dtype.size());
                storage::write(s, gradients.dtype, block.as_ptr(), to, block.len(), self.0.stream);
            }
        }
    }
}

/// `average` probabilities.
struct OfProbabilities<'a>(Ensemble<'a>);

/// Statistics of more models are found anew for the gradient.
const KEPT: usize = 16;

struct Mixed {
    kept: [SoftmaxStats; KEPT],
    /// -log of the sum over models of p_y.
    neg_log_sum: f64,
    loss: f64,
}

impl OfProbabilities<'_> {
    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, m: usize, r: usize) -> SoftmaxStats {
        let mut scratch = Scratch::<BLOCK>::new();
        // SAFETY: within the checked buffer.
        let row =
            unsafe { Row::new(&self.0.logits, m * self.0.rows + r, scratch.ptr(), std::ptr::null_mut(), 0) };
        softmax::stats(s, &row, self.0.labels[r] as usize)
    }
}

impl RowSetLoss<1> for OfProbabilities<'_> {
    type State = Mixed;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, _rows: &[Row; 1]) -> Mixed {
        let none = SoftmaxStats { top: 0.0, rest: 0.0, own: 0.0 };
        let mut kept = [none; KEPT];
        // Sum of exp(least - nll) about the smallest so far, and of 1 - p_y.
        let (mut least, mut sum, mut others) = (f64::INFINITY, 0.0, 0.0);
        for m in 0..self.0.models {
            let stats = self.stats(s, m, r);
            if m < KEPT {
                kept[m] = stats;
            }
            let odds = stats.odds(s);
            let nll = odds.neg_log_prob_f64();
            others += odds.others;
            if nll < least {
                sum = sum * (nll - least).exp() + 1.0;
                least = nll;
            } else if nll.is_nan() {
                sum = f64::NAN;
            } else if nll < f64::INFINITY {
                sum += (least - nll).exp();
            }
        }
        let models = self.0.models as f64;
        let neg_log_sum = if sum.is_nan() { sum } else { least - sum.ln() };
        // Models that are sure of the label differ from 1 by little.
        let mean = others / models;
        let loss = if mean < 0.5 { -(-mean).ln_1p() } else { neg_log_sum + models.ln() };
        Mixed { kept, neg_log_sum, loss }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &Mixed) -> f32 {
        state.loss as f32
    }

    /// dl/dz^m_k = h_m (p^m_k - delta_ky), h_m = p^m_y / sum of p_y.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &Mixed,
        _rows: &[Row; 1],
        scale: f32,
        _out: &[Option<RowOut>; 1],
    ) {
        let (mut read, mut write) = (Scratch::<BLOCK>::new(), Scratch::<BLOCK>::new());
        for m in 0..self.0.models {
            let stats = if m < KEPT { state.kept[m] } else { self.stats(s, m, r) };
            let odds = stats.odds(s);
            let part = f64::from(scale) * (state.neg_log_sum - odds.neg_log_prob_f64()).exp();
            // SAFETY: within the checked buffers; only the block with sample r writes its rows.
            unsafe {
                let none = std::ptr::null_mut();
                let row = Row::new(&self.0.logits, m * self.0.rows + r, read.ptr(), none, 0);
                let Some(out) = self.0.out(m, r, &mut write) else { return };
                softmax::write_terms(s, &row, stats.top, part * odds.share, &out);
                out.set(self.0.labels[r] as usize, (-part * odds.others) as f32);
            }
        }
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let apart = |g: FloatsMut| g.ptr.cast_const() != call.logits.ptr && g.len * g.dtype.size() > STREAM_BYTES;
    let ensemble = Ensemble {
        models: call.models,
        rows: call.rows,
        classes: call.classes,
        logits: call.logits,
        labels: call.labels,
        gradients: call.grad_logits,
        stream: call.grad_logits.is_some_and(apart),
    };
    let problem = Problem {
        rows: call.rows,
        inputs: [call.logits],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [None],
        more_gradients: ensemble.gradients.is_some(),
    };
    match call.opts.average {
        0 => row_sets::run(cpu, &OfLogits(ensemble), problem),
        _ => row_sets::run(cpu, &OfProbabilities(ensemble), problem),
    }
    Ok(())
}

row_sets_cuda!(ensemble_cross_entropy, rows, classes, [grad_logits]);
