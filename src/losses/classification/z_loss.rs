//! l = softplus(a (b - u_y)) / a,  u = (z - mean) / std of the row.

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
        let low = (mean - f64::from(high)) as f32;
        let (center, rest) = (s.splat(high), s.splat(low));
        let mut squares = 0.0;
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                let sums = rows::fold_without(
                    s,
                    block,
                    label.wrapping_sub(start),
                    high, // what is left out, and lanes beyond the end, add nothing
                    [s.zero(); 4],
                    #[inline(always)]
                    |acc, z| {
                        let d = s.sub(s.sub(z, center), rest);
                        s.mul_add(d, d, acc)
                    },
                );
                squares += f64::from(s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))));
            },
        );
        // A lane left out added the square of `low`, which is nothing beside a deviation f32 can resolve.
        Moments { mean: high, mean_rest: low, deviation: (squares / others).sqrt() as f32 }
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
}

rows_entry!(z_loss, |call: &Call| ZLoss { a: call.opts.a, b: call.opts.b });
