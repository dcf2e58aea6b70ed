//! The forward and backward variables of one sample, a frame at a time.
//!
//! The states "blank before label i" and "label i" are kept apart, `n` = labels + 1 of each (the last label
//! is none and has weight zero), so that a step is two loops over neighbours. All numbers are extended.

use crate::cpu::extended::{STEPS, ZERO, add, add3, max, normalise};

/// f64 values of one array: `n` rounded up to whole vectors, and room for neighbours before and after.
pub fn pitch(n: usize) -> usize {
    n.next_multiple_of(8).saturating_add(8)
}

/// Arrays of a row of variables.
pub const ROW: usize = 4;

/// Mantissas and exponents of blanks and labels. Element i is at i + 1: zeros before and behind it.
pub struct Row<'a> {
    pub blank_m: &'a [f64],
    pub blank_e: &'a [f64],
    pub label_m: &'a [f64],
    pub label_e: &'a [f64],
}

impl<'a> Row<'a> {
    #[inline(always)]
    pub fn new(memory: &'a [f64], pitch: usize) -> Row<'a> {
        let (blank, label) = memory[..ROW * pitch].split_at(2 * pitch);
        let ((blank_m, blank_e), (label_m, label_e)) = (blank.split_at(pitch), label.split_at(pitch));
        Row { blank_m, blank_e, label_m, label_e }
    }
}

pub fn clear(row: &mut [f64], pitch: usize) {
    for (mantissa, exponent) in row.chunks_exact_mut(2 * pitch).map(|pair| pair.split_at_mut(pitch)) {
        mantissa.fill(1.0);
        exponent.fill(ZERO);
    }
}

/// Weights of a frame: mantissas and exponents of the labels, and of the blank.
pub struct Weights<'a> {
    pub label_m: &'a [f64],
    pub label_e: &'a [f64],
    pub blank: (f64, f64),
}

/// What a step writes; index i + 1 is element i.
struct RowMut<'a> {
    blank_m: &'a mut [f64],
    blank_e: &'a mut [f64],
    label_m: &'a mut [f64],
    label_e: &'a mut [f64],
}

#[inline(always)]
fn row_mut(memory: &mut [f64], pitch: usize) -> RowMut<'_> {
    let (blank, label) = memory[..ROW * pitch].split_at_mut(2 * pitch);
    let (blank_m, blank_e) = blank.split_at_mut(pitch);
    let (label_m, label_e) = label.split_at_mut(pitch);
    RowMut { blank_m, blank_e, label_m, label_e }
}

/// The first frame's forward variables.
#[inline(always)]
pub fn start(out: &mut [f64], pitch: usize, w: &Weights) {
    clear(out, pitch);
    let out = row_mut(out, pitch);
    (out.blank_m[1], out.blank_e[1]) = w.blank;
    (out.label_m[1], out.label_e[1]) = (w.label_m[0], w.label_e[0]);
}

/// Forward variables of a frame from those before it. `skip` holds 0 where the blank before label i may be
/// left out, ZERO where not.
#[inline(always)]
pub fn forward(
    n: usize,
    prev: &[f64],
    out: &mut [f64],
    pitch: usize,
    w: &Weights,
    skip: &[f64],
    frame: usize,
) {
    let (prev, out) = (Row::new(prev, pitch), row_mut(out, pitch));
    (out.label_m[0], out.label_e[0]) = (1.0, ZERO);
    let (bm, be, lm, le) = (prev.blank_m, prev.blank_e, prev.label_m, prev.label_e);
    blanks(n, &bm[1..], &be[1..], lm, le, w.blank, &mut out.blank_m[1..], &mut out.blank_e[1..]);
    labels(
        n,
        [&lm[1..], &bm[1..], lm],
        [&le[1..], &be[1..], le],
        skip,
        w,
        &mut out.label_m[1..],
        &mut out.label_e[1..],
    );
    if frame.is_multiple_of(STEPS) {
        renew(n, &mut out.blank_m[1..], &mut out.blank_e[1..]);
        renew(n, &mut out.label_m[1..], &mut out.label_e[1..]);
    }
}

/// (stay + from) weight, for each blank.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn blanks(
    n: usize,
    stay_m: &[f64],
    stay_e: &[f64],
    from_m: &[f64],
    from_e: &[f64],
    weight: (f64, f64),
    out_m: &mut [f64],
    out_e: &mut [f64],
) {
    let (stay_m, stay_e, from_m, from_e) = (&stay_m[..n], &stay_e[..n], &from_m[..n], &from_e[..n]);
    let (out_m, out_e) = (&mut out_m[..n], &mut out_e[..n]);
    for i in 0..n {
        let (m, e) = add(stay_m[i], stay_e[i], from_m[i], from_e[i]);
        out_m[i] = m * weight.0;
        out_e[i] = max(e + weight.1, ZERO);
    }
}

/// (stay + from + skipped) weight, for each label.
#[inline(always)]
fn labels(
    n: usize,
    m: [&[f64]; 3],
    e: [&[f64]; 3],
    skip: &[f64],
    w: &Weights,
    out_m: &mut [f64],
    out_e: &mut [f64],
) {
    let (m0, m1, m2) = (&m[0][..n], &m[1][..n], &m[2][..n]);
    let (e0, e1, e2) = (&e[0][..n], &e[1][..n], &e[2][..n]);
    let (skip, wm, we) = (&skip[..n], &w.label_m[..n], &w.label_e[..n]);
    let (out_m, out_e) = (&mut out_m[..n], &mut out_e[..n]);
    for i in 0..n {
        let (m, e) = add3(m0[i], e0[i], m1[i], e1[i], m2[i], e2[i] + skip[i]);
        out_m[i] = m * wm[i];
        out_e[i] = max(e + we[i], ZERO);
    }
}

#[inline(always)]
fn renew(n: usize, m: &mut [f64], e: &mut [f64]) {
    let (m, e) = (&mut m[..n], &mut e[..n]);
    for i in 0..n {
        (m[i], e[i]) = normalise(m[i], e[i]);
    }
}

/// The last frame's backward variables, which leave the frame's own weights out: ways end in the last label
/// or the blank behind it.
#[inline(always)]
pub fn end(n: usize, out: &mut [f64], pitch: usize) {
    clear(out, pitch);
    let out = row_mut(out, pitch);
    out.blank_e[n] = 0.0;
    if n > 1 {
        out.label_e[n - 1] = 0.0;
    }
}

/// Backward variables of a frame from those after it, whose weights are `w`. `weighted` is scratch for a row.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn backward(
    n: usize,
    next: &[f64],
    out: &mut [f64],
    weighted: &mut [f64],
    pitch: usize,
    w: &Weights,
    skip: &[f64],
    frame: usize,
) {
    let (next, made) = (Row::new(next, pitch), row_mut(weighted, pitch));
    times(n, next.blank_m, next.blank_e, |_| w.blank, made.blank_m, made.blank_e);
    times(n, next.label_m, next.label_e, |i| (w.label_m[i], w.label_e[i]), made.label_m, made.label_e);
    // Blank i goes on to itself and label i; label i to itself, blank i + 1 and label i + 1.
    let out = row_mut(out, pitch);
    let one = (1.0, 0.0);
    let (bm, be, lm, le) = (&*made.blank_m, &*made.blank_e, &*made.label_m, &*made.label_e);
    blanks(n, &bm[1..], &be[1..], &lm[1..], &le[1..], one, &mut out.blank_m[1..], &mut out.blank_e[1..]);
    let (m0, m1, m2) = (&lm[1..][..n], &bm[2..][..n], &lm[2..][..n]);
    let (e0, e1, e2) = (&le[1..][..n], &be[2..][..n], &le[2..][..n]);
    let skip = &skip[1..][..n];
    let (out_m, out_e) = (&mut out.label_m[1..][..n], &mut out.label_e[1..][..n]);
    for i in 0..n {
        (out_m[i], out_e[i]) = add3(m0[i], e0[i], m1[i], e1[i], m2[i], e2[i] + skip[i]);
    }
    if frame.is_multiple_of(STEPS) {
        renew(n, &mut out.blank_m[1..], &mut out.blank_e[1..]);
        renew(n, out_m, out_e);
    }
}

#[inline(always)]
fn times(
    n: usize,
    m: &[f64],
    e: &[f64],
    weight: impl Fn(usize) -> (f64, f64),
    out_m: &mut [f64],
    out_e: &mut [f64],
) {
    let (m, e) = (&m[1..][..n], &e[1..][..n]);
    let (out_m, out_e) = (&mut out_m[1..][..n], &mut out_e[1..][..n]);
    for i in 0..n {
        let (weight_m, weight_e) = weight(i);
        out_m[i] = m[i] * weight_m;
        out_e[i] = max(e[i] + weight_e, ZERO);
    }
}

/// Probabilities, given the labels, of a frame's states: writes those of the labels, returns the sum of the
/// blanks'. `total`: the sum over all alignments.
#[inline(always)]
pub fn posteriors(
    n: usize,
    alpha: &[f64],
    beta: &[f64],
    pitch: usize,
    total: (f64, f64),
    out: &mut [f64],
) -> f64 {
    let (alpha, beta) = (Row::new(alpha, pitch), Row::new(beta, pitch));
    let inverse = 1.0 / total.0;
    product(n, alpha.label_m, alpha.label_e, beta.label_m, beta.label_e, (inverse, total.1), out);
    let (am, ae) = (&alpha.blank_m[1..][..n], &alpha.blank_e[1..][..n]);
    let (bm, be) = (&beta.blank_m[1..][..n], &beta.blank_e[1..][..n]);
    let mut sums = [0.0; 8];
    let whole = n / 8 * 8;
    for i in (0..whole).step_by(8) {
        for j in 0..8 {
            sums[j] += share(am[i + j] * bm[i + j], ae[i + j] + be[i + j], total.1);
        }
    }
    for i in whole..n {
        sums[0] += share(am[i] * bm[i], ae[i] + be[i], total.1);
    }
    sums.iter().sum::<f64>() * inverse
}

/// m 2^(e - total), a number up to about 1.
#[inline(always)]
fn share(m: f64, e: f64, total: f64) -> f64 {
    m * crate::cpu::extended::scale(e - total)
}

#[inline(always)]
fn product(
    n: usize,
    am: &[f64],
    ae: &[f64],
    bm: &[f64],
    be: &[f64],
    (inverse, total): (f64, f64),
    out: &mut [f64],
) {
    let (am, ae, bm, be) = (&am[1..][..n], &ae[1..][..n], &bm[1..][..n], &be[1..][..n]);
    let out = &mut out[..n];
    for i in 0..n {
        out[i] = share(am[i] * bm[i], ae[i] + be[i], total) * inverse;
    }
}
