//! l = t (logsumexp(d / t) - log C),  d_k = z_k - z_y + margin; t fixed, or the row's own.

use crate::cpu::parallel::Cells;
use crate::cpu::row::{Block, Row, RowOut, short};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::Simd;
use crate::cpu::softmax::{Odds, row_top};
use crate::cpu::softmax_entropy::exponents;
use crate::cpu::storage::BLOCK;
use crate::registry::entries::label_distributionally_robust::Call;

struct Robust<'a> {
    temperature: f64,
    margin: f64,
    adaptive: bool,
    alpha: f64,
    labels: &'a [i64],
    ignore_index: i64,
    temperatures: Option<Cells<'a>>,
}

/// Sums over the classes but the label of exp(x) times 1, x, x^2 and x^3, x = (z - top) / t.
#[derive(Clone, Copy)]
struct Sums {
    rest: f64,
    cross: f64,
    square: f64,
    cube: f64,
}

struct State {
    temperature: f64,
    /// Largest logit but the label's.
    top: f32,
    odds: Odds,
    classes: f64,
}

/// Long rows are first taken one block in this many.
const PART: usize = 8;

/// f32 sums of more would lose digits.
const SHORT: usize = 1024;

/// Of every `every`-th block of the row, for all of them.
#[inline(always)]
fn sums<S: Simd>(s: S, row: &Row, label: usize, top: f32, temperature: f64, every: usize) -> Sums {
    let (about, factor) = (s.splat(top), s.splat((1.0 / temperature) as f32));
    let mut sums = Sums { rest: 0.0, cross: 0.0, square: 0.0, cube: 0.0 };
    let short = SHORT.min(short::<S>());
    let mut seen = 0;
    row.blocks(
        s,
        #[inline(always)]
        |start, block| {
            if !(start / BLOCK).is_multiple_of(every) {
                return;
            }
            seen += block.len();
            let mut at = 0;
            while at < block.len() {
                let part = &block[at..block.len().min(at + short)];
                let acc = Block::of(part).fold_without(
                    s,
                    label.wrapping_sub(start + at),
                    f32::NEG_INFINITY,
                    [[s.zero(); 4]; 4],
                    #[inline(always)]
                    || (),
                    #[inline(always)]
                    |mut acc: [[S::F; 4]; 4], z, _| {
                        let x = exponents(s, z, about, factor);
                        let term = s.softmax_terms(x);
                        for v in 0..4 {
                            let first = s.mul(term[v], x[v]);
                            let second = s.mul(first, x[v]);
                            acc[v][0] = s.add(acc[v][0], term[v]);
                            acc[v][1] = s.add(acc[v][1], first);
                            acc[v][2] = s.add(acc[v][2], second);
                            acc[v][3] = s.mul_add(second, x[v], acc[v][3]);
                        }
                        acc
                    },
                );
                let total = |i: usize| {
                    f64::from(s.reduce_add(s.add(s.add(acc[0][i], acc[1][i]), s.add(acc[2][i], acc[3][i]))))
                };
                sums.rest += total(0);
                sums.cross += total(1);
                sums.square += total(2);
                sums.cube += total(3);
                at += short;
            }
        },
    );
    if every > 1 {
        let all = row.len as f64 / seen as f64;
        for sum in [&mut sums.rest, &mut sums.cross, &mut sums.square, &mut sums.cube] {
            *sum *= all;
        }
    }
    sums
}

/// A row: what does not depend on the temperature.
struct Rows<'a> {
    row: &'a Row,
    label: usize,
    top: f32,
    /// The label's d less the largest of the others.
    lead: f64,
}

impl Rows<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, s: S, temperature: f64, every: usize) -> (Sums, Odds) {
        let mut sums = sums(s, self.row, self.label, self.top, temperature, every);
        if self.lead == f64::INFINITY {
            sums.rest = f64::NAN; // a label with an infinite logit
        }
        let odds = Odds::new(s, self.lead / temperature, sums.rest as f32);
        (sums, odds)
    }

    /// KL(p || uniform), and the second and third central moment of d / t under p.
    #[inline(always)]
    fn divergence<S: Simd>(&self, s: S, temperature: f64, every: usize) -> (f64, f64, f64) {
        let (sums, odds) = self.at(s, temperature, every);
        let x = if odds.own == 0.0 { 0.0 } else { self.lead / temperature };
        let mean = odds.share * sums.cross + odds.own * x;
        let square = odds.share * sums.square + odds.own * x * x;
        let cube = odds.share * sums.cube + odds.own * x * x * x;
        let entropy = odds.log_sum(s) - mean;
        let third = cube - mean * (3.0 * square - 2.0 * mean * mean);
        ((self.row.len as f64).ln() - entropy, (square - mean * mean).max(0.0), third)
    }
}

impl Robust<'_> {
    /// The root of alpha (t - t0) - KL(t), which increases in t. Halley's steps, halving where they leave the
    /// bracket: each costs a sweep over the row, so that long rows first take them on a part of it.
    #[inline(always)]
    fn solve<S: Simd>(&self, s: S, rows: &Rows) -> f64 {
        let long = rows.row.len >= 16 * BLOCK;
        let (mut t, mut every) = (self.temperature, if long { PART } else { 1 });
        loop {
            t = self.root(s, rows, t, every);
            if every == 1 {
                return t;
            }
            every = 1;
        }
    }

    /// From a guess on.
    #[inline(always)]
    fn root<S: Simd>(&self, s: S, rows: &Rows, guess: f64, every: usize) -> f64 {
        let start = self.temperature;
        let (mut low, mut high) = (start, f64::INFINITY);
        let mut t = guess;
        // Convergence is cubic; on a part of a row it need not be exact.
        let enough = if every == 1 { 2e-3 } else { 0.1 };
        for _ in 0..60 {
            let (divergence, variance, third) = rows.divergence(s, t, every);
            let excess = self.alpha * (t - start) - divergence;
            // Not a number, or no larger than its rounding.
            if excess.is_nan() || (t == start && divergence <= 0.0) {
                return t;
            }
            if excess < 0.0 {
                low = t;
                high = high.min(start + divergence / self.alpha);
            } else {
                high = t;
            }
            let (slope, bend) = (self.alpha + variance / t, -(3.0 * variance + third) / (t * t));
            let next = t - 2.0 * excess * slope / (2.0 * slope * slope - excess * bend);
            let next = if next >= low && next <= high { next } else { 0.5 * (low + high) };
            let step = (next - t).abs();
            t = next;
            if step <= enough * t {
                break;
            }
        }
        t
    }
}

impl RowSetLoss<1> for Robust<'_> {
    type State = State;

    fn counts(&self, r: usize) -> bool {
        self.labels[r] != self.ignore_index
    }

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 1]) -> State {
        let (row, label) = (&rows[0], self.labels[r] as usize);
        let own = f64::from(row.get(label));
        let mut top = row_top(s, row, label);
        let mut lead = own - self.margin - f64::from(top);
        if top == f32::NEG_INFINITY && own < f64::INFINITY {
            // No other class: any reference does.
            (top, lead) = (0.0, if own.is_nan() { own } else { 0.0 });
        }
        let rows = Rows { row, label, top, lead };
        let temperature = if self.adaptive { self.solve(s, &rows) } else { self.temperature };
        if let Some(out) = self.temperatures {
            out.set(r, temperature as f32);
        }
        let (_, odds) = rows.at(s, temperature, 1);
        State { temperature, top, odds, classes: row.len as f64 }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, _r: usize, state: &State) -> f32 {
        let moved = state.temperature - self.temperature;
        let price = if self.adaptive { 0.5 * self.alpha * moved * moved } else { 0.0 };
        let value = state.temperature * (state.odds.neg_log_prob(s) - state.classes.ln());
        (value + price) as f32
    }

    /// dl/dz_k = p_k - delta_ky.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &State,
        rows: &[Row; 1],
        scale: f32,
        out: &[Option<RowOut>; 1],
    ) {
        let Some(out) = &out[0] else { return };
        let (about, factor) = (s.splat(state.top), s.splat((1.0 / state.temperature) as f32));
        let weight = s.splat((f64::from(scale) * state.odds.share) as f32);
        rows[0].map_to_by_four(
            s,
            out,
            #[inline(always)]
            |z, _| {
                let mut g = s.softmax_terms(exponents(s, z, about, factor));
                for g in &mut g {
                    *g = s.mul(weight, *g);
                }
                g
            },
        );
        out.set(self.labels[r] as usize, (-f64::from(scale) * state.odds.others) as f32);
    }

    fn clear(&self, r: usize) {
        if let Some(out) = self.temperatures {
            out.set(r, 0.0);
        }
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = Robust {
        temperature: call.opts.temperature,
        margin: call.opts.margin,
        adaptive: call.opts.adaptive != 0,
        alpha: call.opts.alpha,
        labels: call.labels,
        ignore_index: call.opts.ignore_index,
        temperatures: call.temperatures.as_deref_mut().map(Cells::new),
    };
    row_sets::run(cpu, &loss, row_sets_problem!(call, rows, [logits], [grad_logits]));
    Ok(())
}

row_sets_cuda!(label_distributionally_robust, rows, classes, [grad_logits], ignoring, [temperatures]);
