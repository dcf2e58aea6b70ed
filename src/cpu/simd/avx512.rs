//! AVX-512 F, BW, DQ and VL.

use core::arch::x86_64::*;

use super::{EXP_MIN, Isa, Simd};

/// Proof that the processor has AVX-512 F, BW, DQ, VL, AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor has the features named above.
    #[inline(always)]
    pub unsafe fn new_unchecked() -> Self {
        Self(())
    }
}

const RNE: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// SAFETY of every block below: the value of type `Avx512` proves the features, and pointer arguments are
// what the trait asks for.

#[inline(always)]
fn lanes(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    // Shifting a wider one makes n = 16 come out right.
    ((1u32 << n) - 1) as __mmask16
}

#[inline(always)]
fn halves(a: __m512) -> (__m256, __m256) {
    unsafe { (_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)) }
}

#[inline(always)]
fn sign_bit() -> __m512 {
    unsafe { _mm512_set1_ps(-0.0) }
}

/// Folds to one lane: lanes 8 apart, then 4, 2 and 1.
#[inline(always)]
fn fold(a: __m512, f: impl Fn(__m128, __m128) -> __m128, f8: impl Fn(__m256, __m256) -> __m256) -> f32 {
    unsafe {
        let (lo, hi) = halves(a);
        let a = f8(lo, hi);
        let a = f(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let a = f(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(f(a, _mm_movehdup_ps(a)))
    }
}

#[inline(always)]
fn widen_f16(h: __m256i) -> __m512 {
    unsafe { _mm512_cvtph_ps(h) }
}

#[inline(always)]
fn narrow_f16(v: __m512) -> __m256i {
    unsafe { _mm512_cvtps_ph::<RNE>(v) }
}

/// Orders of 16-bit words: each to the upper half of a lane, and the upper halves together.
const APART: [i16; 32] = order(1, 0, 2);
const TOGETHER: [i16; 32] = order(2, 1, 1);

const fn order(step: usize, from: usize, each: usize) -> [i16; 32] {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 32 {
        order[i] = ((i / each * step + from) % 32) as i16;
        i += 1;
    }
    order
}

#[inline(always)]
fn widen_bf16(h: __m256i) -> __m512 {
    unsafe {
        let order = _mm512_loadu_epi16(APART.as_ptr());
        let h = _mm512_castsi256_si512(h);
        _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaa_aaaa, order, h))
    }
}

/// Not `vcvtneps2bf16`: that one flushes subnormals.
#[inline(always)]
fn narrow_bf16(v: __m512) -> __m256i {
    unsafe {
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let rounded = _mm512_mask_or_epi32(sum, nan, bits, _mm512_set1_epi32(0x40_0000));
        let order = _mm512_loadu_epi16(TOGETHER.as_ptr());
        _mm512_castsi512_si256(_mm512_permutexvar_epi16(order, rounded))
    }
}

#[inline(always)]
unsafe fn load16(p: *const u16, n: usize) -> __m256i {
    unsafe { _mm256_maskz_loadu_epi16(lanes(n), p.cast()) }
}

#[inline(always)]
fn fill_from(v: __m512, n: usize, fill: f32) -> __m512 {
    unsafe { _mm512_mask_mov_ps(_mm512_set1_ps(fill), lanes(n), v) }
}

/// Four values of a row and of those 4, 8 and 12 below it, placed by loads: what is then left of a
/// transposition stays within 128 bits.
#[inline(always)]
unsafe fn quarters(p: *const f32, stride: usize) -> __m512 {
    unsafe {
        let v = _mm512_castps128_ps512(_mm_loadu_ps(p));
        let v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(p.add(4 * stride)));
        let v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(p.add(8 * stride)));
        _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(p.add(12 * stride)))
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const FMA: bool = true;
    const ISA: Isa = Isa::Avx512;

    type F = __m512;
    type M = __mmask16;
    type D = (__m512d, __m512d);
    type Wide = super::Twice<Self>;
    #[inline(always)]
    fn wide(self) -> Self::Wide {
        super::Twice(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize, fill: f32) -> __m512 {
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanes(n), p) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, n: usize, v: __m512) {
        unsafe { _mm512_mask_storeu_ps(p, lanes(n), v) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_stream_ps(p, v) }
    }
    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        widen_f16(unsafe { _mm256_loadu_si256(p.cast()) })
    }
    #[inline(always)]
    unsafe fn load_f16_partial(self, p: *const u16, n: usize, fill: f32) -> __m512 {
        fill_from(widen_f16(unsafe { load16(p, n) }), n, fill)
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m512) {
        unsafe { _mm256_storeu_si256(p.cast(), narrow_f16(v)) }
    }
    #[inline(always)]
    unsafe fn store_f16_partial(self, p: *mut u16, n: usize, v: __m512) {
        unsafe { _mm256_mask_storeu_epi16(p.cast(), lanes(n), narrow_f16(v)) }
    }
    #[inline(always)]
    unsafe fn stream_f16(self, p: *mut u16, v: __m512) {
        unsafe { _mm256_stream_si256(p.cast(), narrow_f16(v)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        widen_bf16(unsafe { _mm256_loadu_si256(p.cast()) })
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(self, p: *const u16, n: usize, fill: f32) -> __m512 {
        fill_from(widen_bf16(unsafe { load16(p, n) }), n, fill)
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m512) {
        unsafe { _mm256_storeu_si256(p.cast(), narrow_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, p: *mut u16, n: usize, v: __m512) {
        unsafe { _mm256_mask_storeu_epi16(p.cast(), lanes(n), narrow_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn stream_bf16(self, p: *mut u16, v: __m512) {
        unsafe { _mm256_stream_si256(p.cast(), narrow_bf16(v)) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for q in (0..16).step_by(4) {
            unsafe {
                let from = from.add(q);
                let (a, b) = (quarters(from, stride), quarters(from.add(stride), stride));
                let (c, d) = (quarters(from.add(2 * stride), stride), quarters(from.add(3 * stride), stride));
                let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                let out = to.add(q * to_stride);
                _mm512_storeu_ps(out, _mm512_shuffle_ps::<0x44>(ab, cd));
                _mm512_storeu_ps(out.add(to_stride), _mm512_shuffle_ps::<0xee>(ab, cd));
                let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                _mm512_storeu_ps(out.add(2 * to_stride), _mm512_shuffle_ps::<0x44>(ab, cd));
                _mm512_storeu_ps(out.add(3 * to_stride), _mm512_shuffle_ps::<0xee>(ab, cd));
            }
        }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn recip(self, a: __m512) -> __m512 {
        unsafe {
            // 14 bits, doubled by one step of Newton's method.
            let r = _mm512_rcp14_ps(a);
            let e = _mm512_fnmadd_ps(a, r, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(r, e, r)
        }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<RNE>(a) }
    }
    #[inline(always)]
    fn neg(self, a: __m512) -> __m512 {
        unsafe { _mm512_xor_ps(a, sign_bit()) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_andnot_ps(sign_bit(), a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: __m512, sign: __m512) -> __m512 {
        unsafe { _mm512_or_ps(self.abs(magnitude), _mm512_and_ps(sign_bit(), sign)) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max_nan(self, acc: __m512, x: __m512) -> __m512 {
        // `acc` comes last, so its NaN stays; lanes where `x` is NaN are left out and keep `x`.
        unsafe { _mm512_mask_max_ps(x, _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x), x, acc) }
    }
    #[inline(always)]
    fn min_nan(self, acc: __m512, x: __m512) -> __m512 {
        unsafe { _mm512_mask_min_ps(x, _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x), x, acc) }
    }

    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn is_nan(self, a: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a) }
    }
    #[inline(always)]
    fn first_n(self, n: usize) -> __mmask16 {
        lanes(n.min(16))
    }
    #[inline(always)]
    fn and(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }
    #[inline(always)]
    fn or(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn not(self, a: __mmask16) -> __mmask16 {
        !a
    }
    #[inline(always)]
    fn select(self, m: __mmask16, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(m, b, a) }
    }
    #[inline(always)]
    fn mask_bits(self, m: __mmask16) -> u32 {
        m as u32
    }

    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        fold(
            a,
            #[inline(always)]
            |a, b| unsafe { _mm_add_ps(a, b) },
            #[inline(always)]
            |a, b| unsafe { _mm256_add_ps(a, b) },
        )
    }
    #[inline(always)]
    fn first(self, a: __m512) -> f32 {
        unsafe { _mm512_cvtss_f32(a) }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        if self.any(self.is_nan(a)) {
            return f32::NAN;
        }
        fold(
            a,
            #[inline(always)]
            |a, b| unsafe { _mm_max_ps(a, b) },
            #[inline(always)]
            |a, b| unsafe { _mm256_max_ps(a, b) },
        )
    }
    #[inline(always)]
    fn reduce_min(self, a: __m512) -> f32 {
        if self.any(self.is_nan(a)) {
            return f32::NAN;
        }
        fold(
            a,
            #[inline(always)]
            |a, b| unsafe { _mm_min_ps(a, b) },
            #[inline(always)]
            |a, b| unsafe { _mm256_min_ps(a, b) },
        )
    }

    #[inline(always)]
    fn d_zero(self) -> Self::D {
        unsafe { (_mm512_setzero_pd(), _mm512_setzero_pd()) }
    }
    #[inline(always)]
    fn d_add(self, d: Self::D, a: __m512) -> Self::D {
        let (lo, hi) = halves(a);
        unsafe { (_mm512_add_pd(d.0, _mm512_cvtps_pd(lo)), _mm512_add_pd(d.1, _mm512_cvtps_pd(hi))) }
    }
    #[inline(always)]
    fn d_mul_add(self, d: Self::D, a: __m512, b: __m512) -> Self::D {
        let (a0, a1) = halves(a);
        let (b0, b1) = halves(b);
        unsafe {
            (
                _mm512_fmadd_pd(_mm512_cvtps_pd(a0), _mm512_cvtps_pd(b0), d.0),
                _mm512_fmadd_pd(_mm512_cvtps_pd(a1), _mm512_cvtps_pd(b1), d.1),
            )
        }
    }
    #[inline(always)]
    fn d_merge(self, a: Self::D, b: Self::D) -> Self::D {
        unsafe { (_mm512_add_pd(a.0, b.0), _mm512_add_pd(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn d_add_to(self, p: *mut f64, d: Self::D) {
        unsafe {
            _mm512_storeu_pd(p, _mm512_add_pd(_mm512_loadu_pd(p), d.0));
            _mm512_storeu_pd(p.add(8), _mm512_add_pd(_mm512_loadu_pd(p.add(8)), d.1));
        }
    }
    #[inline(always)]
    fn d_sum(self, d: Self::D) -> f64 {
        unsafe {
            let a = _mm512_add_pd(d.0, d.1);
            let a = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd::<1>(a));
            let a = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd::<1>(a));
            _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)))
        }
    }

    #[inline(always)]
    fn exp_clamp(self, x: __m512) -> __m512 {
        // Anything over EXP_MAX by more than a rounding: keeps `k` small, and lets NaN through.
        unsafe { _mm512_min_ps(_mm512_set1_ps(89.0), x) }
    }
    #[inline(always)]
    fn exp_finish(self, x: __m512, p: __m512, k: __m512, _t: __m512) -> __m512 {
        unsafe {
            // Lanes too small are left out, not computed: a subnormal result is slow on many processors.
            let live = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(EXP_MIN));
            _mm512_maskz_scalef_ps(live, p, k)
        }
    }
    #[inline(always)]
    fn pow2(self, k: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), k) }
    }
    #[inline(always)]
    fn frexp(self, x: __m512) -> (__m512, __m512) {
        unsafe {
            // In [1, 2), NaN for negative numbers; then the upper two thirds are halved.
            let m = _mm512_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_NAN>(x);
            let e = _mm512_getexp_ps(x);
            let big = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(m, _mm512_set1_ps(4.0 / 3.0));
            let m = _mm512_mask_mul_ps(m, big, m, _mm512_set1_ps(0.5));
            let e = _mm512_mask_add_ps(e, big, e, _mm512_set1_ps(1.0));
            (m, e)
        }
    }
}
