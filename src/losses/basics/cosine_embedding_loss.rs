//! l = 1 - c for pairs of target +1, max(0, c - margin) for others, c the cosine of a and b.

use crate::cpu::row::{Row, RowOut, blocks_of, fold_blocks, map_rows, total};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::Simd;
use crate::cpu::storage::read_one;
use crate::registry::Floats;
use crate::registry::entries::cosine_embedding_loss::Call;

struct CosineEmbedding<'a> {
    margin: f64,
    target: Floats<'a>,
}

struct State {
    /// |a|^2 and |b|^2, a little more.
    a: f64,
    b: f64,
    cosine: f64,
    loss: f64,
    /// dl/dc.
    slope: f64,
}

/// Keeps vectors of length 0 from dividing by it; PyTorch's.
const EPSILON: f64 = 1e-12;

impl RowSetLoss<2> for CosineEmbedding<'_> {
    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 2]) -> State {
        let mut sums = [[s.d_zero(); 3]; 4];
        blocks_of(
            s,
            rows,
            #[inline(always)]
            |_, blocks| {
                // In f64: 1 - c of nearly parallel vectors keeps its digits.
                sums = fold_blocks(
                    s,
                    blocks,
                    0.0,
                    sums,
                    #[inline(always)]
                    |[ab, aa, bb], [a, b], _| {
                        [s.d_mul_add(ab, a, b), s.d_mul_add(aa, a, a), s.d_mul_add(bb, b, b)]
                    },
                );
            },
        );
        let sum_of = |i: usize| total(s, [sums[0][i], sums[1][i], sums[2][i], sums[3][i]]);
        let (a, b) = (sum_of(1) + EPSILON, sum_of(2) + EPSILON);
        let cosine = sum_of(0) / (a * b).sqrt();
        // SAFETY: sample r is within the checked buffer.
        let target = unsafe { read_one(self.target.dtype, self.target.at(r)) };
        let excess = cosine - self.margin;
        let (loss, slope) = if target > 0.0 {
            (1.0 - cosine, -1.0)
        } else if target.is_nan() || excess.is_nan() {
            (f64::NAN, f64::NAN)
        } else if excess > 0.0 {
            (excess, 1.0)
        } else {
            (0.0, 0.0)
        };
        State { a, b, cosine, loss, slope }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        state.loss as f32
    }

    /// dc/da = b / sqrt(A B) - a c / A.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        state: &State,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
    ) {
        let slope = f64::from(scale) * state.slope;
        // Scaled to length 1, so that neither the lengths nor their product leave f32's range.
        let (a_norm, b_norm) = (state.a.sqrt(), state.b.sqrt());
        let (a_unit, b_unit) = (s.splat((1.0 / a_norm) as f32), s.splat((1.0 / b_norm) as f32));
        let (a_slope, b_slope) = (s.splat((slope / a_norm) as f32), s.splat((slope / b_norm) as f32));
        let cosine = s.splat(state.cosine as f32);
        map_rows(
            s,
            rows,
            [out[0].as_ref(), out[1].as_ref()],
            #[inline(always)]
            |[a, b], _| {
                let (a, b) = (s.mul(a_unit, a), s.mul(b_unit, b));
                let da = s.mul_add(s.neg(a), cosine, b);
                let db = s.mul_add(s.neg(b), cosine, a);
                [s.mul(a_slope, da), s.mul(b_slope, db)]
            },
        );
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = CosineEmbedding { margin: call.opts.margin, target: call.target };
    row_sets::run(cpu, &loss, row_sets_problem!(call, rows, [a, b], [grad_a, grad_b]));
    Ok(())
}

row_sets_cuda!(cosine_embedding_loss, rows, d, [grad_a, grad_b]);
