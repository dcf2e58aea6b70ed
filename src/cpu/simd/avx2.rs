//! AVX2 with FMA and F16C.

use core::arch::x86_64::*;

use super::{EXP_MAX, EXP_MIN, Isa, ROUND_MAGIC, Simd, bits};

/// Proof that the processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has the features named above.
    #[inline(always)]
    pub unsafe fn new_unchecked() -> Self {
        Self(())
    }
}

const RNE: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// SAFETY of every block below: the value of type `Avx2` proves the features, and pointer arguments are what
// the trait asks for.

#[inline(always)]
fn lanes(n: usize) -> __m256i {
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

#[inline(always)]
fn halves(a: __m256) -> (__m128, __m128) {
    unsafe { (_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a)) }
}

#[inline(always)]
fn sign_bit() -> __m256 {
    unsafe { _mm256_set1_ps(-0.0) }
}

/// Folds to one lane: lanes 4 apart, then 2 and 1.
#[inline(always)]
fn fold(a: __m256, f: impl Fn(__m128, __m128) -> __m128) -> f32 {
    unsafe {
        let (lo, hi) = halves(a);
        let a = f(lo, hi);
        let a = f(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32(f(a, _mm_movehdup_ps(a)))
    }
}

#[inline(always)]
fn widen_f16(h: __m128i) -> __m256 {
    unsafe { _mm256_cvtph_ps(h) }
}

#[inline(always)]
fn narrow_f16(v: __m256) -> __m128i {
    unsafe { _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v) }
}

#[inline(always)]
fn widen_bf16(h: __m128i) -> __m256 {
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(h))) }
}

#[inline(always)]
fn narrow_bf16(v: __m256) -> __m128i {
    unsafe {
        let bits = _mm256_castps_si256(v);
        let top = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
        let sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
        let r = _mm256_blendv_epi8(_mm256_srli_epi32::<16>(sum), quiet, nan);
        _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256::<1>(r))
    }
}

/// Through a buffer: there is no masked access to 16-bit elements.
#[inline(always)]
unsafe fn load16(p: *const u16, n: usize) -> __m128i {
    let mut buffer = [0u16; 8];
    unsafe {
        bits::copy_few(p, buffer.as_mut_ptr(), n);
        _mm_loadu_si128(buffer.as_ptr().cast())
    }
}

#[inline(always)]
unsafe fn store16(p: *mut u16, n: usize, v: __m128i) {
    let mut buffer = [0u16; 8];
    unsafe {
        _mm_storeu_si128(buffer.as_mut_ptr().cast(), v);
        bits::copy_few(buffer.as_ptr(), p, n);
    }
}

#[inline(always)]
fn fill_from(v: __m256, n: usize, fill: f32) -> __m256 {
    unsafe { _mm256_blendv_ps(_mm256_set1_ps(fill), v, _mm256_castsi256_ps(lanes(n))) }
}

/// Four values of a row and of the one 4 below it, placed by loads: what is then left of a transposition
/// stays within 128 bits.
#[inline(always)]
unsafe fn row_pair(p: *const f32, stride: usize) -> __m256 {
    unsafe {
        _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p.add(4 * stride)))
    }
}

/// Transposes four values of eight rows.
#[inline(always)]
unsafe fn transpose_four(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
    unsafe {
        let (a, b) = (row_pair(from, stride), row_pair(from.add(stride), stride));
        let (c, d) = (row_pair(from.add(2 * stride), stride), row_pair(from.add(3 * stride), stride));
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(ab, cd));
        _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0xee>(ab, cd));
        let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        _mm256_storeu_ps(to.add(2 * to_stride), _mm256_shuffle_ps::<0x44>(ab, cd));
        _mm256_storeu_ps(to.add(3 * to_stride), _mm256_shuffle_ps::<0xee>(ab, cd));
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const FMA: bool = true;
    const ISA: Isa = Isa::Avx2;

    type F = __m256;
    type M = __m256;
    type D = (__m256d, __m256d);
    type Wide = super::Twice<Self>;
    #[inline(always)]
    fn wide(self) -> Self::Wide {
        super::Twice(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize, fill: f32) -> __m256 {
        fill_from(unsafe { _mm256_maskload_ps(p, lanes(n)) }, n, fill)
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, n: usize, v: __m256) {
        unsafe { _mm256_maskstore_ps(p, lanes(n), v) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_stream_ps(p, v) }
    }
    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        widen_f16(unsafe { _mm_loadu_si128(p.cast()) })
    }
    #[inline(always)]
    unsafe fn load_f16_partial(self, p: *const u16, n: usize, fill: f32) -> __m256 {
        fill_from(widen_f16(unsafe { load16(p, n) }), n, fill)
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), narrow_f16(v)) }
    }
    #[inline(always)]
    unsafe fn store_f16_partial(self, p: *mut u16, n: usize, v: __m256) {
        unsafe { store16(p, n, narrow_f16(v)) }
    }
    #[inline(always)]
    unsafe fn stream_f16(self, p: *mut u16, v: __m256) {
        unsafe { _mm_stream_si128(p.cast(), narrow_f16(v)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        widen_bf16(unsafe { _mm_loadu_si128(p.cast()) })
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(self, p: *const u16, n: usize, fill: f32) -> __m256 {
        fill_from(widen_bf16(unsafe { load16(p, n) }), n, fill)
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), narrow_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, p: *mut u16, n: usize, v: __m256) {
        unsafe { store16(p, n, narrow_bf16(v)) }
    }
    #[inline(always)]
    unsafe fn stream_bf16(self, p: *mut u16, v: __m256) {
        unsafe { _mm_stream_si128(p.cast(), narrow_bf16(v)) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { self.transpose_from(from, stride, to, to_stride, 8) }
    }
    #[inline(always)]
    unsafe fn transpose_from(
        self,
        from: *const f32,
        stride: usize,
        to: *mut f32,
        to_stride: usize,
        n: usize,
    ) {
        unsafe {
            transpose_four(from, stride, to, to_stride);
            if n > 4 {
                transpose_four(from.add(4), stride, to.add(4 * to_stride), to_stride);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose_to(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize, n: usize) {
        if n == 8 {
            return unsafe { self.transpose(from, stride, to, to_stride) };
        }
        let mut k = 0;
        unsafe {
            let vector = |k: usize| _mm256_loadu_ps(from.add(k * stride));
            // Values from `k` on of a row and of the one 4 below it.
            let place = |row: usize, k: usize| to.add(row * to_stride + k);
            if n & 4 > 0 {
                let (ab, cd) =
                    (_mm256_unpacklo_ps(vector(0), vector(1)), _mm256_unpacklo_ps(vector(2), vector(3)));
                let first = [_mm256_shuffle_ps::<0x44>(ab, cd), _mm256_shuffle_ps::<0xee>(ab, cd)];
                let (ab, cd) =
                    (_mm256_unpackhi_ps(vector(0), vector(1)), _mm256_unpackhi_ps(vector(2), vector(3)));
                let second = [_mm256_shuffle_ps::<0x44>(ab, cd), _mm256_shuffle_ps::<0xee>(ab, cd)];
                for (row, fours) in first.into_iter().chain(second).enumerate() {
                    let (low, high) = halves(fours);
                    _mm_storeu_ps(place(row, 0), low);
                    _mm_storeu_ps(place(row + 4, 0), high);
                }
                k = 4;
            }
            if n & 2 > 0 {
                let (a, b) = (vector(k), vector(k + 1));
                for (row, pairs) in [(0, _mm256_unpacklo_ps(a, b)), (2, _mm256_unpackhi_ps(a, b))] {
                    let (low, high) = halves(pairs);
                    _mm_storel_pd(place(row, k).cast(), _mm_castps_pd(low));
                    _mm_storeh_pd(place(row + 1, k).cast(), _mm_castps_pd(low));
                    _mm_storel_pd(place(row + 4, k).cast(), _mm_castps_pd(high));
                    _mm_storeh_pd(place(row + 5, k).cast(), _mm_castps_pd(high));
                }
                k += 2;
            }
            if n & 1 > 0 {
                (0..8).for_each(|row| *place(row, k) = *from.add(k * stride + row));
            }
        }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn recip(self, a: __m256) -> __m256 {
        unsafe {
            // 11 bits, doubled twice.
            let one = _mm256_set1_ps(1.0);
            let r = _mm256_rcp_ps(a);
            let r = _mm256_fmadd_ps(r, _mm256_fnmadd_ps(a, r, one), r);
            _mm256_fmadd_ps(r, _mm256_fnmadd_ps(a, r, one), r)
        }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<RNE>(a) }
    }
    #[inline(always)]
    fn neg(self, a: __m256) -> __m256 {
        unsafe { _mm256_xor_ps(a, sign_bit()) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(sign_bit(), a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: __m256, sign: __m256) -> __m256 {
        unsafe { _mm256_or_ps(self.abs(magnitude), _mm256_and_ps(sign_bit(), sign)) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max_nan(self, acc: __m256, x: __m256) -> __m256 {
        // `acc` comes last, so its NaN stays; all ones, or-ed in, make a NaN of any lane.
        unsafe { _mm256_or_ps(_mm256_max_ps(x, acc), self.is_nan(x)) }
    }
    #[inline(always)]
    fn min_nan(self, acc: __m256, x: __m256) -> __m256 {
        unsafe { _mm256_or_ps(_mm256_min_ps(x, acc), self.is_nan(x)) }
    }

    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn is_nan(self, a: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a) }
    }
    #[inline(always)]
    fn first_n(self, n: usize) -> __m256 {
        unsafe { _mm256_castsi256_ps(lanes(n.min(8))) }
    }
    #[inline(always)]
    fn and(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_and_ps(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_or_ps(a, b) }
    }
    #[inline(always)]
    fn not(self, a: __m256) -> __m256 {
        unsafe { _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))) }
    }
    #[inline(always)]
    fn select(self, m: __m256, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(b, a, m) }
    }
    #[inline(always)]
    fn select_negative(self, x: __m256, a: __m256, b: __m256) -> __m256 {
        self.select(x, a, b)
    }
    #[inline(always)]
    fn only(self, m: __m256, a: __m256) -> __m256 {
        unsafe { _mm256_and_ps(m, a) }
    }
    #[inline(always)]
    fn mask_bits(self, m: __m256) -> u32 {
        unsafe { _mm256_movemask_ps(m) as u32 }
    }

    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        fold(
            a,
            #[inline(always)]
            |a, b| unsafe { _mm_add_ps(a, b) },
        )
    }
    #[inline(always)]
    fn first(self, a: __m256) -> f32 {
        unsafe { _mm256_cvtss_f32(a) }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        if self.any(self.is_nan(a)) {
            return f32::NAN;
        }
        fold(
            a,
            #[inline(always)]
            |a, b| unsafe { _mm_max_ps(a, b) },
        )
    }
    #[inline(always)]
    fn reduce_min(self, a: __m256) -> f32 {
        if self.any(self.is_nan(a)) {
            return f32::NAN;
        }
        fold(
            a,
            #[inline(always)]
            |a, b| unsafe { _mm_min_ps(a, b) },
        )
    }

    #[inline(always)]
    fn d_zero(self) -> Self::D {
        unsafe { (_mm256_setzero_pd(), _mm256_setzero_pd()) }
    }
    #[inline(always)]
    fn d_add(self, d: Self::D, a: __m256) -> Self::D {
        let (lo, hi) = halves(a);
        unsafe { (_mm256_add_pd(d.0, _mm256_cvtps_pd(lo)), _mm256_add_pd(d.1, _mm256_cvtps_pd(hi))) }
    }
    #[inline(always)]
    fn d_mul_add(self, d: Self::D, a: __m256, b: __m256) -> Self::D {
        let (a0, a1) = halves(a);
        let (b0, b1) = halves(b);
        unsafe {
            (
                _mm256_fmadd_pd(_mm256_cvtps_pd(a0), _mm256_cvtps_pd(b0), d.0),
                _mm256_fmadd_pd(_mm256_cvtps_pd(a1), _mm256_cvtps_pd(b1), d.1),
            )
        }
    }
    #[inline(always)]
    fn d_merge(self, a: Self::D, b: Self::D) -> Self::D {
        unsafe { (_mm256_add_pd(a.0, b.0), _mm256_add_pd(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn d_add_to(self, p: *mut f64, d: Self::D) {
        unsafe {
            _mm256_storeu_pd(p, _mm256_add_pd(_mm256_loadu_pd(p), d.0));
            _mm256_storeu_pd(p.add(4), _mm256_add_pd(_mm256_loadu_pd(p.add(4)), d.1));
        }
    }
    #[inline(always)]
    fn d_sum(self, d: Self::D) -> f64 {
        unsafe {
            let a = _mm256_add_pd(d.0, d.1);
            let a = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd::<1>(a));
            _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)))
        }
    }

    #[inline(always)]
    fn exp_clamp(self, x: __m256) -> __m256 {
        x
    }
    #[inline(always)]
    fn exp_finish(self, x: __m256, p: __m256, _k: __m256, t: __m256) -> __m256 {
        unsafe {
            let k = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
            let y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), k));
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(EXP_MIN));
            let y = _mm256_andnot_ps(low, y);
            // Above the range or NaN, where the exponent arithmetic made nonsense.
            let high = _mm256_cmp_ps::<_CMP_NLE_UQ>(x, _mm256_set1_ps(EXP_MAX));
            _mm256_blendv_ps(y, _mm256_add_ps(x, _mm256_set1_ps(f32::INFINITY)), high)
        }
    }
    // From here to there k runs from -127, whose power has the exponent bits of 0, to 128, whose power has those of
    // infinity: cheaper than to look at the ends afterwards.
    // The bias of an exponent comes with the rounding.
    const TERM_MAGIC: f32 = ROUND_MAGIC + 127.0;
    #[inline(always)]
    fn term_clamp(self, x: __m256) -> __m256 {
        self.max(self.splat(-88.0), self.min(self.splat(88.7), x))
    }
    #[inline(always)]
    fn term_finish(self, _x: __m256, p: __m256, _k: __m256, t: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(t)))) }
    }
    #[inline(always)]
    fn softmax_terms(self, x: [__m256; 4]) -> [__m256; 4] {
        // SAFETY: the processor has AVX2 and FMA.
        unsafe { super::avx2_terms::softmax_terms(x) }
    }
    #[inline(always)]
    unsafe fn exp_pack(self, from: *const f32, to: *mut f32) {
        unsafe { super::avx2_batch::exp(from, to) }
    }
    #[inline(always)]
    unsafe fn ln_pack(self, from: *const f32, to: *mut f32) {
        unsafe {
            if super::avx2_batch::unusual(from) {
                super::batch::map_pack(self, from, to, super::math::ln);
            } else {
                super::avx2_batch::ln(from, to);
            }
        }
    }
    #[inline(always)]
    unsafe fn logistic_pack(self, from: *const f32, to: [*mut f32; 2]) {
        unsafe { super::avx2_batch::logistic(from, to) }
    }
    #[inline(always)]
    fn exp_over(self, x: [__m256; 4], power: &super::math::PowerOver<Self>) -> [__m256; 4] {
        // SAFETY: the processor has AVX2 and FMA.
        unsafe { super::avx2_terms::exp_over(x, power) }
    }
    #[inline(always)]
    fn pow2(self, k: __m256) -> __m256 {
        unsafe {
            let t = _mm256_add_ps(k, _mm256_set1_ps(ROUND_MAGIC + 127.0));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(t)))
        }
    }
    #[inline(always)]
    fn scale_of(self, x: __m256) -> (__m256, __m256) {
        unsafe {
            let above = _mm256_sub_epi32(_mm256_castps_si256(x), _mm256_set1_epi32(bits::TWO_THIRDS as i32));
            let exponent = _mm256_and_si256(above, _mm256_set1_epi32(0xff80_0000_u32 as i32));
            let scale = _mm256_sub_epi32(_mm256_castps_si256(_mm256_set1_ps(1.0)), exponent);
            let e = _mm256_mul_ps(_mm256_cvtepi32_ps(exponent), _mm256_set1_ps(1.0 / 8_388_608.0));
            (_mm256_castsi256_ps(scale), e)
        }
    }
    #[inline(always)]
    fn frexp(self, x: __m256) -> (__m256, __m256) {
        unsafe {
            let zero = _mm256_setzero_ps();
            let inf = _mm256_set1_ps(f32::INFINITY);
            let tiny = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(f32::MIN_POSITIVE));
            let y = _mm256_blendv_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(8_388_608.0)), tiny);
            let shift = _mm256_and_ps(tiny, _mm256_set1_ps(-23.0));

            let raw = _mm256_castps_si256(y);
            let above = _mm256_sub_epi32(raw, _mm256_set1_epi32(bits::TWO_THIRDS as i32));
            let exponent = _mm256_and_si256(above, _mm256_set1_epi32(0xff80_0000_u32 as i32));
            let m = _mm256_castsi256_ps(_mm256_sub_epi32(raw, exponent));
            let e = _mm256_cvtepi32_ps(exponent);
            let e = _mm256_fmadd_ps(e, _mm256_set1_ps(1.0 / 8_388_608.0), shift);

            // Zero and infinity have m = 1 already; all ones make a NaN.
            let invalid = _mm256_cmp_ps::<_CMP_NGE_UQ>(x, zero);
            let low = _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(x, zero), _mm256_set1_ps(f32::NEG_INFINITY));
            let high = _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(x, inf), inf);
            (_mm256_or_ps(m, invalid), _mm256_add_ps(e, _mm256_or_ps(low, high)))
        }
    }
}
