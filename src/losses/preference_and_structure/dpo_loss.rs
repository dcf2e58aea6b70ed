//! h = beta ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)), and a loss of it.

use crate::cpu::elements::{self, Block, ElementLoss, Operand};
use crate::cpu::simd::{Simd, batch::Function};
use crate::registry::entries::dpo_loss::{Call, Options};
use crate::registry::{Reduction, Result};

struct Dpo {
    kind: i32,
    beta: f32,
    /// (1 - e) and e, divided by 1 - 2 e for rdpo.
    keep: f32,
    flip: f32,
    /// 1 / (2 beta) in two parts.
    goal: (f32, f32),
}

const IPO: i32 = 3;
const HINGE: i32 = 4;
const RDPO: i32 = 2;
const DPO: i32 = 0;

impl Dpo {
    fn new(o: &Options) -> Dpo {
        let e = if o.kind == DPO { 0.0 } else { o.flip_probability };
        let (keep, flip) =
            if o.kind == RDPO { ((1.0 - e) / (1.0 - 2.0 * e), -e / (1.0 - 2.0 * e)) } else { (1.0 - e, e) };
        let goal = 0.5 / o.beta;
        Dpo {
            kind: o.kind,
            beta: o.beta as f32,
            keep: keep as f32,
            flip: flip as f32,
            goal: (goal as f32, (goal - f64::from(goal as f32)) as f32),
        }
    }

    /// d in two parts: log-probabilities are large, and their differences small.
    #[inline(always)]
    fn difference<S: Simd>(s: S, [a, b, c, e]: [S::F; 4]) -> (S::F, S::F) {
        let (x, x_rest) = minus(s, a, c);
        let (y, y_rest) = minus(s, b, e);
        let (d, d_rest) = minus(s, x, y);
        let rest = s.add(d_rest, s.sub(x_rest, y_rest));
        // Infinite differences have no rest.
        (d, s.select(s.lt(s.abs(rest), s.splat(f32::INFINITY)), rest, s.zero()))
    }

    #[inline(always)]
    fn margin<S: Simd>(&self, s: S, x: [S::F; 4]) -> S::F {
        let (d, rest) = Self::difference(s, x);
        s.mul(s.splat(self.beta), s.add(d, rest))
    }

    #[inline(always)]
    fn beyond_goal<S: Simd>(&self, s: S, x: [S::F; 4]) -> S::F {
        let (d, rest) = Self::difference(s, x);
        s.add(s.sub(d, s.splat(self.goal.0)), s.sub(rest, s.splat(self.goal.1)))
    }
}

/// a - b, and what rounding took from it.
#[inline(always)]
fn minus<S: Simd>(s: S, a: S::F, b: S::F) -> (S::F, S::F) {
    let d = s.sub(a, b);
    let back = s.sub(d, a);
    (d, s.sub(s.sub(a, s.sub(d, back)), s.add(b, back)))
}

/// Inputs: the four log-probabilities; h or what is beyond the goal; e^-|h|, ln(1 + e^-|h|).
impl ElementLoss<7, 2> for Dpo {
    const DERIVED: usize = 3;

    #[inline(always)]
    fn derive<S: Simd>(&self, s: S, block: Block<7>, _: bool) {
        block.map(
            s,
            4,
            #[inline(always)]
            |[a, b, c, e, ..]| {
                let x = [a, b, c, e];
                if self.kind == IPO { self.beyond_goal(s, x) } else { self.margin(s, x) }
            },
        );
        if self.kind != IPO && self.kind != HINGE {
            block.apply(s, Function::Logistic, 4, 5);
        }
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, [.., h, _, tail]: [S::F; 7]) -> S::F {
        if self.kind == IPO {
            return s.mul(h, h);
        }
        if self.kind == HINGE {
            return s.max(s.zero(), s.sub(s.splat(1.0), h));
        }
        let wrong = s.add(s.max(s.zero(), s.neg(h)), tail);
        if self.flip == 0.0 {
            return wrong;
        }
        let right = s.add(s.max(s.zero(), h), tail);
        s.mul_add(s.splat(self.keep), wrong, s.mul(s.splat(self.flip), right))
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, [.., h, e, _]: [S::F; 7]) -> [S::F; 2] {
        let g = if self.kind == IPO {
            s.add(h, h)
        } else {
            let (one, beta) = (s.splat(1.0), s.splat(self.beta));
            if self.kind == HINGE {
                let slope = s.select(s.lt(h, one), s.neg(beta), s.zero());
                s.select(s.is_nan(h), h, slope)
            } else {
                // flip sigmoid(h) - keep sigmoid(-h).
                let (flip, keep, below) = (s.splat(self.flip), s.splat(self.keep), s.lt(h, s.zero()));
                let right = s.mul(flip, s.select(below, e, one));
                let wrong = s.mul(keep, s.select(below, one, e));
                s.div(s.mul(beta, s.sub(right, wrong)), s.add(one, e))
            }
        };
        [g, s.neg(g)]
    }
}

/// h itself.
struct Margins(Dpo);

impl ElementLoss<4, 0> for Margins {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: [S::F; 4]) -> S::F {
        self.0.margin(s, x)
    }

    #[inline(always)]
    fn gradient<S: Simd>(&self, _s: S, _x: [S::F; 4]) -> [S::F; 0] {
        []
    }
}

mod loss {
    use super::Dpo;

    elements_entry!(
        dpo_loss,
        pairs,
        [
            full policy_chosen,
            full policy_rejected,
            full reference_chosen,
            full reference_rejected,
            derived h,
            derived e,
            derived tail
        ],
        [grad_policy_chosen, grad_policy_rejected],
        |call: &Call| Dpo::new(call.opts)
    );
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    loss::cpu(cpu, call)?;
    if call.margins.is_some() {
        let problem = elements::Problem {
            n: call.pairs,
            rows: call.pairs,
            inputs: [
                call.policy_chosen,
                call.policy_rejected,
                call.reference_chosen,
                call.reference_rejected,
            ]
            .map(Operand::Full),
            reduction: Reduction::None,
            loss: call.margins.as_deref_mut(),
            grad_loss: None,
            gradients: [],
        };
        elements::run(cpu, &Margins(Dpo::new(call.opts)), problem);
    }
    Ok(())
}

#[cfg(gpu)]
pub use loss::cuda_workspace;

#[cfg(gpu)]
use crate::registry::entries::dpo_loss::Args;

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    loss::cuda(device, a)?;
    if a.pass != crate::registry::Pass::Backward as i32 && !a.margins.is_null() && a.pairs > 0 {
        let blocks = a.pairs.div_ceil(256).min(2048) as u32;
        // SAFETY: a struct of integers, floats and pointers.
        let args = unsafe { crate::cuda::bytes_of(a) };
        device.launch("dpo_loss_margins", [blocks, 1, 1], [256, 1, 1], 0, args)?;
    }
    Ok(())
}
