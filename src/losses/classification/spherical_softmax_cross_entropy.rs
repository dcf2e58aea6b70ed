//! l = log sum_k f_k - log f_y = log(1 + rest / f_y),  f = z^2 + eps or 1 + z + z^2 / 2, rest the sum of f over
//! the other classes.

use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, Stats};
use crate::cpu::rows::{self, Row, RowLoss, RowOut};
use crate::cpu::simd::{Simd, math};
use bytemuck::{Pod, Zeroable};

struct SphericalSoftmax {
    taylor: bool,
    eps: f64,
}

/// Root of the sum of f over the other classes, in two floats: the sum itself may be beyond f32.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Root {
    root: f32,
    tail: f32,
}

struct State {
    /// Sum of f over the other classes.
    rest: f64,
    /// f of the label, and f'.
    f: f64,
    own: f64,
}

impl RowLoss for SphericalSoftmax {
    type Stats = Root;

    #[inline(always)]
    fn stats<S: Simd>(&self, s: S, row: &Row, label: usize) -> Root {
        let others = (row.len - 1) as f64;
        let mut sums = [(s.d_zero(), s.d_zero()); 4];
        row.blocks(
            s,
            #[inline(always)]
            |start, block| {
                let own = label.wrapping_sub(start);
                sums = if self.taylor {
                    rows::fold_without(
                        s,
                        block,
                        own,
                        0.0,
                        sums,
                        #[inline(always)]
                        |(squares, sum), z| (s.d_mul_add(squares, z, z), s.d_add(sum, z)),
                    )
                } else {
                    rows::fold_without(
                        s,
                        block,
                        own,
                        0.0,
                        sums,
                        #[inline(always)]
                        |(squares, sum), z| (s.d_mul_add(squares, z, z), sum),
                    )
                };
            },
        );
        let [a, b, c, d] = sums;
        let squares = rows::total(s, [a.0, b.0, c.0, d.0]);
        let rest = if self.taylor {
            others + rows::total(s, [a.1, b.1, c.1, d.1]) + squares / 2.0
        } else {
            squares + others * self.eps
        };
        let exact = rest.sqrt();
        let root = exact as f32;
        Root { root, tail: if root.is_finite() { (exact - f64::from(root)) as f32 } else { 0.0 } }
    }

    type State = State;

    #[inline(always)]
    fn state<S: Simd>(&self, _s: S, stats: Root, row: &Row, label: usize) -> State {
        let root = f64::from(stats.root) + f64::from(stats.tail);
        let z = f64::from(row.get(label));
        let (f, own) =
            if self.taylor { (1.0 + z + z * z / 2.0, 1.0 + z) } else { (z * z + self.eps, 2.0 * z) };
        State { rest: root * root, f, own }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, state: &State, _label: usize) -> f32 {
        (state.rest / state.f).ln_1p() as f32
    }

    /// dl/dz_k = f'_k / sum f; of the label -f'_y rest / (f_y sum f).
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, state: &State, row: &Row, label: usize, scale: f32, out: &RowOut) {
        let all = state.rest + state.f;
        let factor = f64::from(scale) * if self.taylor { 1.0 } else { 2.0 } / all;
        // In two equal parts, which f32 can hold where it cannot hold the square of a large logit.
        let root = factor.abs().sqrt();
        let (one, two) = (s.splat(root as f32), s.splat(root.copysign(factor) as f32));
        let shift = s.splat(if self.taylor { 1.0 } else { 0.0 });
        row.map_to(
            s,
            out,
            #[inline(always)]
            |z, _| s.mul(s.mul(s.add(z, shift), one), two),
        );
        out.set(label, (-f64::from(scale) * state.own / state.f * (state.rest / all)) as f32);
    }

    fn lanes(&self) -> Option<impl LaneLoss> {
        Some(self)
    }
}

/// With u = z or 1 + z, f is u^2 + e, or half of it with e = 1: all but the saved root is the same for both.
impl LaneLoss for &SphericalSoftmax {
    /// 2 over the sum of all u^2 + e.
    type State<S: Simd> = S::F;

    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        saved: Option<Stats<S>>,
    ) -> LaneRows<S, S::F> {
        let n = classes.len;
        let (shift, e, share) = if self.taylor { (1.0, 1.0, 0.5) } else { (0.0, self.eps as f32, 1.0) };
        let (zero, two) = (s.zero(), s.splat(2.0));
        let (shift, e, share) = (s.splat(shift), s.splat(e), s.splat(share));
        let mut own = zero;
        let [squares] = classes.sums(
            s,
            #[inline(always)]
            |classes, k, [sum]| {
                let (u, is_own) = (s.add(classes.get(s, k), shift), classes.is_label(s, k));
                classes.set(s, k, u);
                own = s.select(is_own, u, own);
                let u = s.select(is_own, zero, u);
                [s.mul_add(u, u, sum)]
            },
        );
        let rest = match saved {
            Some([root, tail, ..]) => {
                let square = s.mul_add(s.mul(two, root), tail, s.mul(root, root));
                s.div(square, share)
            }
            None => s.mul_add(s.splat((n - 1) as f32), e, squares),
        };
        let f = s.mul_add(own, own, e);
        let ratio = s.div(rest, f);
        let inverse = s.div(two, s.add(rest, f));
        let sum = s.mul(share, rest);
        let root = s.sqrt(sum);
        let tail = s.div(s.mul_add(s.neg(root), root, sum), s.add(root, root));
        // Squares that f32 can hold with all their digits.
        let fits = |x: S::F| s.and(s.lt(s.splat(1e-15), x), s.lt(x, s.splat(1e15)));
        LaneRows {
            stats: [root, tail, zero, zero],
            loss: math::ln_1p(s, ratio),
            own: s.neg(s.mul(s.mul(own, ratio), inverse)),
            ordinary: s.and(fits(rest), fits(f)),
            state: inverse,
        }
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        &inverse: &S::F,
        [classes]: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        [s.mul(s.mul(classes.get(s, k), inverse), scale)]
    }
}

rows_entry!(spherical_softmax_cross_entropy, |call: &Call| SphericalSoftmax {
    taylor: call.opts.kind == 1,
    eps: call.opts.eps
});
