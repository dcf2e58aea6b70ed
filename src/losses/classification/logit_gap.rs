//! Largest logit of a row less the order-th largest.

use crate::cpu::largest::{self, Largest};
use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_sets::{self, Problem, RowSetLoss};
use crate::cpu::simd::Simd;
use crate::cpu::softmax_entropy::index_of;
use crate::cpu::sort;
use crate::registry::entries::logit_gap::{Args, Call};
use crate::registry::{Error, Reduction, Result};

struct LogitGap {
    order: usize,
    classes: usize,
}

struct State {
    gap: f32,
    largest: usize,
    other: usize,
}

/// Value of the order-th largest element, and how many are larger: its digits one by one, from counts of the
/// elements that share those found so far.
#[inline(always)]
fn ranked<S: Simd>(s: S, row: &Row, order: usize) -> (f32, usize) {
    let (mut prefix, mut larger) = (0u32, 0);
    for digit in (0..4).rev() {
        let shift = 8 * digit;
        let mask = if digit == 3 { 0 } else { u32::MAX << (shift + 8) };
        let mut counts = [0usize; 256];
        row.blocks(
            s,
            #[inline(always)]
            |_, block| {
                for &z in block {
                    let key = sort::key(z);
                    if key & mask == prefix {
                        counts[(key >> shift & 255) as usize] += 1;
                    }
                }
            },
        );
        let mut place = 255;
        while place > 0 && larger + counts[place] < order {
            larger += counts[place];
            place -= 1;
        }
        prefix |= (place as u32) << shift;
    }
    (sort::value(prefix), larger)
}

impl RowSetLoss<1> for LogitGap {
    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, rows: &[Row; 1]) -> State {
        let row = &rows[0];
        let mut ends = [(f32::NAN, usize::MAX); 2];
        let found = if self.order <= largest::BATCH { self.order } else { 1 };
        Largest::new(found).each(
            s,
            row,
            #[inline(always)]
            |j, index, value| {
                if j == 0 {
                    ends[0] = (value, index);
                }
                if j == self.order - 1 {
                    ends[1] = (value, index);
                }
            },
        );
        if ends[0].0.is_nan() {
            return State { gap: f32::NAN, largest: usize::MAX, other: usize::MAX };
        }
        if found < self.order {
            let (value, larger) = ranked(s, row, self.order);
            ends[1] = (value, index_of(s, row, value, self.order - 1 - larger));
        }
        let [(first, largest), (last, other)] = ends;
        State { gap: first - last, largest, other }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        state.gap
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
        let len = rows[0].len;
        if state.largest < len && state.other < len {
            out.fill_zero(len);
            out.set(state.largest, scale);
            out.set(state.other, -scale);
        } else {
            rows[0].map_to(
                s,
                out,
                #[inline(always)]
                |_, _| s.splat(f32::NAN),
            );
        }
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        // The very largest of a row of several vectors are found about as quickly in these.
        let quick = if self.classes <= 32 { 1..=FEW } else { 5..=FEW };
        quick.contains(&self.order).then_some(self)
    }
}

/// Highest order in lanes.
const FEW: usize = 16;

impl LaneLoss for &LogitGap {
    type State<S: Simd> = ();

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        _saved: Option<Stats<S>>,
    ) -> LaneRows<S, ()> {
        let (n, zero, one) = (classes.len, s.zero(), s.splat(1.0));
        // The largest so far, in descending order.
        let mut best = [s.splat(f32::NEG_INFINITY); FEW];
        let best = &mut best[..self.order];
        let mut sizes = zero;
        for k in 0..n {
            let mut z = classes.get(s, k);
            sizes = s.add(sizes, s.abs(z));
            for best in best.iter_mut() {
                (*best, z) = (s.max(*best, z), s.min(*best, z));
            }
        }
        let (first, last) = (best[0], best[self.order - 1]);
        let mut larger = zero;
        for k in 0..n {
            larger = s.add(larger, s.select(s.lt(last, classes.get(s, k)), one, zero));
        }
        // Among equals the lower index comes first.
        let before = s.sub(s.splat((self.order - 1) as f32), larger);
        let (mut firsts, mut lasts) = (zero, zero);
        for k in 0..n {
            let z = classes.get(s, k);
            let (is_first, is_last) = (s.eq(z, first), s.eq(z, last));
            let up = s.select(s.and(is_first, s.eq(firsts, zero)), one, zero);
            let down = s.select(s.and(is_last, s.eq(lasts, before)), one, zero);
            firsts = s.add(firsts, s.select(is_first, one, zero));
            lasts = s.add(lasts, s.select(is_last, one, zero));
            classes.set_term(s, k, s.sub(up, down));
        }
        LaneRows {
            stats: [zero; 4],
            loss: s.sub(first, last),
            own: zero,
            ordinary: s.lt(sizes, s.splat(f32::INFINITY)),
            state: (),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _: &(),
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        let sign = classes.term(s, k);
        [s.select(s.eq(sign, s.zero()), sign, s.mul(scale, sign))]
    }
}

pub fn check(a: &Args) -> Result<()> {
    if a.opts.order as u64 > a.classes {
        let (order, classes) = (a.opts.order, a.classes);
        return Err(Error::option(format!(
            "logit_gap: option 'order' is {order}, expected at most classes ({classes})"
        )));
    }
    Ok(())
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let problem = Problem {
        rows: call.rows,
        inputs: [call.logits],
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.gap.as_deref_mut(),
        grad_loss: call.grad_loss,
        gradients: [call.grad_logits],
        more_gradients: false,
    };
    row_sets::run(cpu, &LogitGap { order: call.opts.order as usize, classes: call.classes }, problem);
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::rows::{self, RowsPlan};
    let plan = RowsPlan {
        rows: a.rows,
        classes: a.classes,
        dtype: a.dtype,
        reduction: Reduction::from_code(a.opts.reduction),
        pass: crate::registry::Pass::from_code(a.pass),
        loss: a.gap,
        wants_more: false,
        wants_gradient: !a.grad_logits.is_null(),
        labels: std::ptr::null(),
        ignore_index: 0,
        class_weights: std::ptr::null(),
        needs_weight_sum: false,
        workspace: a.workspace,
    };
    let kernel = if a.opts.order == 2 { "logit_gap" } else { "logit_gap_of_order" };
    Ok(rows::run(device, kernel, unsafe { crate::cuda::bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    crate::cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), false)
}
