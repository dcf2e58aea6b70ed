//! One SIMD abstraction with run-time dispatch.
//!
//! A loss is written once, generic over [`Simd`], as a [`Kernel`]; [`Isa::dispatch`] compiles it once per
//! instruction set and picks one at run time.
//!
//! Everything between `dispatch` and an intrinsic must be `#[inline(always)]`, closures included: only code
//! inlined into the `#[target_feature]` entry point is compiled with those features. A call that is left
//! over is still correct, but every intrinsic below it becomes a function call.
//!
//! # NaN contract
//!
//! * `max(a, b)` and `min(a, b)` are one instruction. If **`b`** is NaN the result is NaN. If only `a` is
//!   NaN the result is unspecified (x86 answers `b`, ARM answers NaN). So put the value to be trusted last:
//!   `max(zero, x)` keeps the NaN of `x`.
//! * `max_nan(acc, x)` and `min_nan(acc, x)` are NaN if either side is, and so are `reduce_max` and
//!   `reduce_min` if any lane is. Use these for the maximum of a row. `x` may be the fresh value and `acc`
//!   the running one: the extra instruction is then off the loop-carried path.
//! * Comparisons with NaN are false, so `select(lt(a, b), ..)` takes its last argument.
//!
//! # Rounding contract
//!
//! `mul_add` is fused where [`Simd::FMA`] says so; otherwise it rounds twice.
//! Numbers below the smallest normal are handled as IEEE asks, unless the caller's thread flushes them.

#![allow(dead_code)] // a whole instruction set: not every build has a loss for each part of it

pub mod batch;
pub mod bits;
pub mod convert;
pub mod dispatch;
pub mod math;
mod scalar;
mod twice;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_batch;
#[cfg(target_arch = "x86_64")]
mod avx2_terms;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

use crate::cpu::storage::Scratch;
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use dispatch::{Isa, Kernel};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use scalar::Scalar;
pub use twice::Twice;

/// `t = x + ROUND_MAGIC` rounds a small `x` to an integer (ties to even), which is also left in the low bits
/// of `t`.
pub const ROUND_MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23

/// The largest argument whose exponential is finite in f32.
#[allow(clippy::excessive_precision)]
pub const EXP_MAX: f32 = 88.722_831_726_074_22;
/// The smallest argument whose exponential is a normal f32; below it [`math::exp`] gives 0.
#[allow(clippy::excessive_precision)]
pub const EXP_MIN: f32 = -87.336_540_222_167_97;

/// An instruction set. A value of an implementing type is proof that the processor has it.
///
/// # Safety of the pointer methods
///
/// `load*`/`store*` need a valid pointer to `LANES` elements, the `_partial` forms to `n <= LANES`
/// elements (nothing beyond is touched). They need no more alignment than the element's. `stream*` also
/// need alignment to the whole vector, `LANES * size_of(element)`, and a [`fence`](Simd::fence) before the
/// data is published to another thread.
#[allow(clippy::missing_safety_doc)]
pub trait Simd: Copy + Send + Sync + 'static {
    /// Number of f32 lanes, a power of two.
    const LANES: usize;
    /// Whether `mul_add` rounds once.
    const FMA: bool;
    const ISA: Isa;

    /// Vector of f32.
    type F: Copy;
    /// One truth value a lane.
    type M: Copy;
    /// `LANES` f64 accumulators.
    type D: Copy;
    /// As many vectors side by side as keep a processor busy where each step waits for the one before.
    type Wide: Simd;
    fn wide(self) -> Self::Wide;

    // Memory.

    fn splat(self, x: f32) -> Self::F;
    unsafe fn load(self, p: *const f32) -> Self::F;
    unsafe fn store(self, p: *mut f32, v: Self::F);
    /// Lanes from `n` on are `fill`.
    unsafe fn load_partial(self, p: *const f32, n: usize, fill: f32) -> Self::F;
    unsafe fn store_partial(self, p: *mut f32, n: usize, v: Self::F);
    /// Stores past the caches where the ISA can.
    unsafe fn stream(self, p: *mut f32, v: Self::F);
    /// Orders streamed stores before later ones.
    fn fence(self);

    unsafe fn load_f16(self, p: *const u16) -> Self::F;
    unsafe fn load_f16_partial(self, p: *const u16, n: usize, fill: f32) -> Self::F;
    /// Rounds to nearest even; overflow gives infinity, a NaN stays a NaN.
    unsafe fn store_f16(self, p: *mut u16, v: Self::F);
    unsafe fn store_f16_partial(self, p: *mut u16, n: usize, v: Self::F);
    unsafe fn stream_f16(self, p: *mut u16, v: Self::F);

    unsafe fn load_bf16(self, p: *const u16) -> Self::F;
    unsafe fn load_bf16_partial(self, p: *const u16, n: usize, fill: f32) -> Self::F;
    /// Rounds to nearest even; overflow gives infinity, a NaN stays a NaN.
    unsafe fn store_bf16(self, p: *mut u16, v: Self::F);
    unsafe fn store_bf16_partial(self, p: *mut u16, n: usize, v: Self::F);
    unsafe fn stream_bf16(self, p: *mut u16, v: Self::F);

    /// Transposes `LANES` rows of `LANES` values; `stride` and `to_stride` are the distances of the rows. They are
    /// written in rising order: of rows less than `LANES` apart, the later one has its beginning whole.
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize);
    /// Transposes the first `n <= LANES` values of `LANES` rows. There is room to read and write all `LANES`.
    #[inline(always)]
    unsafe fn transpose_from(
        self,
        from: *const f32,
        stride: usize,
        to: *mut f32,
        to_stride: usize,
        _n: usize,
    ) {
        unsafe { self.transpose(from, stride, to, to_stride) }
    }
    /// Transposes `n <= LANES` rows of `LANES` values, and writes nothing beyond. There is room to read `LANES` rows.
    #[inline(always)]
    unsafe fn transpose_to(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize, n: usize) {
        if n == Self::LANES {
            return unsafe { self.transpose(from, stride, to, to_stride) };
        }
        let mut tile = Scratch::<256>::new();
        const { assert!(Self::LANES <= 16) };
        unsafe {
            self.transpose(from, stride, tile.ptr(), Self::LANES);
            for i in 0..Self::LANES {
                self.store_partial(to.add(i * to_stride), n, self.load(tile.ptr().add(i * Self::LANES)));
            }
        }
    }

    // Arithmetic.

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// 1 / a to about 1 ULP, for normal `a` of moderate size; much cheaper than a division.
    fn recip(self, a: Self::F) -> Self::F;
    /// `a * b + c`.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    fn neg(self, a: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    fn copysign(self, magnitude: Self::F, sign: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max_nan(self, acc: Self::F, x: Self::F) -> Self::F;
    fn min_nan(self, acc: Self::F, x: Self::F) -> Self::F;

    // Masks.

    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    fn le(self, a: Self::F, b: Self::F) -> Self::M;
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    fn is_nan(self, a: Self::F) -> Self::M;
    /// True in lanes `0..n`; all lanes if `n >= LANES`.
    fn first_n(self, n: usize) -> Self::M;
    fn and(self, a: Self::M, b: Self::M) -> Self::M;
    fn or(self, a: Self::M, b: Self::M) -> Self::M;
    fn not(self, a: Self::M) -> Self::M;
    /// `if m { a } else { b }`.
    fn select(self, m: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// `a` where `m`, else 0; of a mask from a comparison.
    #[inline(always)]
    fn only(self, m: Self::M, a: Self::F) -> Self::F {
        self.select(m, a, self.zero())
    }
    /// `if x < 0 { a } else { b }` for an x that is neither -0 nor a NaN.
    #[inline(always)]
    fn select_negative(self, x: Self::F, a: Self::F, b: Self::F) -> Self::F {
        self.select(self.lt(x, self.zero()), a, b)
    }
    /// Bit `i` is lane `i`.
    fn mask_bits(self, m: Self::M) -> u32;

    #[inline(always)]
    fn gt(self, a: Self::F, b: Self::F) -> Self::M {
        self.lt(b, a)
    }
    #[inline(always)]
    fn ge(self, a: Self::F, b: Self::F) -> Self::M {
        self.le(b, a)
    }
    #[inline(always)]
    fn any(self, m: Self::M) -> bool {
        self.mask_bits(m) != 0
    }
    #[inline(always)]
    fn zero(self) -> Self::F {
        self.splat(0.0)
    }

    // Reductions, in an order fixed by the ISA.

    /// Lane 0.
    fn first(self, a: Self::F) -> f32;
    fn reduce_add(self, a: Self::F) -> f32;
    fn reduce_max(self, a: Self::F) -> f32;
    fn reduce_min(self, a: Self::F) -> f32;

    fn d_zero(self) -> Self::D;
    fn d_add(self, d: Self::D, a: Self::F) -> Self::D;
    /// `d + a * b`; the product is exact.
    fn d_mul_add(self, d: Self::D, a: Self::F, b: Self::F) -> Self::D;
    fn d_merge(self, a: Self::D, b: Self::D) -> Self::D;
    fn d_sum(self, d: Self::D) -> f64;
    /// Adds lane by lane to the `LANES` values at `p`.
    unsafe fn d_add_to(self, p: *mut f64, d: Self::D);

    // Primitives of `math`.

    /// Limits `x` where `exp_finish` would not cope with a larger one.
    fn exp_clamp(self, x: Self::F) -> Self::F;
    /// `p * 2^k`, given `t = k + ROUND_MAGIC`, `p` in (0.7, 1.42); 0 where `x < EXP_MIN`, infinity where
    /// `x > EXP_MAX` (to within the rounding of `p`), NaN where `x` is.
    fn exp_finish(self, x: Self::F, p: Self::F, k: Self::F, t: Self::F) -> Self::F;
    /// The same for the terms of a softmax, where a result beyond 1e38 need not be exact, but large; with
    /// `t = k + TERM_MAGIC`.
    const TERM_MAGIC: f32 = ROUND_MAGIC;
    #[inline(always)]
    fn term_clamp(self, x: Self::F) -> Self::F {
        x
    }
    #[inline(always)]
    fn term_finish(self, x: Self::F, p: Self::F, k: Self::F, t: Self::F) -> Self::F {
        self.exp_finish(x, p, k, t)
    }
    /// [`math::exp_softmax`] of four vectors.
    #[inline(always)]
    fn softmax_terms(self, x: [Self::F; 4]) -> [Self::F; 4] {
        math::exp_softmax_of(self, x)
    }
    #[inline(always)]
    fn softmax_pair(self, x: [Self::F; 2]) -> [Self::F; 2] {
        math::exp_softmax_of(self, x)
    }
    // Of the values of a pack at `from`, to places that may be the same where there is one; see [`batch`].
    #[inline(always)]
    unsafe fn exp_pack(self, from: *const f32, to: *mut f32) {
        unsafe { batch::map_pack(self, from, to, math::exp) }
    }
    #[inline(always)]
    unsafe fn ln_pack(self, from: *const f32, to: *mut f32) {
        unsafe { batch::map_pack(self, from, to, math::ln) }
    }
    #[inline(always)]
    unsafe fn logistic_pack(self, from: *const f32, [decay, tail]: [*mut f32; 2]) {
        unsafe {
            batch::map_pack(self, from, decay, math::exp_neg_abs);
            batch::map_pack(self, decay, tail, math::ln_1p_unit);
        }
    }
    /// e^x over a power of two, to all digits however large x, for those below and near that power: see
    /// [`math::PowerOver`].
    #[inline(always)]
    fn exp_over(self, x: [Self::F; 4], power: &math::PowerOver<Self>) -> [Self::F; 4] {
        math::exp_over_of(self, x, power)
    }
    /// `2^k` for an integer `k` in -126..=127; unspecified elsewhere.
    fn pow2(self, k: Self::F) -> Self::F;
    /// `(2^-e, e)` for the `e` of [`Simd::frexp`], where `x` is normal and positive and 2^-e is normal.
    #[inline(always)]
    fn scale_of(self, x: Self::F) -> (Self::F, Self::F) {
        let (_, e) = self.frexp(x);
        (self.pow2(self.neg(e)), e)
    }
    /// `(m, e)` with `x = m * 2^e` and m in about [2/3, 4/3), also for subnormal `x`. Zero gives
    /// `(1, -inf)`, infinity `(1, inf)`; a negative number or a NaN has `m` = NaN.
    fn frexp(self, x: Self::F) -> (Self::F, Self::F);
}
