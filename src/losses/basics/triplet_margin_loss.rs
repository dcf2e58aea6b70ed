//! l = max(0, margin + D(anchor, positive) - D(anchor, negative)), D the p-norm of x - y + eps.

use crate::cpu::row::{Row, RowOut, blocks_of, fold_blocks, map_rows, total};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::{Simd, math};
use crate::registry::entries::triplet_margin_loss::Call;

struct TripletMargin {
    margin: f64,
    p: f64,
    eps: f32,
    swap: bool,
}

struct State {
    /// Of anchor and positive, anchor and negative, positive and negative.
    distances: [f64; 3],
    /// The second distance is the last of them.
    swapped: bool,
    excess: f64,
}

impl TripletMargin {
    /// The differences of which norms are taken.
    #[inline(always)]
    fn differences<S: Simd>(&self, s: S, [a, p, n]: [S::F; 3]) -> [S::F; 3] {
        let eps = s.splat(self.eps);
        [s.add(s.sub(a, p), eps), s.add(s.sub(a, n), eps), s.add(s.sub(p, n), eps)]
    }

    /// Folds `term(|u|)` of the three differences into sums; lanes beyond the end give `beyond`.
    #[inline(always)]
    fn fold<S: Simd, A: Copy>(
        &self,
        s: S,
        rows: &[Row; 3],
        mut acc: [A; 4],
        step: impl Fn(A, [S::F; 3]) -> A,
        mut merge: impl FnMut([A; 4]) -> [A; 4],
    ) -> [A; 4] {
        blocks_of(
            s,
            rows,
            #[inline(always)]
            |_, blocks| {
                let n = blocks[0].len();
                acc = fold_blocks(
                    s,
                    blocks,
                    0.0,
                    acc,
                    #[inline(always)]
                    |acc, x, k| {
                        let mut u = self.differences(s, x);
                        for u in &mut u {
                            *u = s.abs(*u);
                            if n - k < S::LANES {
                                *u = s.select(s.first_n(n - k), *u, s.zero());
                            }
                        }
                        step(acc, u)
                    },
                );
                acc = merge(acc);
            },
        );
        acc
    }

    #[inline(always)]
    fn distances<S: Simd>(&self, s: S, rows: &[Row; 3]) -> [f64; 3] {
        if self.p == 1.0 || self.p == 2.0 {
            let squared = self.p == 2.0;
            let sums = self.fold(
                s,
                rows,
                [[s.d_zero(); 3]; 4],
                #[inline(always)]
                |mut sums: [S::D; 3], u| {
                    for i in 0..if self.swap { 3 } else { 2 } {
                        sums[i] =
                            if squared { s.d_mul_add(sums[i], u[i], u[i]) } else { s.d_add(sums[i], u[i]) };
                    }
                    sums
                },
                #[inline(always)]
                |sums| sums,
            );
            let sum_of = |i: usize| total(s, [sums[0][i], sums[1][i], sums[2][i], sums[3][i]]);
            let sums = [sum_of(0), sum_of(1), sum_of(2)];
            return if squared { sums.map(f64::sqrt) } else { sums };
        }
        // In terms of the largest, so that no power leaves f32's range.
        let most = self.fold(
            s,
            rows,
            [[s.zero(); 3]; 4],
            #[inline(always)]
            |most: [S::F; 3], u| {
                [s.max_nan(most[0], u[0]), s.max_nan(most[1], u[1]), s.max_nan(most[2], u[2])]
            },
            #[inline(always)]
            |most| most,
        );
        let (mut largest, mut inverse) = ([0.0; 3], [s.zero(); 3]);
        for i in 0..3 {
            let pairs = [s.max_nan(most[0][i], most[1][i]), s.max_nan(most[2][i], most[3][i])];
            let m = s.reduce_max(s.max_nan(pairs[0], pairs[1]));
            largest[i] = m;
            inverse[i] = s.splat(if m > 0.0 { 1.0 / m } else { m });
        }
        let most = largest;
        let p = self.p as f32;
        let mut sums = [0.0; 3];
        self.fold(
            s,
            rows,
            [[s.zero(); 3]; 4],
            #[inline(always)]
            |mut acc: [S::F; 3], u| {
                for i in 0..if self.swap { 3 } else { 2 } {
                    acc[i] = s.add(acc[i], power(s, s.mul(u[i], inverse[i]), p));
                }
                acc
            },
            #[inline(always)]
            |acc| {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let parts = s.add(s.add(acc[0][i], acc[1][i]), s.add(acc[2][i], acc[3][i]));
                    *sum += f64::from(s.reduce_add(parts));
                }
                [[s.zero(); 3]; 4]
            },
        );
        let of = |i: usize| f64::from(most[i]) * sums[i].powf(1.0 / self.p);
        let norm = |i: usize| if most[i] == 0.0 { 0.0 } else { of(i) };
        [norm(0), norm(1), norm(2)]
    }
}

/// x^p for x >= 0 and p > 0; the powers that training uses as products.
#[inline(always)]
fn power<S: Simd>(s: S, x: S::F, p: f32) -> S::F {
    match p {
        2.0 => s.mul(x, x),
        3.0 => s.mul(s.mul(x, x), x),
        4.0 => s.mul(s.mul(x, x), s.mul(x, x)),
        _ => math::exp(s, s.mul(s.splat(p), math::ln(s, x))),
    }
}

/// dD/dx for the difference u.
#[derive(Clone, Copy)]
struct Slope<S: Simd> {
    /// 1 / D, 0 for D = 0.
    inverse: S::F,
    weight: S::F,
    exponent: f32,
}

impl<S: Simd> Slope<S> {
    #[inline(always)]
    fn new(s: S, distance: f64, p: f64, weight: f64) -> Self {
        let inverse = if distance == 0.0 { 0.0 } else { 1.0 / distance };
        let weight = if distance == 0.0 { 0.0 } else { weight };
        Slope { inverse: s.splat(inverse as f32), weight: s.splat(weight as f32), exponent: (p - 1.0) as f32 }
    }

    #[inline(always)]
    fn of(&self, s: S, u: S::F) -> S::F {
        let x = s.mul(u, self.inverse);
        s.mul(
            self.weight,
            match self.exponent {
                0.0 => math::sign(s, u),
                1.0 => x,
                exponent => s.copysign(power(s, s.abs(x), exponent), u),
            },
        )
    }
}

impl RowSetLoss<3> for TripletMargin {
    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, _r: usize, rows: &[Row; 3]) -> State {
        let distances = self.distances(s, rows);
        let swapped = self.swap && !(distances[1] <= distances[2]);
        let second = distances[if swapped { 2 } else { 1 }];
        State { distances, swapped, excess: self.margin + distances[0] - second }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        // Not max, which drops a NaN.
        if state.excess < 0.0 { 0.0 } else { state.excess as f32 }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        _r: usize,
        state: &State,
        rows: &[Row; 3],
        scale: f32,
        out: &[Option<RowOut>; 3],
    ) {
        if state.excess <= 0.0 {
            out.iter().flatten().for_each(|g| g.fill_zero(rows[0].len));
            return;
        }
        let weight = if state.excess.is_nan() { f64::NAN } else { f64::from(scale) };
        let near = Slope::new(s, state.distances[0], self.p, weight);
        let far = Slope::new(s, state.distances[if state.swapped { 2 } else { 1 }], self.p, weight);
        map_rows(
            s,
            rows,
            [out[0].as_ref(), out[1].as_ref(), out[2].as_ref()],
            #[inline(always)]
            |x, _| {
                let u = self.differences(s, x);
                let near = near.of(s, u[0]);
                let far = far.of(s, if state.swapped { u[2] } else { u[1] });
                if state.swapped {
                    [near, s.sub(s.neg(near), far), far]
                } else {
                    [s.sub(near, far), s.neg(near), far]
                }
            },
        );
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let o = &call.opts;
    let loss = TripletMargin { margin: o.margin, p: o.p, eps: o.eps as f32, swap: o.swap != 0 };
    let problem = row_sets_problem!(
        call,
        rows,
        [anchor, positive, negative],
        [grad_anchor, grad_positive, grad_negative]
    );
    row_sets::run(cpu, &loss, problem);
    Ok(())
}

row_sets_cuda!(triplet_margin_loss, rows, d, [grad_anchor, grad_positive, grad_negative]);
