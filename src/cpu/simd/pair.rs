//! Two vectors as one of twice the lanes. Every operation is done on both before the next begins: where registers
//! are few, a compiler that gets the chains one after the other leaves them so, and each waits for itself. It also
//! loads a constant once for both.

use super::{Isa, Simd};

#[derive(Clone, Copy, Debug)]
pub struct Pair<S>(pub S);

type Two<T> = (T, T);

macro_rules! both {
    ($($name:ident($($x:ident: $from:ident),*) -> $to:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($x: Two<S::$from>),*) -> Two<S::$to> {
            (self.0.$name($($x.0),*), self.0.$name($($x.1),*))
        }
    )*};
}

macro_rules! loads {
    ($($name:ident, $partial:ident: $element:ty;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, p: *const $element) -> Self::F {
            unsafe { (self.0.$name(p), self.0.$name(p.add(S::LANES))) }
        }
        #[inline(always)]
        unsafe fn $partial(self, p: *const $element, n: usize, fill: f32) -> Self::F {
            let first = n.min(S::LANES);
            // SAFETY: nothing beyond the first `n` is touched.
            unsafe {
                (self.0.$partial(p, first, fill), self.0.$partial(p.wrapping_add(S::LANES), n - first, fill))
            }
        }
    )*};
}

macro_rules! stores {
    ($($name:ident, $partial:ident, $stream:ident: $element:ty;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, p: *mut $element, v: Self::F) {
            unsafe {
                self.0.$name(p, v.0);
                self.0.$name(p.add(S::LANES), v.1);
            }
        }
        #[inline(always)]
        unsafe fn $partial(self, p: *mut $element, n: usize, v: Self::F) {
            let first = n.min(S::LANES);
            // SAFETY: nothing beyond the first `n` is touched.
            unsafe {
                self.0.$partial(p, first, v.0);
                self.0.$partial(p.wrapping_add(S::LANES), n - first, v.1);
            }
        }
        #[inline(always)]
        unsafe fn $stream(self, p: *mut $element, v: Self::F) {
            unsafe {
                self.0.$stream(p, v.0);
                self.0.$stream(p.add(S::LANES), v.1);
            }
        }
    )*};
}

// SAFETY of the pointer methods: that of the halves.
impl<S: Simd> Simd for Pair<S> {
    const LANES: usize = 2 * S::LANES;
    const FMA: bool = S::FMA;
    const ISA: Isa = S::ISA;

    type F = Two<S::F>;
    type M = Two<S::M>;
    type D = Two<S::D>;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        let x = self.0.splat(x);
        (x, x)
    }
    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }

    loads! {
        load, load_partial: f32;
        load_f16, load_f16_partial: u16;
        load_bf16, load_bf16_partial: u16;
    }
    stores! {
        store, store_partial, stream: f32;
        store_f16, store_f16_partial, stream_f16: u16;
        store_bf16, store_bf16_partial, stream_bf16: u16;
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (row, column) = (i * S::LANES, j * S::LANES);
            unsafe {
                let from = from.add(row * stride + column);
                self.0.transpose(from, stride, to.add(column * to_stride + row), to_stride);
            }
        }
    }

    both! {
        add(a: F, b: F) -> F;
        sub(a: F, b: F) -> F;
        mul(a: F, b: F) -> F;
        div(a: F, b: F) -> F;
        recip(a: F) -> F;
        sqrt(a: F) -> F;
        round(a: F) -> F;
        neg(a: F) -> F;
        abs(a: F) -> F;
        copysign(magnitude: F, sign: F) -> F;
        max(a: F, b: F) -> F;
        min(a: F, b: F) -> F;
        max_nan(acc: F, x: F) -> F;
        min_nan(acc: F, x: F) -> F;
        lt(a: F, b: F) -> M;
        le(a: F, b: F) -> M;
        eq(a: F, b: F) -> M;
        is_nan(a: F) -> M;
        and(a: M, b: M) -> M;
        or(a: M, b: M) -> M;
        not(a: M) -> M;
        select(m: M, a: F, b: F) -> F;
        d_add(d: D, a: F) -> D;
        d_mul_add(d: D, a: F, b: F) -> D;
        d_merge(a: D, b: D) -> D;
        exp_clamp(x: F) -> F;
        exp_finish(x: F, p: F, k: F, t: F) -> F;
        pow2(k: F) -> F;
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.0.together(self.0.mul_add(a.0, b.0, c.0), self.0.mul_add(a.1, b.1, c.1))
    }

    #[inline(always)]
    fn first_n(self, n: usize) -> Self::M {
        (self.0.first_n(n), self.0.first_n(n.saturating_sub(S::LANES)))
    }
    #[inline(always)]
    fn mask_bits(self, m: Self::M) -> u32 {
        self.0.mask_bits(m.0) | self.0.mask_bits(m.1) << S::LANES
    }
    #[inline(always)]
    fn any(self, m: Self::M) -> bool {
        self.0.any(self.0.or(m.0, m.1))
    }

    #[inline(always)]
    fn first(self, a: Self::F) -> f32 {
        self.0.first(a.0)
    }
    #[inline(always)]
    fn reduce_add(self, a: Self::F) -> f32 {
        self.0.reduce_add(self.0.add(a.0, a.1))
    }
    #[inline(always)]
    fn reduce_max(self, a: Self::F) -> f32 {
        self.0.reduce_max(self.0.max_nan(a.0, a.1))
    }
    #[inline(always)]
    fn reduce_min(self, a: Self::F) -> f32 {
        self.0.reduce_min(self.0.min_nan(a.0, a.1))
    }

    #[inline(always)]
    fn d_zero(self) -> Self::D {
        (self.0.d_zero(), self.0.d_zero())
    }
    #[inline(always)]
    fn d_sum(self, d: Self::D) -> f64 {
        self.0.d_sum(self.0.d_merge(d.0, d.1))
    }

    #[inline(always)]
    fn frexp(self, x: Self::F) -> (Self::F, Self::F) {
        let ((m0, e0), (m1, e1)) = (self.0.frexp(x.0), self.0.frexp(x.1));
        ((m0, m1), (e0, e1))
    }
}
