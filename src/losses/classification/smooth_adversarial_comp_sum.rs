//! l = comp-sum loss of z / rho + nu |d|,  d_k = (a_y - a_k) - (z_y - z_k).

use crate::cpu::row::{Row, RowOut, blocks_of, fold_blocks, map_rows, map_rows_by_four, total};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::Simd;
use crate::cpu::softmax_entropy::{self, Entropy, exponents};
use crate::registry::entries::smooth_adversarial_comp_sum::Call;

struct SmoothAdversarial<'a> {
    /// 1 - tau.
    c: f64,
    rho: f64,
    nu: f64,
    labels: &'a [i64],
}

struct State {
    row: Entropy,
    /// -log p_y, and 1 - p_y.
    neg_log_prob: f64,
    others: f64,
    /// |d| and the sum of d.
    norm: f64,
    sum: f64,
}

/// The label's logits in both rows.
fn own(rows: &[Row; 2], label: usize) -> [f32; 2] {
    [rows[0].get(label), rows[1].get(label)]
}

/// Rows: clean, attacked.
impl RowSetLoss<2> for SmoothAdversarial<'_> {
    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 2]) -> State {
        let label = self.labels[r] as usize;
        let stats = softmax_entropy::stats(s, &rows[0], (1.0 / self.rho) as f32);
        let row = stats.entropy(s, 1.0 / self.rho);
        let [z_own, a_own] = own(rows, label);
        let (neg_log_prob, others) = (row.neg_log_prob_f64(z_own), row.class(s, z_own).others);
        let (z_own, a_own) = (s.splat(z_own), s.splat(a_own));
        let zero = s.zero();
        let (mut squares, mut sum) = ([s.d_zero(); 4], 0.0);
        blocks_of(
            s,
            rows,
            #[inline(always)]
            |_, blocks| {
                let n = blocks[0].len();
                let sums = fold_blocks(
                    s,
                    blocks,
                    0.0,
                    [(squares[0], zero), (squares[1], zero), (squares[2], zero), (squares[3], zero)],
                    #[inline(always)]
                    |(squares, sum), [z, a], k| {
                        let d = s.sub(s.sub(a_own, a), s.sub(z_own, z));
                        let d = if n - k < S::LANES { s.select(s.first_n(n - k), d, s.zero()) } else { d };
                        (s.d_mul_add(squares, d, d), s.add(sum, d))
                    },
                );
                for v in 0..4 {
                    squares[v] = sums[v].0;
                }
                let sums = s.add(s.add(sums[0].1, sums[1].1), s.add(sums[2].1, sums[3].1));
                sum += f64::from(s.reduce_add(sums));
            },
        );
        let norm = total(s, squares).sqrt();
        State { row, neg_log_prob, others, norm, sum }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        let v = state.neg_log_prob;
        let clean = if self.c == 0.0 { v } else { (self.c * v).exp_m1() / self.c };
        let change = if self.nu > 0.0 { self.nu * state.norm } else { 0.0 };
        (clean + change) as f32
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &State,
        rows: &[Row; 2],
        scale: f32,
        out: &[Option<RowOut>; 2],
    ) {
        let label = self.labels[r] as usize;
        let own = own(rows, label);
        let (z_own, a_own) = (s.splat(own[0]), s.splat(own[1]));
        let power = if self.c == 0.0 { 1.0 } else { (self.c * state.neg_log_prob).exp() };
        let clean = f64::from(scale) * power / self.rho;
        // One too large for f32, though the products need not be, goes in two factors.
        let (stats, odds) = (&state.row.stats, &state.row.odds);
        let weight = clean * odds.share;
        let huge = weight.abs() > f64::from(f32::MAX) && weight.is_finite();
        let first = if huge { 1e30 } else { weight };
        let (first, second) = (s.splat(first as f32), s.splat((weight / first) as f32));
        let change = if state.norm == 0.0 { 0.0 } else { f64::from(scale) * self.nu / state.norm };
        let direction = s.splat(change as f32);
        let (about, factor) = (s.splat(stats.second), s.splat((1.0 / self.rho) as f32));
        let (largest, at_top) = (s.splat(stats.top), s.splat((clean * odds.own) as f32));
        let out = out.each_ref().map(Option::as_ref);
        let pair = Pair { own: [z_own, a_own], first, second, huge, largest, at_top, direction };
        if rows[0].cached.get() {
            map_rows(
                s,
                rows,
                out,
                #[inline(always)]
                // SAFETY: the statistics have filled the cache, in whole vectors.
                |[z, a], k| pair.gradients(s, z, a, unsafe { s.load(rows[0].cache_at(k)) }),
            );
        } else {
            map_rows_by_four(
                s,
                rows,
                out,
                #[inline(always)]
                |[z, a], _| {
                    let mut g = [s.softmax_terms(exponents(s, z, about, factor)), a];
                    for v in 0..4 {
                        [g[0][v], g[1][v]] = pair.gradients(s, z[v], a[v], g[0][v]);
                    }
                    g
                },
            );
        }
        let t = if self.nu > 0.0 { change * state.sum } else { 0.0 };
        if let Some(out) = out[0] {
            out.set(label, (-clean * state.others - t) as f32);
        }
        if let Some(out) = out[1] {
            out.set(label, t as f32);
        }
    }
}

/// What the gradients of a pair of logits are made of.
struct Pair<S: Simd> {
    own: [S::F; 2],
    /// Factors of an exponential; the second counts where the product is `huge`.
    first: S::F,
    second: S::F,
    huge: bool,
    largest: S::F,
    at_top: S::F,
    direction: S::F,
}

impl<S: Simd> Pair<S> {
    #[inline(always)]
    fn gradients(&self, s: S, z: S::F, a: S::F, e: S::F) -> [S::F; 2] {
        let p = s.mul(self.first, e);
        let p = if self.huge { s.select(s.eq(p, s.zero()), p, s.mul(p, self.second)) } else { p };
        let p = s.select(s.eq(z, self.largest), self.at_top, p);
        let d = s.sub(s.sub(self.own[1], a), s.sub(self.own[0], z));
        let t = s.mul(self.direction, d);
        [s.add(p, t), s.neg(t)]
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = SmoothAdversarial {
        c: 1.0 - call.opts.tau,
        rho: call.opts.rho,
        nu: call.opts.nu,
        labels: call.labels,
    };
    let problem =
        row_sets_problem!(call, rows, [logits, adversarial_logits], [grad_logits, grad_adversarial_logits]);
    row_sets::run(cpu, &loss, problem);
    Ok(())
}

row_sets_cuda!(smooth_adversarial_comp_sum, rows, classes, [grad_logits, grad_adversarial_logits]);
