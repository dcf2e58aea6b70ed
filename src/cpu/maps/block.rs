//! A block of pixels with all its classes, as f32 and after the activation.

use super::{Activation, Maps, Pixels, Target, kept};
use crate::cpu::row::Cache;
use crate::cpu::simd::{Simd, batch, math};
use crate::cpu::storage::Scratch;
use crate::registry::Floats;

/// Pixels of a block at most.
pub const MOST: usize = 512;
/// Exponentials of a block that stay in the first-level cache; more if that makes the block too short.
const NEAR: usize = 4096;
const SHORT: usize = 128;
/// Classes done side by side: a vector of each stays in registers.
pub const GROUP: usize = 4;
/// So many classes are added up by themselves: a long sum in f32 would lose digits.
pub const RUN: usize = 16 * GROUP;

/// Lanes of a vector at most: vectors are stored whole.
const WIDEST: usize = 32;

/// Pixels of a block, and whether there is room to keep their exponentials.
pub fn size(classes: usize) -> (usize, bool) {
    let room = std::mem::size_of::<Cache>() / size_of::<f32>() / 2 / classes;
    let size = (NEAR / classes).clamp(SHORT, MOST).min(room.max(1)) & !(WIDEST - 1);
    if size == 0 { (SHORT, false) } else { (size, true) }
}

/// What one thread needs for a block at a time.
pub struct Block<'a, S: Simd> {
    pub(super) s: S,
    pub(super) maps: &'a Maps<'a>,
    pub(super) size: usize,
    /// Exponentials by class, `size` apart; null if they are computed again at each use.
    pub(super) terms: *mut f32,
    pub(super) rows: [Scratch<MOST>; GROUP],
    /// The scores of a class that there is not.
    pub(super) nothing: Scratch<MOST>,
    pub(super) target: Scratch<MOST>,
    pub(super) max: Scratch<MOST>,
    /// 1 / sum of the exponentials.
    pub(super) inverse: Scratch<MOST>,
    pub(super) part: Scratch<MOST>,
    pub(super) log_sum: Scratch<MOST>,
    pub(super) labels: Scratch<MOST>,
    /// Whether some pixel of the block is ignored.
    ignores: bool,
    /// Whether there are lanes whose pixels do not count.
    pub(super) gaps: bool,
    pub(super) image: usize,
    pub(super) start: usize,
    pub len: usize,
}

impl<'a, S: Simd> Block<'a, S> {
    pub fn new(s: S, maps: &'a Maps<'a>) -> Self {
        let (size, kept) = size(maps.classes);
        let cache = if kept { Cache::of_thread(0) } else { std::ptr::null_mut() };
        let mut nothing = Scratch::new();
        // SAFETY: within the scratch.
        (0..MOST).for_each(|i| unsafe { nothing.ptr().add(i).write(f32::NEG_INFINITY) });
        Block {
            s,
            maps,
            size,
            terms: cache.cast(),
            rows: [const { Scratch::new() }; GROUP],
            nothing,
            target: Scratch::new(),
            max: Scratch::new(),
            inverse: Scratch::new(),
            part: Scratch::new(),
            log_sum: Scratch::new(),
            labels: Scratch::new(),
            ignores: false,
            gaps: false,
            image: 0,
            start: 0,
            len: 0,
        }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Element of class `class` at the block's first pixel.
    #[inline(always)]
    pub fn index(&self, class: usize) -> usize {
        (self.image * self.maps.classes + class) * self.maps.pixels + self.start
    }

    /// Scores of a class, in scratch `slot` where they are not f32 or do not fill their last vector.
    #[inline(always)]
    pub(super) fn scores(&mut self, class: usize, slot: usize) -> *const f32 {
        let scratch = self.rows[slot].ptr();
        self.whole(&self.maps.pred, class, scratch)
    }

    /// Whole vectors of a class's values.
    #[inline(always)]
    pub(super) fn whole(&self, values: &Floats, class: usize, scratch: *mut f32) -> *const f32 {
        // SAFETY: within the checked buffer; the scratch has room for a block.
        unsafe {
            let at = values.at(self.index(class));
            let from = batch::widened(self.s, values.dtype, at, self.len, scratch);
            let end = self.len.next_multiple_of(S::Wide::LANES);
            if end == self.len {
                return from;
            }
            if from != scratch {
                scratch.copy_from_nonoverlapping(from, self.len);
            }
            scratch.add(self.len).write_bytes(0, end - self.len);
            scratch
        }
    }

    /// Moves to a block of an image.
    pub fn place(&mut self, image: usize, start: usize, len: usize) {
        (self.image, self.start, self.len) = (image, start, len);
    }

    /// The same, with labels and the softmax's statistics.
    #[inline(always)]
    pub fn load(&mut self, image: usize, start: usize, len: usize, logs: bool) {
        self.place(image, start, len);
        if let Target::Labels { labels, ignore } = self.maps.target {
            let labels = &labels[image * self.maps.pixels + start..][..len];
            let to = self.labels.ptr();
            let mut ignored = false;
            for (i, &label) in labels.iter().enumerate() {
                ignored |= label == ignore;
                // By way of i32, which processors have in vectors.
                let value = if label == ignore { -1 } else { label as i32 };
                // SAFETY: within the scratch.
                unsafe { to.add(i).write(value as f32) };
            }
            self.ignores = ignored;
            let end = len.next_multiple_of(S::Wide::LANES);
            // SAFETY: within the scratch.
            (len..end).for_each(|i| unsafe { to.add(i).write(-1.0) });
            self.gaps = ignored || len < end;
        }
        if self.maps.activation == Activation::Softmax {
            self.statistics(logs);
        }
    }

    /// Whether [`Block::labelled`] has the classes: a softmax's with labels, and nothing else is asked for.
    #[inline(always)]
    pub fn is_labelled(&self, logs: bool) -> bool {
        let labelled = matches!(self.maps.target, Target::Labels { .. });
        labelled && self.maps.activation == Activation::Softmax && !self.terms.is_null() && !logs
    }

    /// The probability of a class at a vector of pixels and where it is the label's; 0 and nowhere for pixels that do
    /// not count.
    ///
    /// # Safety
    /// [`Block::is_labelled`], and the vector is one of the block's.
    #[inline(always)]
    pub unsafe fn labelled<V: Simd>(
        &mut self,
        v: V,
        class: usize,
    ) -> impl Fn(usize) -> (V::F, V::M) + use<S, V> {
        let number = v.splat(class as f32);
        let terms = self.terms.wrapping_add(class * self.size);
        let (labels, inverse) = (self.labels.ptr(), self.inverse.ptr());
        #[inline(always)]
        move |k| unsafe {
            (v.mul(v.load(terms.add(k)), v.load(inverse.add(k))), v.eq(v.load(labels.add(k)), number))
        }
    }

    /// Puts what is [kept](kept::pack) of a class in the place of its exponentials.
    ///
    /// # Safety
    /// [`Block::is_labelled`].
    #[inline(always)]
    pub unsafe fn pack(&mut self, class: usize) {
        let v = self.s.wide();
        let terms = self.terms.wrapping_add(class * self.size);
        // SAFETY: vectors of the block, whole.
        unsafe {
            let at = self.labelled(v, class);
            vectors::<S::Wide>(
                self.len,
                #[inline(always)]
                |k| {
                    let (p, own) = at(k);
                    v.store(terms.add(k), kept::pack(v, p, own));
                },
            );
        }
    }

    /// `step(k, lanes, pixels, which of them exist)` for the vectors of a class; `None` where all do, or, unless
    /// `ends` asks, where none is ignored.
    #[inline(always)]
    pub fn of_class(
        &mut self,
        class: usize,
        logs: bool,
        ends: bool,
        mut step: impl FnMut(usize, usize, &Pixels<S>, Option<S::M>),
    ) {
        let s = self.s;
        let one = s.splat(1.0);
        let kept = !self.terms.is_null();
        let activation = self.maps.activation;
        let needs_scores = activation != Activation::Softmax || logs || !kept;
        let z = if needs_scores { self.scores(class, 0) } else { std::ptr::null() };
        let labelled = matches!(self.maps.target, Target::Labels { .. });
        let target = match &self.maps.target {
            Target::Map(map) => {
                let scratch = self.target.ptr();
                self.whole(map, class, scratch)
            }
            _ => std::ptr::null(),
        };
        let (terms, own) = (self.terms.wrapping_add(class * self.size), s.splat(class as f32));
        let (labels, ignores) = (self.labels.ptr(), self.ignores);
        let (max, inverse, log_sum) = (self.max.ptr(), self.inverse.ptr(), self.log_sum.ptr());
        vectors_to_end::<S>(
            s,
            self.len,
            ends,
            #[inline(always)]
            // SAFETY: within the block.
            |k, lanes, mut exist| unsafe {
                let (p, q, log_p) = match activation {
                    Activation::Softmax => {
                        let shifted =
                            if needs_scores { s.sub(s.load(z.add(k)), s.load(max.add(k))) } else { s.zero() };
                        let e = if kept { s.load(terms.add(k)) } else { math::exp_softmax(s, shifted) };
                        let p = s.mul(e, s.load(inverse.add(k)));
                        let log_p = if logs { s.sub(shifted, s.load(log_sum.add(k))) } else { shifted };
                        (p, s.sub(one, p), log_p)
                    }
                    Activation::Sigmoid => {
                        let z = s.load(z.add(k));
                        let e = math::exp(s, s.neg(s.abs(z)));
                        let large = s.div(one, s.add(one, e));
                        let small = s.mul(e, large);
                        let negative = s.lt(z, s.zero());
                        (s.select(negative, small, large), s.select(negative, large, small), z)
                    }
                    Activation::None => {
                        let p = s.load(z.add(k));
                        (p, s.sub(one, p), p)
                    }
                };
                let t = if labelled {
                    let label = s.load(labels.add(k));
                    if ignores {
                        let counted = s.le(s.zero(), label);
                        exist = match exist {
                            None => Some(counted),
                            Some(lanes) => Some(s.and(lanes, counted)),
                        };
                    }
                    s.select(s.eq(label, own), one, s.zero())
                } else if target.is_null() {
                    s.zero()
                } else {
                    s.load(target.add(k))
                };
                step(k, lanes, &Pixels { p, q, log_p, t }, exist);
            },
        );
    }
}

/// `step(k)` for the vectors of `n` elements.
#[inline(always)]
pub fn vectors<S: Simd>(n: usize, mut step: impl FnMut(usize)) {
    let mut k = 0;
    while k < n {
        step(k);
        k += S::LANES;
    }
}

/// `step(k, lanes, which of them exist)`; `None` where all do, or `ends` does not ask.
#[inline(always)]
pub fn vectors_to_end<S: Simd>(s: S, n: usize, ends: bool, mut step: impl FnMut(usize, usize, Option<S::M>)) {
    if !ends {
        return vectors::<S>(
            n,
            #[inline(always)]
            |k| step(k, S::LANES, None),
        );
    }
    let whole = n - n % S::LANES;
    vectors::<S>(
        whole,
        #[inline(always)]
        |k| step(k, S::LANES, None),
    );
    if whole < n {
        step(whole, n - whole, Some(s.first_n(n - whole)));
    }
}
