//! The functions of [`batch`](super::batch) with AVX2. In assembly for the order of the instructions alone, as in
//! [`avx2_terms`](super::avx2_terms): every step of a chain is done for all four vectors.

use super::math::{EXP, LN, LN_1P, LN2_HI, LN2_LO, map_four};
use super::{Avx2, EXP_MAX, EXP_MIN, ROUND_MAGIC, Simd, math};
use core::arch::asm;
use core::arch::x86_64::*;
use core::f32::consts::{LN_2, LOG2_E};

/// An operand of vector `i`: `x` its own register, `(c)` a register for all, `[p]` memory at a pointer, `{n}` a number.
macro_rules! operand {
    ([$p:ident] $i:literal $offset:literal) => {
        concat!("[{", stringify!($p), "} + ", $offset, "]")
    };
    (($c:ident) $i:literal $offset:literal) => {
        concat!("{", stringify!($c), "}")
    };
    ({$n:literal} $i:literal $offset:literal) => {
        $n
    };
    ($x:ident $i:literal $offset:literal) => {
        concat!("{", stringify!($x), $i, "}")
    };
}

/// An instruction for each of the four vectors.
macro_rules! four {
    ($op:literal $to:tt $(, $from:tt)+) => {
        concat!(
            $op, " ", operand!($to 0 0) $(, ", ", operand!($from 0 0))+, "\n",
            $op, " ", operand!($to 1 32) $(, ", ", operand!($from 1 32))+, "\n",
            $op, " ", operand!($to 2 64) $(, ", ", operand!($from 2 64))+, "\n",
            $op, " ", operand!($to 3 96) $(, ", ", operand!($from 3 96))+,
        )
    };
}

/// Sets a register for all to a constant.
macro_rules! set {
    ($c:literal $at:literal) => {
        concat!("vbroadcastss {", $c, "}, dword ptr [{constants} + 4 * ", $at, "]")
    };
}

/// The assembly of one function: registers `x`, `p` and `t` of each vector, `c` and `d` for all.
macro_rules! run {
    ($constants:ident, [$($pointer:ident),+], $($line:expr),+ $(,)?) => {
        asm!(
            $($line),+,
            constants = in(reg) &$constants,
            $($pointer = in(reg) $pointer,)+
            x0 = out(ymm_reg) _, x1 = out(ymm_reg) _, x2 = out(ymm_reg) _, x3 = out(ymm_reg) _,
            p0 = out(ymm_reg) _, p1 = out(ymm_reg) _, p2 = out(ymm_reg) _, p3 = out(ymm_reg) _,
            t0 = out(ymm_reg) _, t1 = out(ymm_reg) _, t2 = out(ymm_reg) _, t3 = out(ymm_reg) _,
            c = out(ymm_reg) _, d = out(ymm_reg) _,
            options(nostack, preserves_flags)
        )
    };
}

static OF_EXP: [f32; 13] = [
    LOG2_E, ROUND_MAGIC, -LN2_HI, -LN2_LO, EXP[4], EXP[3], EXP[2], EXP[1], EXP[0], 1.0, EXP_MIN, f32::INFINITY, EXP_MAX,
];

/// As [`math::exp`].
///
/// # Safety
/// `from` holds four vectors, and `to` has room for them.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn exp_four(from: *const f32, to: *mut f32) {
    unsafe {
        run!(
            OF_EXP,
            [from, to],
            set!("c" 0),
            set!("d" 1),
            four!("vmovaps" t, (d)),
            four!("vfmadd231ps" t, (c), [from]),
            four!("vsubps" p, t, (d)),
            four!("vmovups" x, [from]),
            set!("c" 2),
            four!("vfmadd231ps" x, p, (c)),
            set!("d" 3),
            four!("vfmadd231ps" x, p, (d)),
            set!("c" 4),
            set!("d" 5),
            four!("vmovaps" p, (c)),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 6),
            four!("vpslld" t, t, {"23"}),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 7),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 8),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 9),
            four!("vfmadd213ps" p, x, (d)),
            four!("vfmadd213ps" p, x, (d)),
            // 0 where EXP_MIN > x.
            set!("c" 10),
            four!("vcmpps" x, (c), [from], {"30"}),
            four!("vpaddd" p, p, t),
            // x + infinity where not EXP_MAX >= x.
            set!("d" 11),
            four!("vaddps" t, (d), [from]),
            four!("vandnps" p, x, p),
            set!("c" 12),
            four!("vcmpps" x, (c), [from], {"25"}),
            four!("vblendvps" p, p, t, x),
            four!("vmovups" [to], p),
        );
    }
}

static OF_LOGISTIC: [f32; 20] = [
    -0.0, -88.0, LOG2_E, Avx2::TERM_MAGIC, -LN2_HI, -LN2_LO, EXP[4], EXP[3], EXP[2], EXP[1], EXP[0], 1.0,
    LN_1P[7], LN_1P[6], LN_1P[5], LN_1P[4], LN_1P[3], LN_1P[2], LN_1P[1], LN_1P[0],
];

/// As [`math::logistic`].
///
/// # Safety
/// As of [`exp_four`].
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn logistic_four(from: *const f32, [decay, tail]: [*mut f32; 2]) {
    unsafe {
        run!(
            OF_LOGISTIC,
            [from, decay, tail],
            set!("c" 0),
            set!("d" 1),
            four!("vorps" x, (c), [from]),
            set!("c" 2),
            four!("vmaxps" x, (d), x),
            set!("d" 3),
            four!("vmovaps" t, (d)),
            four!("vfmadd231ps" t, x, (c)),
            four!("vsubps" p, t, (d)),
            set!("c" 4),
            four!("vfmadd231ps" x, p, (c)),
            set!("d" 5),
            four!("vfmadd231ps" x, p, (d)),
            set!("c" 6),
            set!("d" 7),
            four!("vmovaps" p, (c)),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 8),
            four!("vpslld" t, t, {"23"}),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 9),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 10),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 11),
            four!("vfmadd213ps" p, x, (d)),
            four!("vfmadd213ps" p, x, (d)),
            // e^-|z|; the power of two is 0 for the smallest.
            four!("vmulps" p, p, t),
            set!("c" 12),
            set!("d" 13),
            four!("vmovups" [decay], p),
            four!("vmovaps" t, (c)),
            four!("vfmadd213ps" t, p, (d)),
            set!("c" 14),
            four!("vfmadd213ps" t, p, (c)),
            set!("d" 15),
            four!("vfmadd213ps" t, p, (d)),
            set!("c" 16),
            four!("vfmadd213ps" t, p, (c)),
            set!("d" 17),
            four!("vfmadd213ps" t, p, (d)),
            set!("c" 18),
            four!("vfmadd213ps" t, p, (c)),
            set!("d" 19),
            four!("vfmadd213ps" t, p, (d)),
            four!("vmulps" t, t, p),
            four!("vfmadd213ps" t, p, p),
            four!("vmovups" [tail], t),
        );
    }
}

/// What is wanted of an exponent that is left in its place.
const UNIT: f32 = 1.0 / 8_388_608.0;

static OF_LN: [f32; 14] = [
    f32::from_bits(super::bits::TWO_THIRDS), f32::NEG_INFINITY, 1.0,
    LN[8], LN[7], LN[6], LN[5], LN[4], LN[3], LN[2], LN[1], LN[0],
    LN_2 * UNIT, 0.0,
];

/// As [`math::ln`].
///
/// # Safety
/// As of [`exp_four`].
#[inline(always)]
pub unsafe fn ln_four(s: Avx2, from: *const f32, to: *mut f32) {
    // SAFETY: `s` is proof of the features.
    unsafe {
        if unusual(from) {
            return map_four(s, from, to, math::ln);
        }
        usual_ln_four(from, to);
    }
}

/// Whether one of them is neither a normal positive number nor 0.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn unusual(from: *const f32) -> bool {
    let mut any = _mm256_setzero_si256();
    for i in 0..4 {
        // The smallest normal number becomes the smallest integer.
        let bits = unsafe { _mm256_loadu_si256(from.add(8 * i).cast()) };
        let above = _mm256_add_epi32(bits, _mm256_set1_epi32(0x7f80_0000));
        let beyond = _mm256_cmpgt_epi32(above, _mm256_set1_epi32(0xfeff_ffff_u32 as i32));
        let zero = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
        any = _mm256_or_si256(any, _mm256_andnot_si256(zero, beyond));
    }
    _mm256_movemask_epi8(any) != 0
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn usual_ln_four(from: *const f32, to: *mut f32) {
    unsafe {
        run!(
            OF_LN,
            [from, to],
            set!("c" 0),
            set!("d" 1),
            // x = m 2^e, with e as bits in t; -infinity has just the bits that count.
            four!("vmovups" x, [from]),
            four!("vpsubd" t, x, (c)),
            set!("c" 2),
            four!("vpand" t, t, (d)),
            set!("d" 3),
            four!("vpsubd" x, x, t),
            four!("vsubps" x, x, (c)),
            set!("c" 4),
            four!("vmovaps" p, (d)),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 5),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 6),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 7),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 8),
            four!("vcvtdq2ps" t, t),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 9),
            four!("vfmadd213ps" p, x, (d)),
            set!("c" 10),
            four!("vfmadd213ps" p, x, (c)),
            set!("d" 11),
            four!("vfmadd213ps" p, x, (d)),
            four!("vmulps" p, p, x),
            set!("c" 12),
            four!("vfmadd213ps" p, x, x),
            set!("d" 13),
            four!("vfmadd231ps" p, t, (c)),
            // -infinity where x is 0.
            set!("c" 1),
            four!("vpcmpeqd" x, (d), [from]),
            four!("vandps" x, x, (c)),
            four!("vaddps" p, p, x),
            four!("vmovups" [to], p),
        );
    }
}
