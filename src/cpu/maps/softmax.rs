//! The softmax of a block: the largest score, the exponentials and their sum.

use super::Target;
use super::block::{Block, GROUP, RUN, vectors};
use crate::cpu::simd::{Simd, math};
use crate::cpu::storage;

impl<S: Simd> Block<'_, S> {
    #[inline(always)]
    pub(super) fn statistics(&mut self, logs: bool) {
        let (s, sum) = (self.s.wide(), self.inverse.ptr());
        // SAFETY: all within the scratch of the block; vectors are whole.
        unsafe {
            if self.maps.classes > GROUP {
                self.maxima();
            }
            for first in (0..self.maps.classes).step_by(GROUP) {
                // A loop for few and one for many: the classes of a vector then sit in registers.
                if self.maps.classes - first <= 2 {
                    self.terms::<S::Wide, 2>(s, first, logs);
                } else {
                    self.terms::<S, GROUP>(self.s, first, logs);
                }
            }
            let (log_sum, labels) = (self.log_sum.ptr(), self.labels.ptr());
            let (terms, size, classes) = (self.terms, self.size, self.maps.classes);
            let gaps = self.gaps && !terms.is_null();
            vectors::<S::Wide>(
                self.len,
                #[inline(always)]
                |k| {
                    let total = s.load(sum.add(k));
                    if logs {
                        s.store(log_sum.add(k), math::ln(s, total));
                    }
                    let mut inverse = s.recip(total);
                    if gaps {
                        // Whatever an ignored pixel holds.
                        let counted = s.le(s.zero(), s.load(labels.add(k)));
                        inverse = s.only(counted, inverse);
                        for class in 0..classes {
                            let term = terms.add(class * size + k);
                            s.store(term, s.only(counted, s.load(term)));
                        }
                    }
                    s.store(sum.add(k), inverse);
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

    /// The exponentials of up to `N` classes from the class `first` on, added to the sum of all; in vectors of type `V`.
    /// Where there are no other classes their largest scores stay in registers, but for logarithms.
    ///
    /// # Safety
    /// The block and these classes are within the prediction.
    #[inline(always)]
    unsafe fn terms<V: Simd, const N: usize>(&mut self, v: V, first: usize, logs: bool) {
        let (mut z, mut to) = ([std::ptr::null(); N], [std::ptr::null_mut(); N]);
        // The next block's scores and labels.
        let mut next = [std::ptr::null::<u8>(); N];
        let width = self.maps.pred.dtype.size();
        for i in 0..N {
            let class = first + i;
            if class < self.maps.classes {
                z[i] = self.scores(class, i);
                to[i] = self.terms.wrapping_add(class * self.size);
                next[i] = self.maps.pred.ptr.wrapping_add((self.index(class) + self.size) * width);
            } else {
                (z[i], next[i]) = (self.nothing.ptr(), next[0]);
            }
            if class >= self.maps.classes || self.terms.is_null() {
                to[i] = self.rows[i].ptr();
            }
        }
        let labels = match self.maps.target {
            Target::Labels { labels, .. } if first == 0 => {
                labels.as_ptr().wrapping_add(self.image * self.maps.pixels + self.start + self.size)
            }
            _ => std::ptr::null(),
        };
        let (max, few) = (self.max.ptr(), self.maps.classes <= GROUP);
        let (sum, part) = (self.inverse.ptr(), self.part.ptr());
        // Of a run of classes; the last leaves it with the others'.
        let end = first + N;
        let (begins, ends) = (first.is_multiple_of(RUN), end >= self.maps.classes || end.is_multiple_of(RUN));
        let later = first >= RUN;
        let place = if ends && !later { sum } else { part };
        vectors::<S::Wide>(
            self.len,
            #[inline(always)]
            // SAFETY: within the block.
            |start| unsafe {
                for next in next {
                    storage::fetch(next.wrapping_add(start * width), S::Wide::LANES * width);
                }
                if !labels.is_null() {
                    storage::fetch(labels.wrapping_add(start).cast(), S::Wide::LANES * 8);
                }
                for k in (start..start + S::Wide::LANES).step_by(V::LANES) {
                    let mut e = [v.zero(); GROUP];
                    for i in 0..N {
                        e[i] = v.load(z[i].add(k));
                    }
                    let top = if few {
                        let top = e[1..N].iter().fold(
                            e[0],
                            #[inline(always)]
                            |top, &z| v.max(top, z),
                        );
                        if logs {
                            v.store(max.add(k), top);
                        }
                        top
                    } else {
                        v.load(max.add(k))
                    };
                    for e in &mut e[..N] {
                        *e = v.sub(*e, top);
                    }
                    if N == 2 {
                        [e[0], e[1]] = v.softmax_pair([e[0], e[1]]);
                    } else {
                        e = v.softmax_terms(e);
                    }
                    let mut total = e[0];
                    v.store(to[0].add(k), e[0]);
                    for i in 1..N {
                        v.store(to[i].add(k), e[i]);
                        total = v.add(total, e[i]);
                    }
                    if !begins {
                        total = v.add(v.load(part.add(k)), total);
                    }
                    v.store(place.add(k), total);
                }
            },
        );
        if ends && later {
            vectors::<S::Wide>(
                self.len,
                #[inline(always)]
                // SAFETY: within the block.
                |k| unsafe {
                    let s = self.s.wide();
                    s.store(sum.add(k), s.add(s.load(sum.add(k)), s.load(part.add(k))));
                },
            );
        }
    }
}
