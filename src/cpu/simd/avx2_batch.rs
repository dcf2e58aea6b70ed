//! The functions of [`batch`](super::batch) with AVX2. In assembly for the order of the instructions alone, as in
//! [`avx2_terms`](super::avx2_terms): every step of a polynomial is done for all eight vectors, so that none waits for
//! the step before. What this takes besides the sums goes through memory.

use super::batch::PACK;
use super::math::{EXP, LN, LN_1P, LN2_HI, LN2_LO};
use super::{Avx2, EXP_MAX, EXP_MIN, ROUND_MAGIC, Simd};
use core::arch::asm;
use core::arch::x86_64::*;
use core::f32::consts::{LN_2, LOG2_E};
use core::mem::MaybeUninit;

/// An operand of a vector: `p` its register for the sum, `a`, `b` or `t` one of those for half of the vectors, `(c)`
/// a register for all, `[x]` memory at a pointer, `{n}` a number.
macro_rules! operand {
    ([$x:ident] $half:tt $i:tt $offset:tt) => {
        concat!("[{", stringify!($x), "} + ", $half, " + ", $offset, "]")
    };
    (($c:ident) $half:tt $i:tt $offset:tt) => {
        concat!("{", stringify!($c), "}")
    };
    ({$n:tt} $half:tt $i:tt $offset:tt) => {
        $n
    };
    (p 0 $i:tt $offset:tt) => {
        concat!("{a", $i, "}")
    };
    (p 128 $i:tt $offset:tt) => {
        concat!("{b", $i, "}")
    };
    ($x:ident $half:tt $i:tt $offset:tt) => {
        concat!("{", stringify!($x), $i, "}")
    };
}

/// An instruction for the vectors of a half, whose place in memory is at 0 or 128.
macro_rules! four {
    ($half:tt $op:literal $to:tt $(, $from:tt)+) => {
        concat!(
            $op, " ", operand!($to $half 0 0) $(, ", ", operand!($from $half 0 0))+, "\n",
            $op, " ", operand!($to $half 1 32) $(, ", ", operand!($from $half 1 32))+, "\n",
            $op, " ", operand!($to $half 2 64) $(, ", ", operand!($from $half 2 64))+, "\n",
            $op, " ", operand!($to $half 3 96) $(, ", ", operand!($from $half 3 96))+, "\n",
        )
    };
}

/// An instruction for all vectors.
macro_rules! eight {
    ($op:literal $to:tt $(, $from:tt)+) => {
        concat!(four!(0 $op $to $(, $from)+), four!(128 $op $to $(, $from)+))
    };
}

/// Sets a register for all to a constant.
macro_rules! set {
    ($c:literal $at:literal) => {
        concat!("vbroadcastss {", $c, "}, dword ptr [{constants} + 4 * ", $at, "]\n")
    };
}

/// A polynomial of what stands at `$x`, from the power whose coefficient is the first.
macro_rules! polynomial {
    ($x:tt, $first:literal $(, $c:literal)+) => {
        concat!(
            set!("c" $first), eight!("vmovaps" p, (c)),
            $(set!("d" $c), eight!("vfmadd132ps" p, (d), $x)),+
        )
    };
}

macro_rules! run {
    ($constants:ident, [$($pointer:ident),+], $($line:expr),+ $(,)?) => {
        asm!(
            $($line),+,
            constants = in(reg) &$constants,
            $($pointer = in(reg) $pointer,)+
            a0 = out(ymm_reg) _, a1 = out(ymm_reg) _, a2 = out(ymm_reg) _, a3 = out(ymm_reg) _,
            b0 = out(ymm_reg) _, b1 = out(ymm_reg) _, b2 = out(ymm_reg) _, b3 = out(ymm_reg) _,
            t0 = out(ymm_reg) _, t1 = out(ymm_reg) _, t2 = out(ymm_reg) _, t3 = out(ymm_reg) _,
            c = out(ymm_reg) _, d = out(ymm_reg) _,
            options(nostack, preserves_flags)
        )
    };
}

/// Room for what the steps of the polynomial need.
#[repr(C, align(64))]
struct Room(MaybeUninit<[f32; PACK]>);

impl Room {
    fn new() -> Room {
        Room(MaybeUninit::uninit())
    }
}

static OF_EXP: [f32; 13] = [
    LOG2_E,
    ROUND_MAGIC,
    -LN2_HI,
    -LN2_LO,
    EXP[4],
    EXP[3],
    EXP[2],
    EXP[1],
    EXP[0],
    1.0,
    EXP_MIN,
    EXP_MAX,
    f32::INFINITY,
];

/// x in t + r: t as the bits of an exponent.
macro_rules! reduce_exp {
    ($half:tt) => {
        concat!(
            set!("c" 0), set!("d" 1),
            four!($half "vmovups" a, [from]),
            four!($half "vmovaps" t, (d)),
            four!($half "vfmadd231ps" t, a, (c)),
            four!($half "vsubps" b, t, (d)),
            set!("c" 2), set!("d" 3),
            four!($half "vfmadd231ps" a, b, (c)),
            four!($half "vpslld" t, t, {"23"}),
            four!($half "vfmadd231ps" a, b, (d)),
            four!($half "vmovups" [power], t),
            four!($half "vmovups" [rest], a),
        )
    };
}

/// 0 where EXP_MIN > x; x + infinity where not EXP_MAX >= x.
macro_rules! finish_exp {
    ($half:tt) => {
        concat!(
            set!("c" 10), set!("d" 11),
            four!($half "vcmpps" t, (c), [from], {"30"}),
            four!($half "vandnps" p, t, p),
            four!($half "vcmpps" t, (d), [from], {"25"}),
            // Where t, all of p is set, and what is then left of it is x + infinity.
            set!("c" 12),
            finish_exp!(@ $half 0 0), finish_exp!(@ $half 1 32), finish_exp!(@ $half 2 64), finish_exp!(@ $half 3 96),
            four!($half "vmovups" [to], p),
        )
    };
    (@ $half:tt $i:tt $offset:tt) => {
        concat!(
            "vaddps {d}, {c}, ", operand!([from] $half $i $offset), "\n",
            "vblendvps ", operand!(p $half $i $offset), ", ", operand!(p $half $i $offset), ", {d}, {t", $i, "}\n",
        )
    };
}

/// As [`math::exp`](super::math::exp).
///
/// # Safety
/// `from` holds [`PACK`] values, and `to` has room for them; it may be `from`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn exp(from: *const f32, to: *mut f32) {
    let (mut power, mut rest) = (Room::new(), Room::new());
    let (power, rest) = (&raw mut power, &raw mut rest);
    unsafe {
        run!(
            OF_EXP,
            [from, to, power, rest],
            reduce_exp!(0),
            reduce_exp!(128),
            polynomial!([rest], 4, 5, 6, 7, 8, 9, 9),
            eight!("vpaddd" p, p, [power]),
            finish_exp!(0),
            finish_exp!(128),
        );
    }
}

static OF_LOGISTIC: [f32; 20] = [
    -0.0,
    -88.0,
    LOG2_E,
    Avx2::TERM_MAGIC,
    -LN2_HI,
    -LN2_LO,
    EXP[4],
    EXP[3],
    EXP[2],
    EXP[1],
    EXP[0],
    1.0,
    LN_1P[7],
    LN_1P[6],
    LN_1P[5],
    LN_1P[4],
    LN_1P[3],
    LN_1P[2],
    LN_1P[1],
    LN_1P[0],
];

/// -|x| in a power of two, which is 0 for the smallest, and the rest.
macro_rules! reduce_logistic {
    ($half:tt) => {
        concat!(
            set!("c" 0), set!("d" 1),
            four!($half "vorps" a, (c), [from]),
            set!("c" 2),
            four!($half "vmaxps" a, (d), a),
            set!("d" 3),
            four!($half "vmovaps" t, (d)),
            four!($half "vfmadd231ps" t, a, (c)),
            four!($half "vsubps" b, t, (d)),
            set!("c" 4), set!("d" 5),
            four!($half "vfmadd231ps" a, b, (c)),
            four!($half "vpslld" t, t, {"23"}),
            four!($half "vfmadd231ps" a, b, (d)),
            four!($half "vmovups" [decay], t),
            four!($half "vmovups" [tail], a),
        )
    };
}

/// e of p is there.
macro_rules! finish_logistic {
    ($half:tt) => {
        concat!(
            four!($half "vmovups" t, [decay]),
            four!($half "vmulps" p, p, t),
            four!($half "vfmadd213ps" p, t, t),
            four!($half "vmovups" [tail], p),
        )
    };
}

/// As [`math::logistic`](super::math::logistic).
///
/// # Safety
/// `from` holds [`PACK`] values, and there is room for them at the other two places.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn logistic(from: *const f32, [decay, tail]: [*mut f32; 2]) {
    unsafe {
        run!(
            OF_LOGISTIC,
            [from, decay, tail],
            reduce_logistic!(0),
            reduce_logistic!(128),
            polynomial!([tail], 6, 7, 8, 9, 10, 11, 11),
            eight!("vmulps" p, p, [decay]),
            eight!("vmovups"[decay], p),
            polynomial!([decay], 12, 13, 14, 15, 16, 17, 18, 19),
            finish_logistic!(0),
            finish_logistic!(128),
        );
    }
}

static OF_LN: [f32; 14] = [
    f32::from_bits(super::bits::TWO_THIRDS),
    // Just the bits of the exponent.
    f32::NEG_INFINITY,
    1.0,
    LN[8],
    LN[7],
    LN[6],
    LN[5],
    LN[4],
    LN[3],
    LN[2],
    LN[1],
    LN[0],
    LN_2 / 8_388_608.0,
    0.0,
];

/// x = (1 + rest) 2^power, with the power where the bits of an exponent are.
macro_rules! reduce_ln {
    ($half:tt) => {
        concat!(
            set!("c" 0), set!("d" 1),
            four!($half "vmovups" a, [from]),
            four!($half "vpsubd" t, a, (c)),
            set!("c" 2),
            four!($half "vpand" t, t, (d)),
            four!($half "vpsubd" a, a, t),
            four!($half "vcvtdq2ps" t, t),
            four!($half "vsubps" a, a, (c)),
            four!($half "vmovups" [power], t),
            four!($half "vmovups" [rest], a),
        )
    };
}

/// -infinity where x is 0.
macro_rules! finish_ln {
    ($half:tt) => {
        concat!(
            four!($half "vmovups" t, [rest]),
            set!("c" 12), set!("d" 13),
            four!($half "vfmadd213ps" p, t, t),
            four!($half "vfmadd231ps" p, (c), [power]),
            four!($half "vpcmpeqd" t, (d), [from]),
            set!("c" 1),
            four!($half "vandps" t, t, (c)),
            four!($half "vaddps" p, p, t),
            four!($half "vmovups" [to], p),
        )
    };
}

/// As [`math::ln`](super::math::ln), of values that are not [`unusual`].
///
/// # Safety
/// As of [`exp`].
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn ln(from: *const f32, to: *mut f32) {
    let (mut power, mut rest) = (Room::new(), Room::new());
    let (power, rest) = (&raw mut power, &raw mut rest);
    unsafe {
        run!(
            OF_LN,
            [from, to, power, rest],
            reduce_ln!(0),
            reduce_ln!(128),
            polynomial!([rest], 3, 4, 5, 6, 7, 8, 9, 10, 11),
            eight!("vmulps" p, p, [rest]),
            finish_ln!(0),
            finish_ln!(128),
        );
    }
}

/// Whether one of them is neither a normal positive number nor 0.
///
/// # Safety
/// `from` holds [`PACK`] values.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn unusual(from: *const f32) -> bool {
    let mut any = _mm256_setzero_si256();
    for at in (0..PACK).step_by(8) {
        // The smallest normal number becomes the smallest integer.
        let bits = unsafe { _mm256_loadu_si256(from.add(at).cast()) };
        let above = _mm256_add_epi32(bits, _mm256_set1_epi32(0x7f80_0000));
        let beyond = _mm256_cmpgt_epi32(above, _mm256_set1_epi32(0xfeff_ffff_u32 as i32));
        let zero = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
        any = _mm256_or_si256(any, _mm256_andnot_si256(zero, beyond));
    }
    _mm256_movemask_epi8(any) != 0
}
