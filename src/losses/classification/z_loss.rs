//! l = softplus(a (b - u_y)) / a,  u = (z - mean) / std of the row.

use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::rows::{self, Row, RowLoss, RowOut};
use crate::cpu::simd::{Simd, math};
use bytemuck::{Pod, Zeroable};

struct ZLoss {
    a: f64,
    b: f64,
}

/// Moments of the classes other than the label's: from them everything has a form in which nothing cancels
/// for a confident row.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Moments {
    /// Mean in two floats.
    mean: f32,
    mean_rest: f32,
    /// Standard deviation.
    deviation: f32,
}

/// The label in its row.
struct Score {
    mean: f64,
    deviation: f64,
    /// z_y - mean of the others.
    difference: f64,
    /// Standard deviation of the whole row; 0 for a constant one.
    std: f64,
    /// Standardised score of the label.
    u: f64,
}

impl Score {
    fn new(m: &Moments, row: &Row, label: usize) -> Score {
        let mean = f64::from(m.mean) + f64::from(m.mean_rest);
        let difference = f64::from(row.get(label)) - mean;
        let classes = row.len as f64;
        let share = (classes - 1.0) / classes;
        let deviation = f64::from(m.deviation);
        let std = (share * (difference * difference / classes + deviation * deviation)).sqrt();
        let u = if std == 0.0 { 0.0 } else { share * difference / std };
        Score { mean, deviation, difference, std, u }
    }
}

impl RowLoss for ZLoss {
    type Stats = Moments;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Moments {
        let others = (row.len - 1).max(1) as f64;
        let mut sum = [s.d_zero(); 4];
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                sum = rows::fold_without(
                    s,
                    block,
                    label.wrapping_sub(start),
                    0.0,
                    sum,
                    #[inline(always)]
                    |acc, z| s.d_add(acc, z),
                );
            },
        );
        let mean = if row.len == 1 { f64::from(row.get(label)) } else { rows::total(s, sum) / others };
        let high = mean as f32;
        let center = s.splat(high);
        // About the rounded mean, where lanes beyond the end add nothing.
        let mut squares = 0.0;
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                let sums = rows::fold_without(
                    s,
                    block,
                    label.wrapping_sub(start),
                    high,
                    [s.zero(); 4],
                    #[inline(always)]
                    |acc, z| {
                        let d = s.sub(z, center);
                        s.mul_add(d, d, acc)
                    },
                );
                squares += f64::from(s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))));
            },
        );
        let low = mean - f64::from(high);
        let variance = squares / others - low * low;
        // Not variance.max(0.0), which drops a NaN.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        Moments { mean: high, mean_rest: low as f32, deviation: variance.sqrt() as f32 }
    }

    type State = Score;

    #[inline(always)]
    fn state<S: Simd>(&self, _s: S, moments: Moments, row: &Row, label: usize) -> Score {
        Score::new(&moments, row, label)
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, s: S, score: &Score, _label: usize) -> f32 {
        let x = self.a * (self.b - score.u);
        let tail = s.first(math::ln_1p_unit(s, s.splat((-x.abs()).exp() as f32)));
        // Not x.max(0.0), which drops a NaN.
        let hinge = if x < 0.0 { 0.0 } else { x };
        ((hinge + f64::from(tail)) / self.a) as f32
    }

    /// dl/dz_k = -logistic(a (b - u_y)) (delta_ky - 1/C - u_y u_k / C) / std.
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, score: &Score, row: &Row, label: usize, scale: f32, out: &RowOut) {
        let &Score { mean, deviation, difference, std, u } = score;
        if std == 0.0 {
            row.map_to(
                s,
                out,
                #[inline(always)]
                |_, _| s.zero(),
            );
            return;
        }
        let classes = row.len as f64;
        let common = f64::from(scale) / (1.0 + (-self.a * (self.b - u)).exp()) / (classes * std);
        // A line in z_k, which crosses zero at `center`; one too flat for that is anchored at the mean.
        let slope = common * u / std;
        let (center, offset) = if u.abs() < 0.5 {
            (mean + difference / classes, common)
        } else {
            (mean - deviation / difference * deviation, 0.0)
        };
        let high = center as f32;
        let low = s.splat((center - f64::from(high)) as f32);
        let (high, slope, offset) = (s.splat(high), s.splat(slope as f32), s.splat(offset as f32));
        // 1 - 1/C - u^2/C has no cancellation in terms of the others' deviation.
        let others = classes - 1.0;
        let own = -common * others * (others / classes) * (deviation / std).powi(2);
        row.map_to(
            s,
            out,
            #[inline(always)]
            |z, _| s.mul_add(slope, s.sub(s.sub(z, high), low), offset),
        );
        out.set(label, own as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(self)
    }
}

impl LaneLoss for &ZLoss {
    /// Gradient of a class as a line in what its logit is above the mean of the others: slope and offset.
    type State<S: Simd> = (S::F, S::F);

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        saved: Option<Stats<S>>,
    ) -> LaneRows<S, (S::F, S::F)> {
        let (n, zero, one) = (classes.len, s.zero(), s.splat(1.0));
        let others = s.splat((n - 1) as f32);
        let mut own = zero;
        let [sum] = classes.sums(
            s,
            #[inline(always)]
            |classes, k, [sum]| {
                let (z, is_own) = (classes.get(s, k), classes.is_label(s, k));
                own = s.select(is_own, z, own);
                [s.add(sum, s.select(is_own, zero, z))]
            },
        );
        let center = match saved {
            Some([mean, ..]) => mean,
            None => s.div(sum, others),
        };
        // The sum is what the rounded center leaves of the mean.
        let [sum, squares] = classes.sums(
            s,
            #[inline(always)]
            |classes, k, [sum, squares]| {
                let d = s.sub(classes.get(s, k), center);
                classes.set(s, k, d);
                let d = s.select(classes.is_label(s, k), zero, d);
                [s.add(sum, d), s.mul_add(d, d, squares)]
            },
        );
        let (rest, deviation) = match saved {
            Some([_, rest, deviation, _]) => (rest, deviation),
            None => {
                let rest = s.div(sum, others);
                (rest, s.sqrt(s.div(s.sub(squares, s.mul(rest, sum)), others)))
            }
        };
        // Of the root, as it is from what was saved: the same to the bit.
        let square = s.mul(deviation, deviation);
        let difference = s.sub(s.sub(own, center), rest);
        let share = (n - 1) as f64 / n as f64;
        let variance = s.mul_add(s.mul(difference, difference), s.splat((1.0 / n as f64) as f32), square);
        let inverse = s.div(one, s.sqrt(s.mul(s.splat(share as f32), variance)));
        let u = s.mul(s.mul(s.splat(share as f32), difference), inverse);
        let (a, b) = (s.splat(self.a as f32), s.splat(self.b as f32));
        let x = s.mul(a, s.sub(b, u));
        let loss = math::softplus(s, x);
        let weight = s.div(s.mul(math::sigmoid(s, x), inverse), s.mul(s.splat(n as f32), variance));
        // Neither the center nor b - u may have lost digits that count, nor squares any.
        let fits = |x: S::F| s.and(s.lt(s.splat(1e-15), x), s.lt(x, s.splat(1e15)));
        let centered = s.lt(s.mul(s.splat(8.0), s.mul(rest, sum)), squares);
        let known = s.lt(s.mul(a, s.add(s.abs(b), s.abs(u))), s.max(s.add(loss, loss), s.splat(2.0)));
        LaneRows {
            stats: [center, rest, deviation, zero],
            loss: s.div(loss, a),
            own: s.neg(s.mul(s.mul(weight, others), square)),
            ordinary: s.and(s.and(fits(variance), fits(square)), s.and(centered, known)),
            state: (s.mul(weight, difference), s.mul(weight, s.sub(square, s.mul(difference, rest)))),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        &(slope, offset): &(S::F, S::F),
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        [s.mul(scale, s.mul_add(slope, classes.get(s, k), offset))]
    }
}

rows_entry!(z_loss, |call: &Call| ZLoss { a: call.opts.a, b: call.opts.b });
