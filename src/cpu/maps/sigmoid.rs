//! Sigmoids beside a target: of each the smaller of p and 1 - p is computed, negative where that is 1 - p. So little may
//! wait for the gradient in its place.

use super::block::{Block, vectors};
use super::{Activation, MapLoss, Pixels, Target};
use crate::cpu::simd::Simd;
use crate::cpu::simd::batch::{self, Function};
use crate::cpu::storage;

/// Neither 0 nor -0, which has no sign to compare.
const LEAST: f32 = f32::MIN_POSITIVE;

#[inline(always)]
fn pixels<S: Simd>(s: S, kept: S::F, t: S::F) -> Pixels<S> {
    let small = s.abs(kept);
    let large = s.sub(s.splat(1.0), small);
    let (p, q) = (s.select_negative(kept, large, small), s.select_negative(kept, small, large));
    Pixels { p, q, log_p: s.zero(), t }
}

impl<S: Simd> Block<'_, S> {
    /// Whether the functions here are for it.
    #[inline(always)]
    pub fn is_sigmoid(&self, logs: bool) -> bool {
        !logs && self.maps.activation == Activation::Sigmoid && matches!(self.maps.target, Target::Map(_))
    }

    /// Target of a class, whole vectors, and the bytes of the next block's.
    #[inline(always)]
    fn target_of(&mut self, class: usize) -> (*const f32, *const u8, usize) {
        let Target::Map(map) = self.maps.target else { unreachable!() };
        let (scratch, width) = (self.target.ptr(), map.dtype.size());
        let next = map.ptr.wrapping_add((self.index(class) + self.size) * width);
        (self.whole(&map, class, scratch), next, width)
    }

    /// `step(k, what is kept)` for the vectors of a class. Of pixels beyond the end, p is next to 0.
    ///
    /// # Safety
    /// [`Block::is_sigmoid`].
    #[inline(always)]
    pub unsafe fn sigmoids(&mut self, class: usize, mut step: impl FnMut(usize, <S::Wide as Simd>::F)) {
        let (s, v, len) = (self.s, self.s.wide(), self.len);
        let (z, decay) = (self.scores(class, 0), self.part.ptr());
        let width = self.maps.pred.dtype.size();
        let next = self.maps.pred.ptr.wrapping_add((self.index(class) + self.size) * width);
        // SAFETY: within the block and its scratch, which is whole packs.
        unsafe {
            for i in len..len.next_multiple_of(S::Wide::LANES) {
                z.cast_mut().add(i).write(f32::NEG_INFINITY);
            }
            vectors::<S::Wide>(
                len,
                #[inline(always)]
                |k| {
                    storage::fetch(next.wrapping_add(k * width), S::Wide::LANES * width);
                    v.store(decay.add(k), v.neg(v.abs(v.load(z.add(k)))));
                },
            );
            let end = len.next_multiple_of(S::Wide::LANES);
            batch::apply(s, Function::Exp, decay, end, [decay, std::ptr::null_mut()]);
            vectors::<S::Wide>(
                len,
                #[inline(always)]
                |k| {
                    let e = v.load(decay.add(k));
                    let small = v.max(v.splat(LEAST), v.div(e, v.add(v.splat(1.0), e)));
                    step(k, v.select(v.lt(v.load(z.add(k)), v.zero()), small, v.neg(small)));
                },
            );
        }
    }

    /// `step(k, what is kept, pixels)` for the vectors of a class.
    ///
    /// # Safety
    /// [`Block::is_sigmoid`].
    #[inline(always)]
    pub unsafe fn beside_target(
        &mut self,
        class: usize,
        mut step: impl FnMut(usize, <S::Wide as Simd>::F, &Pixels<S::Wide>),
    ) {
        let v = self.s.wide();
        let (t, next, width) = self.target_of(class);
        // SAFETY: as asked.
        unsafe {
            self.sigmoids(
                class,
                #[inline(always)]
                |k, kept| {
                    storage::fetch(next.wrapping_add(k * width), S::Wide::LANES * width);
                    step(k, kept, &pixels(v, kept, v.load(t.add(k))));
                },
            );
        }
    }

    /// Puts the gradient of a class in the place of what is kept.
    ///
    /// # Safety
    /// [`Block::is_sigmoid`]; whole vectors of the block are at `row`.
    #[inline(always)]
    pub unsafe fn sigmoid_gradient<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(
        &mut self,
        loss: &L,
        class: usize,
        factors: &[<S::Wide as Simd>::F; FACTORS],
        row: *mut f32,
    ) {
        let (v, size) = (self.s.wide(), self.size);
        let (t, next, width) = self.target_of(class);
        vectors::<S::Wide>(
            self.len,
            #[inline(always)]
            // SAFETY: as asked.
            |k| unsafe {
                storage::fetch(next.wrapping_add(k * width), S::Wide::LANES * width);
                storage::fetch(row.wrapping_add(size + k).cast(), S::Wide::LANES * size_of::<f32>());
                let x = pixels(v, v.load(row.add(k)), v.load(t.add(k)));
                v.store(row.add(k), v.mul(v.mul(x.p, x.q), loss.slope(v, factors, &x)));
            },
        );
    }
}
