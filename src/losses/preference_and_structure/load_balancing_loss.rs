//! experts sum_e f_e P_e, as the mean over the tokens of experts sum_e p_te f_e.

use crate::cpu::Cpu;
use crate::cpu::largest::{self, Largest};
use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::row::{Row, RowOut, blocks_of, fold_blocks};
use crate::cpu::row_sets::{self, Problem, RowSetLoss};
use crate::cpu::simd::{Kernel, Simd, math};
use crate::cpu::softmax;
use crate::cpu::softmax_entropy::index_of;
use crate::cpu::storage::{BLOCK, Scratch, load_lanes};
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::load_balancing_loss::{Args, Call};
use crate::registry::{Floats, Reduction, Result};

pub fn check(a: &Args) -> Result<()> {
    largest::check("load_balancing_loss", a.opts.k, a.experts)
}

/// Parts of the tokens with counts of their own: by sizes alone.
fn parts(tokens: u64, experts: u64) -> u64 {
    (tokens.saturating_mul(experts) >> 15).clamp(1, 16)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let counts = a.experts.saturating_mul(parts(a.tokens, a.experts));
    Size::default().add::<u64>(counts).add::<f32>(a.experts).bytes()
}

/// Counts the choices of some tokens.
struct Count<'a> {
    logits: Floats<'a>,
    k: usize,
    tokens: std::ops::Range<usize>,
    counts: &'a mut [u64],
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Count { logits, k, tokens, counts } = self;
        if k == counts.len() {
            return counts.fill(tokens.len() as u64);
        }
        let (mut read, mut largest) = (Scratch::<BLOCK>::new(), Largest::new(k));
        for r in tokens {
            // SAFETY: row r is within the checked buffer.
            let row = unsafe { Row::new(&logits, r, read.ptr(), std::ptr::null_mut(), 0) };
            largest.next_row();
            largest.each(
                s,
                &row,
                #[inline(always)]
                |_, index, _| counts[index] += 1,
            );
        }
    }
}

struct Balance<'a> {
    /// How many choices fall on each expert.
    counts: &'a [f32],
    /// From counts to `experts` times shares.
    factor: f64,
}

/// Counts are taken less that of the row's largest logit: in a row that is certain of it the gradient is made of
/// small differences of counts, which are exact up to 2^24.
struct State {
    top: f32,
    count: f32,
    /// Sum of exp(z - top), the mean of the counts so taken, and the mean of them as they are: the loss, which has only
    /// terms of one sign.
    sum: f64,
    mean: f64,
    load: f64,
}

impl RowSetLoss<1> for Balance<'_> {
    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, rows: &[Row; 1]) -> State {
        let top = softmax::row_top(s, &rows[0], softmax::NO_LABEL);
        // A row without one, of NaNs, has no mean either.
        let count = self.counts.get(index_of(s, &rows[0], top, 0)).map_or(0.0, |&c| c);
        let (about, less) = (s.splat(top), s.splat(count));
        let (mut sum, mut leads, mut counts) = (0.0, 0.0, 0.0);
        blocks_of(
            s,
            rows,
            #[inline(always)]
            |start, blocks| {
                let from = self.counts[start..].as_ptr();
                let n = blocks[0].len();
                let acc = fold_blocks(
                    s,
                    blocks,
                    f32::NEG_INFINITY,
                    [(s.zero(), s.zero(), s.zero()); 4],
                    #[inline(always)]
                    |(sum, leads, counts), [z], k| {
                        let term = math::exp_softmax(s, s.sub(z, about));
                        // SAFETY: as many counts as logits.
                        let count = unsafe { load_lanes(s, from.add(k), S::LANES.min(n - k)) };
                        let leads = s.mul_add(term, s.sub(count, less), leads);
                        (s.add(sum, term), leads, s.mul_add(term, count, counts))
                    },
                );
                for (terms, of_leads, of_counts) in acc {
                    sum += f64::from(s.reduce_add(terms));
                    leads += f64::from(s.reduce_add(of_leads));
                    counts += f64::from(s.reduce_add(of_counts));
                }
            },
        );
        State { top, count, sum, mean: leads / sum, load: counts / sum }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        (self.factor * state.load) as f32
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        state: &State,
        rows: &[Row; 1],
        scale: f32,
        out: &[Option<RowOut>; 1],
    ) {
        let Some(out) = &out[0] else { return };
        let weight = s.splat((f64::from(scale) * self.factor / state.sum) as f32);
        let (less, mean) = (s.splat(state.count), s.splat(state.mean as f32));
        let (about, counts, n) = (s.splat(state.top), self.counts.as_ptr(), rows[0].len);
        rows[0].map_to(
            s,
            out,
            #[inline(always)]
            |z, k| {
                let p = s.mul(weight, math::exp_softmax(s, s.sub(z, about)));
                // SAFETY: as many counts as logits.
                let count = unsafe { load_lanes(s, counts.add(k), S::LANES.min(n - k)) };
                s.mul(p, s.sub(s.sub(count, less), mean))
            },
        );
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(self)
    }
}

impl LaneLoss for &Balance<'_> {
    /// What exp(z - top) is multiplied by, and the mean count with the largest logit's.
    type State<S: Simd> = (S::F, S::F, S::F);

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        _saved: Option<Stats<S>>,
    ) -> LaneRows<S, (S::F, S::F, S::F)> {
        let top = classes.top(s);
        let mut less = s.zero();
        for k in (0..classes.len).rev() {
            less = s.select(s.eq(classes.get(s, k), top), s.splat(self.counts[k]), less);
        }
        let sum = classes.terms(s, top, false);
        let [leads, counts] = classes.sums(
            s,
            #[inline(always)]
            |classes, k, [leads, counts]| {
                let (term, count) = (classes.get(s, k), s.splat(self.counts[k]));
                [s.mul_add(term, s.sub(count, less), leads), s.mul_add(term, count, counts)]
            },
        );
        let inverse = s.div(s.splat(1.0), sum);
        let factor = s.splat(self.factor as f32);
        LaneRows {
            stats: [s.zero(); 4],
            loss: s.mul(factor, s.mul(counts, inverse)),
            own: s.zero(),
            ordinary: s.lt(sum, s.splat(f32::INFINITY)),
            state: (s.mul(factor, inverse), s.mul(leads, inverse), less),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        &(weight, mean, less): &(S::F, S::F, S::F),
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        let lead = s.sub(s.sub(s.splat(self.counts[k]), less), mean);
        [s.mul(s.mul(s.mul(scale, weight), classes.get(s, k)), lead)]
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (tokens, experts, k) = (call.tokens, call.experts, call.opts.k as usize);
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let parts = parts(tokens as u64, experts as u64) as usize;
    let counts: Places<u64> = work.take_places(experts * parts);
    let logits = call.logits;
    cpu.run(parts, tokens * experts * logits.dtype.size(), &|part| {
        let tokens = tokens * part / parts..tokens * (part + 1) / parts;
        (0..experts).for_each(|e| counts.set(part * experts + e, 0));
        // SAFETY: this part's counts, just cleared.
        let counts = unsafe { counts.slice_mut(part * experts, experts) };
        cpu.isa.dispatch(Count { logits, k, tokens, counts });
    });
    // SAFETY: all parts have been counted.
    let counts = unsafe { counts.slice(0, experts * parts) };
    let total = work.take(experts, 0f32);
    for (e, total) in total.iter_mut().enumerate() {
        *total = counts[e..].iter().step_by(experts).sum::<u64>() as f32;
    }
    let factor = experts as f64 / (tokens.max(1) as f64 * k as f64);
    let problem = Problem {
        rows: tokens,
        inputs: [logits],
        reduction: Reduction::Mean,
        loss: call.loss.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [call.grad_logits],
        more_gradients: false,
    };
    row_sets::run(cpu, &Balance { counts: total, factor }, problem);
    Ok(())
}

/// Counts of the choices, the load, and the choices themselves, before the workspace of rows.
#[cfg(gpu)]
fn rows_offset(a: &Args) -> u64 {
    use crate::cuda::{align_up, largest};
    align_up(a.experts.saturating_mul(8)).saturating_add(largest::workspace_size(a.tokens, a.opts.k as u64))
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::{align_up, bytes_of, largest, rows, rows::RowsPlan};
    let args = unsafe { bytes_of(a) };
    let pass = crate::registry::Pass::from_code(a.pass);
    let wanted = pass.forward() && !a.loss.is_null() || pass.backward() && !a.grad_logits.is_null();
    if wanted && a.tokens > 0 {
        let found = a.workspace.wrapping_byte_add(align_up(a.experts * 8) as usize);
        largest::run(
            device,
            &largest::Rows::new(a.logits, a.dtype, a.tokens, a.experts),
            a.opts.k as u64,
            found,
        )?;
        let blocks = |n: u64| [n.div_ceil(2048).clamp(1, 1024) as u32, 1, 1];
        device.launch("load_balancing_clear", blocks(a.experts), [256, 1, 1], 0, args)?;
        device.launch("load_balancing_count", blocks(a.tokens * a.opts.k as u64), [256, 1, 1], 0, args)?;
    }
    let plan = RowsPlan {
        rows: a.tokens,
        classes: a.experts,
        dtype: a.dtype,
        reduction: Reduction::Mean,
        pass,
        loss: a.loss,
        wants_more: false,
        wants_gradient: !a.grad_logits.is_null(),
        labels: std::ptr::null(),
        ignore_index: 0,
        class_weights: std::ptr::null(),
        needs_weight_sum: false,
        workspace: a.workspace.wrapping_byte_add(rows_offset(a) as usize),
    };
    Ok(rows::run(device, "load_balancing_loss", args, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let rows = crate::cuda::rows::workspace_size(a.tokens, a.experts, Reduction::Mean, false);
    rows_offset(a).saturating_add(rows)
}
