//! Statistics of a softmax row, shared by the losses built on log p_y.

use crate::cpu::blocks::NO_ELEMENT;
use crate::cpu::later::Part;
use crate::cpu::row::Block;
use crate::cpu::rows::{self, Row, RowOut};
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage::BLOCK;
use bytemuck::{Pod, Zeroable};

/// Kept apart so that neither 1 - p_y nor log p_y near 0 suffers from cancellation, and taken about the
/// largest of the other logits: about the label's own, a confident row's terms would be small differences
/// of large numbers.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SoftmaxStats {
    /// A logit other than the label's, the largest or not far from it.
    pub top: f32,
    /// Sum over k other than the label of exp(z_k - top).
    pub rest: f32,
    /// The label's logit.
    pub own: f32,
}

impl SoftmaxStats {
    /// With what makes rows without another finite logit, or with an infinite one, come out right.
    pub fn new(top: f32, rest: f64, own: f32) -> Self {
        if top == f32::NEG_INFINITY {
            return SoftmaxStats { top: own, rest: 0.0, own };
        }
        let rest = if own == f32::INFINITY { f32::NAN } else { rest as f32 };
        SoftmaxStats { top, rest, own }
    }

    #[inline(always)]
    pub fn odds<S: Simd>(&self, s: S) -> Odds {
        Odds::new(s, f64::from(self.own) - f64::from(self.top), self.rest)
    }
}

/// The label against the rest of a row.
pub struct Odds {
    /// -log p_y is the sum of a part that may be large and ln(1 + x) of this x.
    large: f64,
    x: f64,
    /// Label's logit less the reference, where positive.
    above: f64,
    /// p_y.
    pub own: f64,
    /// 1 - p_y.
    pub others: f64,
    /// What makes exp(z_k - top) the probability of another class.
    pub share: f64,
}

impl Odds {
    /// `lead`: the label's logit less `top`; `rest` as in [`SoftmaxStats`].
    #[inline(always)]
    pub fn new<S: Simd>(s: S, lead: f64, rest: f32) -> Self {
        let rest = f64::from(rest);
        let decay = exp_negative(s, lead.abs());
        // Blended rather than branched: which logit leads is a coin toss to the processor.
        let leads = f64::from(u8::from(lead > 0.0));
        let (a, b) = (leads + (1.0 - leads) * decay, leads * decay + (1.0 - leads));
        let inverse = 1.0 / (a + rest * b);
        Odds {
            large: -lead.min(0.0),
            x: leads * (rest * decay) + (1.0 - leads) * ((rest - 1.0) + decay),
            above: lead.max(0.0),
            own: a * inverse,
            others: rest * b * inverse,
            share: b * inverse,
        }
    }

    /// -log p_y = lse - z_y to f32's accuracy.
    #[inline(always)]
    pub fn neg_log_prob<S: Simd>(&self, s: S) -> f64 {
        self.large + self.log_term(s)
    }

    /// The same where its rounding would be raised to a power.
    pub fn neg_log_prob_f64(&self) -> f64 {
        self.large + self.x.ln_1p()
    }

    /// [`Odds::log_sum`] where its rounding would be raised to a power.
    pub fn log_sum_f64(&self) -> f64 {
        self.above + self.x.ln_1p()
    }

    /// lse less `top`.
    #[inline(always)]
    pub fn log_sum<S: Simd>(&self, s: S) -> f64 {
        self.above + self.log_term(s)
    }

    /// Of an x that is not below 0 but for rounding: `rest` has a term of 1, or none.
    #[inline(always)]
    fn log_term<S: Simd>(&self, s: S) -> f64 {
        f64::from(s.first(math::ln_1p_above(s, s.splat(self.x as f32))))
    }
}

/// exp(-x) for x >= 0 or NaN, to f32's accuracy whatever the size of x.
#[inline(always)]
pub fn exp_negative<S: Simd>(s: S, x: f64) -> f64 {
    if x > 80.0 {
        return (-x).exp(); // where f32 has no such small numbers
    }
    let near = x as f32;
    f64::from(s.first(math::exp(s, s.splat(-near)))) * (1.0 - (x - f64::from(near)))
}

/// Running sum of exponentials over the blocks of a row, about a logit close to the largest. The label's own
/// term is left out: added and taken away again it would cost the digits of a small rest.
pub struct Accumulator<S: Simd, const SCALED: bool = false> {
    s: S,
    label: usize,
    /// 1 unless it is scaled.
    factor: f32,
    /// Sum of exp(factor (z_k - about)).
    rest: f64,
    about: f32,
}

/// Leaves no element out.
pub const NO_LABEL: usize = NO_ELEMENT;

/// Values looked at for a first reference.
const SAMPLE: usize = 32;

/// No term of a block may be larger: then no logit lies more than 8 above `about`, near enough for f32.
pub const LARGEST: f32 = 2980.0;

impl<S: Simd> Accumulator<S> {
    #[inline(always)]
    pub fn new(s: S, label: usize) -> Self {
        Accumulator { s, label, factor: 1.0, rest: 0.0, about: f32::NEG_INFINITY }
    }
}

impl<S: Simd> Accumulator<S, true> {
    /// Of logits times a positive factor.
    #[inline(always)]
    pub fn scaled(s: S, label: usize, factor: f32) -> Self {
        Accumulator { s, label, factor, rest: 0.0, about: f32::NEG_INFINITY }
    }
}

impl<S: Simd, const SCALED: bool> Accumulator<S, SCALED> {
    /// What the sum so far refers to; -inf before the first logit that is more.
    pub fn about(&self) -> f32 {
        self.about
    }

    /// `start`: index of the block's first value in the row.
    ///
    /// The first values give the reference. A block with logits far above it shows by its sum, and is then swept
    /// again about its own largest.
    #[inline(always)]
    pub fn add(&mut self, row: &Row, start: usize, block: &[f32]) {
        self.add_block(row, start, Block::of(block));
    }

    #[inline(always)]
    pub fn add_block(&mut self, row: &Row, start: usize, block: Block) {
        let s = self.s;
        let own = self.label.wrapping_sub(start);
        if self.about == f32::NEG_INFINITY {
            let some = block_max(s, block.part(0, SAMPLE), own);
            let none = some == f32::NEG_INFINITY;
            self.refer_to(if none { block_max(s, block, own) } else { some });
        }
        let terms = if row.cache.is_null() { std::ptr::null_mut() } else { row.cache_at(start) };
        let mut part = match row.later() {
            Some(later) => later.block(s, start),
            None => Part::nothing(s),
        };
        let mut sum = self.sweep(block, own, terms, &mut part);
        part.finish(s);
        if sum > LARGEST {
            let top = block_max(s, block, own);
            if top > self.about {
                self.refer_to(top);
                sum = self.sweep(block, own, terms, &mut Part::nothing(s));
            }
        }
        if !terms.is_null() {
            row.set_block_value(start, self.about);
        }
        self.rest += f64::from(sum);
    }

    fn refer_to(&mut self, about: f32) {
        if self.rest != 0.0 {
            self.rest *= (f64::from(self.factor) * (f64::from(self.about) - f64::from(about))).exp();
        }
        self.about = about;
    }

    /// Sum of the exponentials of a block without the label's; kept in `terms` unless that is null.
    #[inline(always)]
    fn sweep(&self, block: Block, own: usize, terms: *mut f32, part: &mut Part<S>) -> f32 {
        // With few lanes a block's sum is too long a chain for f32.
        let most = const { 16 * S::LANES * S::LANES };
        if most >= BLOCK {
            return self.sweep_short(block, own, terms, part);
        }
        let (mut sum, mut at) = (0.0, 0);
        while at < block.len() {
            let short = block.part(at, most);
            sum += f64::from(self.sweep_short(short, own.wrapping_sub(at), place(terms, at), part));
            at += most;
        }
        sum as f32
    }

    #[inline(always)]
    fn sweep_short(&self, block: Block, own: usize, terms: *mut f32, part: &mut Part<S>) -> f32 {
        let s = self.s;
        // Where there was nothing but -inf so far, terms are 0 about anything, and a NaN stays one.
        let about = if self.about == f32::NEG_INFINITY { 0.0 } else { self.about };
        let about = s.splat(about);
        let group = 4 * S::LANES;
        let (mut sum, mut k) = (s.zero(), 0);
        while k < block.len() {
            let plain = block.plain::<S>(k, own);
            let done = part.floats_and(
                s,
                plain,
                #[inline(always)]
                || {
                    // SAFETY: within the block; terms are kept of rows that follow one that waits.
                    let z = unsafe { block.floats_at(s, k) };
                    sum = self.group(z, about, terms.wrapping_add(k), sum);
                    k += group;
                },
            );
            for _ in done..plain {
                // SAFETY: within the block.
                sum = self.group(unsafe { block.floats_at(s, k) }, about, place(terms, k), sum);
                k += group;
            }
            if k < block.len() {
                block.group_ahead::<S>(k);
                part.some(s);
                sum = self.group(block.four(s, k, own, f32::NEG_INFINITY), about, place(terms, k), sum);
                k += group;
            }
        }
        s.reduce_add(sum)
    }

    /// Adds the exponentials of four vectors, and keeps them unless `to` is null.
    #[inline(always)]
    fn group(&self, z: [S::F; 4], about: S::F, to: *mut f32, sum: S::F) -> S::F {
        let s = self.s;
        let term = match SCALED {
            true => math::exp_scaled(s, z, about, s.splat(self.factor)),
            false => math::exp_about(s, z, about),
        };
        if !to.is_null() {
            for v in 0..4 {
                // SAFETY: the cache has room for the block, rounded up to four vectors.
                unsafe { s.store(to.add(v * S::LANES), term[v]) };
            }
        }
        // One accumulator: registers are short.
        s.add(sum, s.add(s.add(term[0], term[1]), s.add(term[2], term[3])))
    }

    /// The reference and the sum about it.
    #[inline(always)]
    pub fn sums(self, row: &Row) -> (f32, f64) {
        if let Some(later) = row.later() {
            later.done();
        }
        row.cached.set(!row.cache.is_null());
        // A row of NaN and -inf alone is not one without a term.
        (if self.rest.is_nan() && self.about == f32::NEG_INFINITY { 0.0 } else { self.about }, self.rest)
    }
}

/// Place `k` of what is kept, if anything is.
#[inline(always)]
fn place(terms: *mut f32, k: usize) -> *mut f32 {
    if terms.is_null() { terms } else { terms.wrapping_add(k) }
}

/// Largest value of a block without element `own`. A NaN may get lost; the sums find it.
#[inline(always)]
pub fn block_max<S: Simd>(s: S, block: Block, own: usize) -> f32 {
    let low = s.splat(f32::NEG_INFINITY);
    let top = block.fold_without(
        s,
        own,
        f32::NEG_INFINITY,
        [low; 4],
        #[inline(always)]
        || (),
        #[inline(always)]
        |mut top, z, _| {
            for v in 0..4 {
                top[v] = s.max(top[v], z[v]);
            }
            top
        },
    );
    s.reduce_max(s.max(s.max(top[0], top[1]), s.max(top[2], top[3])))
}

/// Largest logit of a row other than the label's. A NaN may get lost; the sums find it.
#[inline(always)]
pub fn row_top<S: Simd>(s: S, row: &Row, label: usize) -> f32 {
    let mut top = f32::NEG_INFINITY;
    row.blocks(
        s,
        #[inline(always)]
        |start, block| top = top.max(block_max(s, Block::of(block), label.wrapping_sub(start))),
    );
    top
}

/// Sum of exp(x) over a block of x <= 0 without element `own`.
#[inline(always)]
pub fn sum_of_terms<S: Simd>(s: S, block: &[f32], own: usize) -> f64 {
    let sum = Block::of(block).fold_without(
        s,
        own,
        f32::NEG_INFINITY,
        [s.zero(); 4],
        #[inline(always)]
        || (),
        #[inline(always)]
        |mut sums, x, _| {
            let term = s.softmax_terms(x);
            for v in 0..4 {
                sums[v] = s.add(sums[v], term[v]);
            }
            sums
        },
    );
    f64::from(s.reduce_add(s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3]))))
}

/// Statistics of a row of plain logits.
#[inline(always)]
pub fn stats<S: Simd>(s: S, row: &Row, label: usize) -> SoftmaxStats {
    if row.len <= S::LANES {
        return stats_of_vector(s, row, label);
    }
    let mut acc = Accumulator::new(s, label);
    row.typed_blocks(
        #[inline(always)]
        |start, block| acc.add_block(row, start, block),
    );
    let (top, rest) = acc.sums(row);
    SoftmaxStats::new(top, rest, row.get(label))
}

/// Stores `map(weight exp(z_k - top), k)` for every element of a row of plain logits; what the label's own
/// element gets is unspecified. The terms of the first sweep are used where it kept them.
#[inline(always)]
pub fn map_terms<S: Simd>(
    s: S,
    row: &Row,
    top: f32,
    weight: f32,
    out: &RowOut,
    map: impl Fn(S::F, usize) -> S::F,
) {
    if !row.cached.get() {
        let (about, weight) = (s.splat(top), s.splat(weight));
        row.map_to_by_four(
            s,
            out,
            #[inline(always)]
            |z, k| {
                let mut g = math::exp_about(s, z, about);
                for v in 0..4 {
                    let k = k + v * S::LANES;
                    if k < row.len {
                        g[v] = map(s.mul(weight, g[v]), k);
                    }
                }
                g
            },
        );
        return;
    }
    out.blocks(
        s,
        row.len,
        #[inline(always)]
        |start, n, target| {
            let about = row.block_value(start);
            let shift = if about == top { 1.0 } else { (f64::from(about) - f64::from(top)).exp() };
            let factor = s.splat((f64::from(weight) * shift) as f32);
            // SAFETY: the first sweep filled the cache of the row.
            unsafe {
                rows::map_into(
                    s,
                    row.cache_at(start),
                    target,
                    n,
                    #[inline(always)]
                    |term, k| map(s.mul(factor, term), start + k),
                );
            }
        },
    );
}

/// Stores `weight exp(z_k - top)`: the gradient of a softmax loss but for the label's own element.
#[inline(always)]
pub fn write_terms<S: Simd>(s: S, row: &Row, top: f32, weight: f64, out: &RowOut) {
    // A weight too large for f32, though the products need not be, goes in two factors; the second may be
    // infinite and must not meet a term of 0.
    let huge = weight.abs() > f64::from(f32::MAX) && weight.is_finite();
    if !huge && out.postpone(row, top, weight as f32) {
        return;
    }
    let first = if huge { 1e30 } else { weight };
    let second = s.splat((weight / first) as f32);
    map_terms(
        s,
        row,
        top,
        first as f32,
        out,
        #[inline(always)]
        |g, _| if huge { s.select(s.eq(g, s.zero()), g, s.mul(g, second)) } else { g },
    );
}

/// [`stats`] of a row that fits one vector.
#[inline(always)]
fn stats_of_vector<S: Simd>(s: S, row: &Row, label: usize) -> SoftmaxStats {
    let mut stats = SoftmaxStats::zeroed();
    row.blocks(
        s,
        #[inline(always)]
        |_, block| {
            let low = s.splat(f32::NEG_INFINITY);
            // SAFETY: the block is the row, no longer than a vector.
            let z = unsafe { s.load_partial(block.as_ptr(), block.len(), f32::NEG_INFINITY) };
            let own = s.and(s.first_n(label + 1), s.not(s.first_n(label)));
            let z = s.select(own, low, z);
            let top = s.reduce_max(z);
            let terms = math::exp_softmax(s, s.sub(z, s.splat(top)));
            stats = SoftmaxStats::new(top, f64::from(s.reduce_add(terms)), row.get(label));
            if !row.cache.is_null() {
                // SAFETY: the cache has room for a vector.
                unsafe { s.store(row.cache_at(0), terms) };
                row.set_block_value(0, top);
                row.cached.set(true);
            }
        },
    );
    stats
}
