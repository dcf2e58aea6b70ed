//! l = w_y / C sum over k other than y of max(0, margin - z_y + z_k)^p.

use crate::cpu::elements::hinged;
use crate::cpu::rows::{self, Problem, Row, RowLoss, RowOut};
use crate::cpu::simd::Simd;
use crate::cpu::storage::class_weight;
use crate::registry::entries::multi_margin_loss::Call;
use crate::registry::{Floats, Reduction, Result};
use bytemuck::{Pod, Zeroable};

struct MultiMarginLoss<'a> {
    margin: f32,
    squared: bool,
    weights: Option<Floats<'a>>,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Sums {
    /// Of h^p.
    loss: f32,
    /// Of p h^(p - 1).
    slope: f32,
}

impl MultiMarginLoss<'_> {
    /// p h^(p - 1) where h > 0.
    #[inline(always)]
    fn slope<S: Simd>(&self, s: S, h: S::F) -> S::F {
        hinged(s, h, if self.squared { s.add(h, h) } else { s.splat(1.0) })
    }
}

impl RowLoss for MultiMarginLoss<'_> {
    type Stats = Sums;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Sums {
        let (own, margin) = (s.splat(row.get(label)), s.splat(self.margin));
        let mut sums = [[s.d_zero(); 2]; 4];
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                sums = rows::fold_without(
                    s,
                    block,
                    label.wrapping_sub(start),
                    f32::NEG_INFINITY,
                    sums,
                    #[inline(always)]
                    |[loss, slope], z| {
                        // The difference first: exact for logits close to each other.
                        let h = s.add(s.sub(z, own), margin);
                        let above = s.max(s.zero(), h);
                        let value = if self.squared { s.mul(above, above) } else { above };
                        [s.d_add(loss, value), s.d_add(slope, self.slope(s, h))]
                    },
                );
            },
        );
        let total = |i: usize| rows::total(s, sums.map(|sum| sum[i])) as f32;
        // With -inf as its own logit every difference is infinite; with NaN it has no others to show it.
        let poison = if row.get(label).is_nan() { f32::NAN } else { 0.0 };
        Sums { loss: total(0) + poison, slope: total(1) + poison }
    }

    /// With the row's weight over the number of classes.
    type State = (Sums, f64);

    #[inline(always)]
    fn state<S: Simd>(&self, _s: S, sums: Sums, row: &Row, label: usize) -> (Sums, f64) {
        (sums, class_weight(self.weights, label) / row.len as f64)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, (sums, factor): &(Sums, f64), _label: usize) -> f32 {
        (factor * f64::from(sums.loss)) as f32
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        (sums, factor): &(Sums, f64),
        row: &Row,
        label: usize,
        scale: f32,
        out: &RowOut,
    ) {
        let (own, margin) = (s.splat(row.get(label)), s.splat(self.margin));
        let factor = (f64::from(scale) * factor) as f32;
        let weight = s.splat(factor);
        row.map_to(
            s,
            out,
            #[inline(always)]
            |z, _| s.mul(weight, self.slope(s, s.add(s.sub(z, own), margin))),
        );
        out.set(label, -factor * sums.slope);
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let loss = MultiMarginLoss {
        margin: call.opts.margin as f32,
        squared: call.opts.p == 2,
        weights: call.class_weights,
    };
    let problem = Problem {
        rows: call.rows,
        classes: call.classes,
        logits: call.logits,
        labels: call.labels,
        ignore_index: None,
        reduction: Reduction::from_code(call.opts.reduction),
        loss: call.loss.as_deref_mut(),
        saved_in: call.saved_in,
        saved_out: call.saved_out.as_deref_mut(),
        grad_loss: call.grad_loss,
        grad_logits: call.grad_logits,
    };
    rows::run(cpu, &loss, problem);
    Ok(())
}

row_sets_cuda!(multi_margin_loss, rows, classes, [grad_logits]);
