//! The softmax of a block: the largest score, the exponentials and their sum.

use super::Target;
use super::block::{Block, GROUP, RUN, vectors};
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage;

impl<S: Simd> Block<'_, S> {
    #[inline(always)]
    pub(super) fn statistics(&mut self, logs: bool) {
        // One vector's exponentials are a single chain of steps.
        let s = self.s.wide();
        let (max, sum, part) = (self.max.ptr(), self.inverse.ptr(), self.part.ptr());
        let classes = self.maps.classes;
        let many = classes > GROUP;
        // With few classes a pixel's scores are looked at once, in registers.
        let keep_max = logs || self.terms.is_null();
        // SAFETY: all within the scratch of the block; vectors are whole.
        unsafe {
            if many {
                self.maxima();
            }
            let (terms, size) = (self.terms, self.size);
            self.by_groups(
                #[inline(always)]
                |s, first, z, k| {
                    let mut e = [s.zero(); GROUP];
                    for i in 0..z.len() {
                        e[i] = s.load(z[i].add(k));
                    }
                    let top = if many {
                        s.load(max.add(k))
                    } else {
                        let top = e[1..z.len()].iter().fold(
                            e[0],
                            #[inline(always)]
                            |top, &z| s.max(top, z),
                        );
                        if keep_max {
                            s.store(max.add(k), top);
                        }
                        top
                    };
                    for i in 0..z.len() {
                        e[i] = s.sub(e[i], top);
                    }
                    match z.len() {
                        1 => e[0] = math::exp_softmax(s, e[0]),
                        2 => [e[0], e[1]] = s.softmax_pair([e[0], e[1]]),
                        _ => e = s.softmax_terms(e),
                    }
                    if !terms.is_null() {
                        for i in 0..z.len() {
                            s.store(terms.add((first + i) * size + k), e[i]);
                        }
                    }
                    let mut total = e[0];
                    for i in 1..z.len() {
                        total = s.add(total, e[i]);
                    }
                    let more = first % RUN != 0;
                    let total = if more { s.add(s.load(part.add(k)), total) } else { total };
                    let ends = first + z.len() == classes || (first + GROUP).is_multiple_of(RUN);
                    let all = if first < RUN { total } else { s.add(s.load(sum.add(k)), total) };
                    s.store(if ends { sum.add(k) } else { part.add(k) }, if ends { all } else { total });
                },
            );
            let log_sum = self.log_sum.ptr();
            vectors::<S::Wide>(
                self.len,
                #[inline(always)]
                |k| {
                    let total = s.load(sum.add(k));
                    if logs {
                        s.store(log_sum.add(k), math::ln(s, total));
                    }
                    s.store(sum.add(k), s.recip(total));
                },
            );
        }
    }

    /// # Safety
    /// The block is within the prediction.
    #[inline(always)]
    unsafe fn maxima(&mut self) {
        let (s, max) = (self.s, self.max.ptr());
        for first in (0..self.maps.classes).step_by(GROUP) {
            let mut z = [self.scores(first, 0); GROUP];
            for i in 1..GROUP.min(self.maps.classes - first) {
                z[i] = self.scores(first + i, i);
            }
            vectors::<S>(
                self.len,
                #[inline(always)]
                // SAFETY: within the block.
                |k| unsafe {
                    let mut top = s.load(z[0].add(k));
                    for z in &z[1..] {
                        top = s.max(top, s.load(z.add(k)));
                    }
                    s.store(max.add(k), if first == 0 { top } else { s.max(s.load(max.add(k)), top) });
                },
            );
        }
    }

    /// `step(first class, scores of some classes, k)` for all groups of classes and vectors of pixels.
    ///
    /// # Safety
    /// `step` stays within the block.
    #[inline(always)]
    unsafe fn by_groups(&mut self, step: impl Fn(S::Wide, usize, &[*const f32], usize)) {
        let mut first = 0;
        while first < self.maps.classes {
            let group = GROUP.min(self.maps.classes - first);
            let mut z = [std::ptr::null(); GROUP];
            // The next block's scores and labels.
            let mut next = [std::ptr::null::<u8>(); GROUP];
            let width = self.maps.pred.dtype.size();
            for (i, z) in z.iter_mut().enumerate().take(group) {
                *z = self.scores(first + i, i);
                next[i] = self.maps.pred.ptr.wrapping_add((self.index(first + i) + self.size) * width);
            }
            let labels = match self.maps.target {
                Target::Labels { labels, .. } if first == 0 => {
                    labels.as_ptr().wrapping_add(self.image * self.maps.pixels + self.start + self.size)
                }
                _ => std::ptr::null(),
            };
            let (s, n) = (self.s.wide(), self.len);
            // A loop of its own for each size: the classes of a vector then sit in registers.
            macro_rules! sweep {
                ($n:literal) => {
                    vectors::<S::Wide>(
                        n,
                        #[inline(always)]
                        |k| {
                            for next in &next[..$n] {
                                storage::fetch(next.wrapping_add(k * width), S::Wide::LANES * width);
                            }
                            if !labels.is_null() {
                                storage::fetch(labels.wrapping_add(k).cast(), S::Wide::LANES * 8);
                            }
                            step(s, first, &z[..$n], k)
                        },
                    )
                };
            }
            match group {
                1 => sweep!(1),
                2 => sweep!(2),
                3 => sweep!(3),
                _ => sweep!(4),
            }
            first += group;
        }
    }
}
