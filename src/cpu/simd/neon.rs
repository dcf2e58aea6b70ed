//! AArch64 NEON. The half-precision conversions use integer steps: the vector instructions for them are
//! not stable in Rust.

use core::arch::aarch64::*;

use super::{EXP_MAX, EXP_MIN, Isa, ROUND_MAGIC, Simd, bits};

/// Proof that the processor has NEON.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// # Safety
    /// The processor has NEON.
    #[inline(always)]
    pub unsafe fn new_unchecked() -> Self {
        Self(())
    }
}

const N: usize = 4;

// SAFETY of every block below: the value of type `Neon` proves the feature, and pointer arguments are what
// the trait asks for.

#[inline(always)]
fn as_array(v: float32x4_t) -> [f32; N] {
    let mut a = [0.0; N];
    unsafe { vst1q_f32(a.as_mut_ptr(), v) };
    a
}

#[inline(always)]
fn from_array(a: [f32; N]) -> float32x4_t {
    unsafe { vld1q_f32(a.as_ptr()) }
}

/// Reads `n` elements, converts them and fills the other lanes.
#[inline(always)]
unsafe fn load_with<T: Copy>(p: *const T, n: usize, fill: f32, f: impl Fn(T) -> f32) -> float32x4_t {
    debug_assert!(n <= N);
    let mut a = [fill; N];
    for (i, a) in a.iter_mut().enumerate() {
        if i < n {
            *a = f(unsafe { p.add(i).read() });
        }
    }
    from_array(a)
}

#[inline(always)]
unsafe fn store_with<T>(p: *mut T, n: usize, v: float32x4_t, f: impl Fn(f32) -> T) {
    debug_assert!(n <= N);
    for (i, v) in as_array(v).into_iter().enumerate() {
        if i < n {
            unsafe { p.add(i).write(f(v)) };
        }
    }
}

#[inline(always)]
fn not(m: uint32x4_t) -> uint32x4_t {
    unsafe { vmvnq_u32(m) }
}

impl Simd for Neon {
    const LANES: usize = N;
    const FMA: bool = true;
    const ISA: Isa = Isa::Neon;

    type F = float32x4_t;
    type M = uint32x4_t;
    type D = (float64x2_t, float64x2_t);
    type Wide = super::Twice<Self>;
    #[inline(always)]
    fn wide(self) -> Self::Wide {
        super::Twice(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize, fill: f32) -> float32x4_t {
        unsafe { load_with(p, n, fill, |x| x) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, n: usize, v: float32x4_t) {
        unsafe { store_with(p, n, v, |x| x) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: float32x4_t) {
        unsafe { self.store(p, v) }
    }
    #[inline(always)]
    fn fence(self) {}

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> float32x4_t {
        unsafe { load_with(p, N, 0.0, bits::f16_to_f32) }
    }
    #[inline(always)]
    unsafe fn load_f16_partial(self, p: *const u16, n: usize, fill: f32) -> float32x4_t {
        unsafe { load_with(p, n, fill, bits::f16_to_f32) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: float32x4_t) {
        unsafe { store_with(p, N, v, bits::f32_to_f16) }
    }
    #[inline(always)]
    unsafe fn store_f16_partial(self, p: *mut u16, n: usize, v: float32x4_t) {
        unsafe { store_with(p, n, v, bits::f32_to_f16) }
    }
    #[inline(always)]
    unsafe fn stream_f16(self, p: *mut u16, v: float32x4_t) {
        unsafe { self.store_f16(p, v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(p)))) }
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(self, p: *const u16, n: usize, fill: f32) -> float32x4_t {
        unsafe { load_with(p, n, fill, bits::bf16_to_f32) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: float32x4_t) {
        unsafe {
            let raw = vreinterpretq_u32_f32(v);
            let top = vshrq_n_u32::<16>(raw);
            let odd = vandq_u32(top, vdupq_n_u32(1));
            let sum = vaddq_u32(vaddq_u32(raw, vdupq_n_u32(0x7fff)), odd);
            let quiet = vorrq_u32(top, vdupq_n_u32(0x40));
            let r = vbslq_u32(self.is_nan(v), quiet, vshrq_n_u32::<16>(sum));
            vst1_u16(p, vmovn_u32(r));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, p: *mut u16, n: usize, v: float32x4_t) {
        unsafe { store_with(p, n, v, bits::f32_to_bf16) }
    }
    #[inline(always)]
    unsafe fn stream_bf16(self, p: *mut u16, v: float32x4_t) {
        unsafe { self.store_bf16(p, v) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            let (a, b) = (vld1q_f32(from), vld1q_f32(from.add(stride)));
            let (c, d) = (vld1q_f32(from.add(2 * stride)), vld1q_f32(from.add(3 * stride)));
            let pairs = vreinterpretq_f64_f32;
            let (even_ab, even_cd) = (pairs(vtrn1q_f32(a, b)), pairs(vtrn1q_f32(c, d)));
            let (odd_ab, odd_cd) = (pairs(vtrn2q_f32(a, b)), pairs(vtrn2q_f32(c, d)));
            vst1q_f32(to, vreinterpretq_f32_f64(vtrn1q_f64(even_ab, even_cd)));
            vst1q_f32(to.add(to_stride), vreinterpretq_f32_f64(vtrn1q_f64(odd_ab, odd_cd)));
            vst1q_f32(to.add(2 * to_stride), vreinterpretq_f32_f64(vtrn2q_f64(even_ab, even_cd)));
            vst1q_f32(to.add(3 * to_stride), vreinterpretq_f32_f64(vtrn2q_f64(odd_ab, odd_cd)));
        }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn recip(self, a: float32x4_t) -> float32x4_t {
        self.div(self.splat(1.0), a)
    }
    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        unsafe { vsqrtq_f32(a) }
    }
    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        unsafe { vrndnq_f32(a) }
    }
    #[inline(always)]
    fn neg(self, a: float32x4_t) -> float32x4_t {
        unsafe { vnegq_f32(a) }
    }
    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        unsafe { vabsq_f32(a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: float32x4_t, sign: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vdupq_n_u32(0x8000_0000), sign, magnitude) }
    }
    // These two are NaN if either side is.
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(a, b) }
    }
    #[inline(always)]
    fn max_nan(self, acc: float32x4_t, x: float32x4_t) -> float32x4_t {
        self.max(acc, x)
    }
    #[inline(always)]
    fn min_nan(self, acc: float32x4_t, x: float32x4_t) -> float32x4_t {
        self.min(acc, x)
    }

    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        unsafe { vcltq_f32(a, b) }
    }
    #[inline(always)]
    fn le(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        unsafe { vcleq_f32(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        unsafe { vceqq_f32(a, b) }
    }
    #[inline(always)]
    fn is_nan(self, a: float32x4_t) -> uint32x4_t {
        not(self.eq(a, a))
    }
    #[inline(always)]
    fn first_n(self, n: usize) -> uint32x4_t {
        let index: [u32; N] = [0, 1, 2, 3];
        unsafe { vcltq_u32(vld1q_u32(index.as_ptr()), vdupq_n_u32(n.min(N) as u32)) }
    }
    #[inline(always)]
    fn and(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        unsafe { vandq_u32(a, b) }
    }
    #[inline(always)]
    fn or(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        unsafe { vorrq_u32(a, b) }
    }
    #[inline(always)]
    fn not(self, a: uint32x4_t) -> uint32x4_t {
        not(a)
    }
    #[inline(always)]
    fn select(self, m: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(m, a, b) }
    }
    #[inline(always)]
    fn mask_bits(self, m: uint32x4_t) -> u32 {
        let weight: [u32; N] = [1, 2, 4, 8];
        unsafe { vaddvq_u32(vandq_u32(m, vld1q_u32(weight.as_ptr()))) }
    }

    #[inline(always)]
    fn reduce_add(self, a: float32x4_t) -> f32 {
        let a = as_array(a);
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    fn first(self, a: float32x4_t) -> f32 {
        unsafe { vgetq_lane_f32::<0>(a) }
    }
    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        unsafe { vmaxvq_f32(a) }
    }
    #[inline(always)]
    fn reduce_min(self, a: float32x4_t) -> f32 {
        unsafe { vminvq_f32(a) }
    }

    #[inline(always)]
    fn d_zero(self) -> Self::D {
        unsafe { (vdupq_n_f64(0.0), vdupq_n_f64(0.0)) }
    }
    #[inline(always)]
    fn d_add(self, d: Self::D, a: float32x4_t) -> Self::D {
        unsafe {
            let lo = vcvt_f64_f32(vget_low_f32(a));
            (vaddq_f64(d.0, lo), vaddq_f64(d.1, vcvt_high_f64_f32(a)))
        }
    }
    #[inline(always)]
    fn d_mul_add(self, d: Self::D, a: float32x4_t, b: float32x4_t) -> Self::D {
        unsafe {
            let (a0, b0) = (vcvt_f64_f32(vget_low_f32(a)), vcvt_f64_f32(vget_low_f32(b)));
            let (a1, b1) = (vcvt_high_f64_f32(a), vcvt_high_f64_f32(b));
            (vfmaq_f64(d.0, a0, b0), vfmaq_f64(d.1, a1, b1))
        }
    }
    #[inline(always)]
    fn d_merge(self, a: Self::D, b: Self::D) -> Self::D {
        unsafe { (vaddq_f64(a.0, b.0), vaddq_f64(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn d_add_to(self, p: *mut f64, d: Self::D) {
        unsafe {
            vst1q_f64(p, vaddq_f64(vld1q_f64(p), d.0));
            vst1q_f64(p.add(2), vaddq_f64(vld1q_f64(p.add(2)), d.1));
        }
    }
    #[inline(always)]
    fn d_sum(self, d: Self::D) -> f64 {
        unsafe { vaddvq_f64(vaddq_f64(d.0, d.1)) }
    }

    #[inline(always)]
    fn exp_clamp(self, x: float32x4_t) -> float32x4_t {
        x
    }
    #[inline(always)]
    fn exp_finish(self, x: float32x4_t, p: float32x4_t, _k: float32x4_t, t: float32x4_t) -> float32x4_t {
        unsafe {
            let k = vshlq_n_u32::<23>(vreinterpretq_u32_f32(t));
            let y = vaddq_u32(vreinterpretq_u32_f32(p), k);
            let low = vcltq_f32(x, vdupq_n_f32(EXP_MIN));
            let y = vreinterpretq_f32_u32(vbicq_u32(y, low));
            // Above the range or NaN, where the exponent arithmetic made nonsense.
            let in_range = vcleq_f32(x, vdupq_n_f32(EXP_MAX));
            vbslq_f32(in_range, y, vaddq_f32(x, vdupq_n_f32(f32::INFINITY)))
        }
    }
    #[inline(always)]
    fn pow2(self, k: float32x4_t) -> float32x4_t {
        unsafe {
            let t = vaddq_f32(k, vdupq_n_f32(ROUND_MAGIC + 127.0));
            vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(t)))
        }
    }
    #[inline(always)]
    fn frexp(self, x: float32x4_t) -> (float32x4_t, float32x4_t) {
        unsafe {
            let zero = vdupq_n_f32(0.0);
            let inf = vdupq_n_f32(f32::INFINITY);
            let tiny = vcltq_f32(x, vdupq_n_f32(f32::MIN_POSITIVE));
            let y = vbslq_f32(tiny, vmulq_n_f32(x, 8_388_608.0), x);
            let shift = vbslq_f32(tiny, vdupq_n_f32(-23.0), zero);

            let raw = vreinterpretq_u32_f32(y);
            let above = vsubq_u32(raw, vdupq_n_u32(bits::TWO_THIRDS));
            let exponent = vandq_u32(above, vdupq_n_u32(0xff80_0000));
            let m = vreinterpretq_f32_u32(vsubq_u32(raw, exponent));
            let e = vcvtq_f32_s32(vreinterpretq_s32_u32(exponent));
            let e = vfmaq_f32(shift, e, vdupq_n_f32(1.0 / 8_388_608.0));

            // Zero and infinity have m = 1 already.
            let m = vbslq_f32(vcgeq_f32(x, zero), m, vdupq_n_f32(f32::NAN));
            let e = vbslq_f32(vceqq_f32(x, zero), vdupq_n_f32(f32::NEG_INFINITY), e);
            (m, vbslq_f32(vceqq_f32(x, inf), inf, e))
        }
    }
}
