//! Two vectors as one: twice as many chains of dependent instructions for a processor to go on with.

use super::{Isa, Simd, math::PowerOver};

/// Two of the vectors of `S`.
#[derive(Clone, Copy)]
pub struct Twice<S>(pub S);

macro_rules! both {
    ($(fn $name:ident($($x:ident),+) -> $result:ident;)+) => {
        $(
            #[inline(always)]
            fn $name(self, $($x: both!(@type $x)),+) -> Self::$result {
                (self.0.$name($($x.0),+), self.0.$name($($x.1),+))
            }
        )+
    };
    (@type m) => { Self::M };
    (@type n) => { Self::M };
    (@type d) => { Self::D };
    (@type e) => { Self::D };
    (@type $x:ident) => { Self::F };
}

macro_rules! both_in_memory {
    ($($load:ident $load_partial:ident $store:ident $store_partial:ident $stream:ident $element:ty;)+) => {
        $(
            #[inline(always)]
            unsafe fn $load(self, p: *const $element) -> Self::F {
                unsafe { (self.0.$load(p), self.0.$load(p.add(S::LANES))) }
            }
            #[inline(always)]
            unsafe fn $load_partial(self, p: *const $element, n: usize, fill: f32) -> Self::F {
                let (low, high) = parts::<S>(n);
                unsafe {
                    let second = p.wrapping_add(S::LANES);
                    (self.0.$load_partial(p, low, fill), self.0.$load_partial(second, high, fill))
                }
            }
            #[inline(always)]
            unsafe fn $store(self, p: *mut $element, v: Self::F) {
                unsafe {
                    self.0.$store(p, v.0);
                    self.0.$store(p.add(S::LANES), v.1);
                }
            }
            #[inline(always)]
            unsafe fn $store_partial(self, p: *mut $element, n: usize, v: Self::F) {
                let (low, high) = parts::<S>(n);
                unsafe {
                    self.0.$store_partial(p, low, v.0);
                    self.0.$store_partial(p.wrapping_add(S::LANES), high, v.1);
                }
            }
            #[inline(always)]
            unsafe fn $stream(self, p: *mut $element, v: Self::F) {
                unsafe {
                    self.0.$stream(p, v.0);
                    self.0.$stream(p.add(S::LANES), v.1);
                }
            }
        )+
    };
}

/// How many of `n` lanes are in either vector.
#[inline(always)]
fn parts<S: Simd>(n: usize) -> (usize, usize) {
    (n.min(S::LANES), n.saturating_sub(S::LANES))
}

impl<S: Simd> Simd for Twice<S> {
    const LANES: usize = 2 * S::LANES;
    const FMA: bool = S::FMA;
    const ISA: Isa = S::ISA;
    const TERM_MAGIC: f32 = S::TERM_MAGIC;

    type F = (S::F, S::F);
    type M = (S::M, S::M);
    type D = (S::D, S::D);
    type Wide = Self;

    #[inline(always)]
    fn wide(self) -> Self {
        self
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        (self.0.splat(x), self.0.splat(x))
    }
    both_in_memory! {
        load load_partial store store_partial stream f32;
        load_f16 load_f16_partial store_f16 store_f16_partial stream_f16 u16;
        load_bf16 load_bf16_partial store_bf16 store_bf16_partial stream_bf16 u16;
    }
    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in [0, S::LANES] {
            for j in [0, S::LANES] {
                // SAFETY: as the caller says. Rows are written in rising order.
                unsafe {
                    self.0.transpose(from.add(j * stride + i), stride, to.add(i * to_stride + j), to_stride)
                };
            }
        }
    }

    both! {
        fn add(a, b) -> F;
        fn sub(a, b) -> F;
        fn mul(a, b) -> F;
        fn div(a, b) -> F;
        fn recip(a) -> F;
        fn mul_add(a, b, c) -> F;
        fn sqrt(a) -> F;
        fn round(a) -> F;
        fn neg(a) -> F;
        fn abs(a) -> F;
        fn copysign(a, b) -> F;
        fn max(a, b) -> F;
        fn min(a, b) -> F;
        fn max_nan(a, b) -> F;
        fn min_nan(a, b) -> F;
        fn lt(a, b) -> M;
        fn le(a, b) -> M;
        fn eq(a, b) -> M;
        fn is_nan(a) -> M;
        fn and(m, n) -> M;
        fn or(m, n) -> M;
        fn not(m) -> M;
        fn select(m, a, b) -> F;
        fn only(m, a) -> F;
        fn select_negative(x, a, b) -> F;
        fn d_add(d, a) -> D;
        fn d_mul_add(d, a, b) -> D;
        fn d_merge(d, e) -> D;
        fn exp_clamp(x) -> F;
        fn exp_finish(x, p, k, t) -> F;
        fn term_clamp(x) -> F;
        fn term_finish(x, p, k, t) -> F;
        fn pow2(k) -> F;
    }
    #[inline(always)]
    fn first_n(self, n: usize) -> Self::M {
        let (low, high) = parts::<S>(n);
        (self.0.first_n(low), self.0.first_n(high))
    }
    #[inline(always)]
    fn mask_bits(self, m: Self::M) -> u32 {
        self.0.mask_bits(m.0) | self.0.mask_bits(m.1) << S::LANES
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
    unsafe fn d_add_to(self, p: *mut f64, d: Self::D) {
        unsafe {
            self.0.d_add_to(p, d.0);
            self.0.d_add_to(p.add(S::LANES), d.1);
        }
    }
    #[inline(always)]
    fn softmax_terms(self, x: [Self::F; 4]) -> [Self::F; 4] {
        let a = self.0.softmax_terms([x[0].0, x[0].1, x[1].0, x[1].1]);
        let b = self.0.softmax_terms([x[2].0, x[2].1, x[3].0, x[3].1]);
        [(a[0], a[1]), (a[2], a[3]), (b[0], b[1]), (b[2], b[3])]
    }
    #[inline(always)]
    fn softmax_pair(self, [x, y]: [Self::F; 2]) -> [Self::F; 2] {
        let [a, b, c, d] = self.0.softmax_terms([x.0, x.1, y.0, y.1]);
        [(a, b), (c, d)]
    }
    #[inline(always)]
    fn exp_over(self, x: [Self::F; 4], power: &PowerOver<Self>) -> [Self::F; 4] {
        let &PowerOver { magic, low } = power;
        let [a, b, c, d] = x;
        let low_half = self.0.exp_over([a.0, b.0, c.0, d.0], &PowerOver { magic: magic.0, low: low.0 });
        let high_half = self.0.exp_over([a.1, b.1, c.1, d.1], &PowerOver { magic: magic.1, low: low.1 });
        let both = |i: usize| (low_half[i], high_half[i]);
        [both(0), both(1), both(2), both(3)]
    }
    #[inline(always)]
    fn scale_of(self, x: Self::F) -> (Self::F, Self::F) {
        let (a, b) = (self.0.scale_of(x.0), self.0.scale_of(x.1));
        ((a.0, b.0), (a.1, b.1))
    }
    #[inline(always)]
    fn frexp(self, x: Self::F) -> (Self::F, Self::F) {
        let (a, b) = (self.0.frexp(x.0), self.0.frexp(x.1));
        ((a.0, b.0), (a.1, b.1))
    }
}
