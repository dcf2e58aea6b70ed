//! Blocks of floats between memory of a run-time type and f32 in the first-level cache. Losses see only the
//! latter, so they are compiled once, not once per type.

use crate::cpu::simd::{Simd, bits, convert};
use crate::registry::{DType, Floats};
use std::mem::MaybeUninit;

/// Elements converted at a time.
pub const BLOCK: usize = 1024;

/// Scratch of one block, aligned for every vector width; not cleared, a call on ten logits should not pay
/// for it.
#[repr(C, align(64))]
pub struct Scratch<const N: usize = BLOCK>(MaybeUninit<[f32; N]>);

impl<const N: usize> Scratch<N> {
    pub const fn new() -> Self {
        Scratch(MaybeUninit::uninit())
    }

    pub fn ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}

/// Where the next `n <= BLOCK` values stand as f32: in place, or converted into `scratch`.
///
/// # Safety
/// `src` holds `n` elements of `dtype`; `scratch` has room for `n` rounded up to whole vectors.
#[inline(always)]
pub unsafe fn read<S: Simd>(s: S, dtype: DType, src: *const u8, n: usize, scratch: *mut f32) -> *const f32 {
    if dtype == DType::F32 {
        return src.cast();
    }
    unsafe { widen(s, dtype, src, n, scratch) };
    scratch
}

/// # Safety
/// See [`read`].
#[inline(always)]
unsafe fn widen<S: Simd>(s: S, dtype: DType, src: *const u8, n: usize, scratch: *mut f32) {
    let src = src.cast::<u16>();
    let half = dtype == DType::F16;
    let mut k = 0;
    unsafe {
        while k + S::LANES <= n {
            s.store(scratch.add(k), if half { s.load_f16(src.add(k)) } else { s.load_bf16(src.add(k)) });
            k += S::LANES;
        }
        if k < n {
            // Stored whole: a partial store would stall the load that follows.
            let p = src.add(k);
            let v = if half { s.load_f16_partial(p, n - k, 0.0) } else { s.load_bf16_partial(p, n - k, 0.0) };
            s.store(scratch.add(k), v);
        }
    }
}

/// Stores `n` values; `stream` bypasses the cache.
///
/// # Safety
/// `dst` has room for `n` elements of `dtype`; `src` holds `n`.
#[inline(always)]
pub unsafe fn write<S: Simd>(s: S, dtype: DType, src: *const f32, dst: *mut u8, n: usize, stream: bool) {
    unsafe {
        match dtype {
            DType::F32 => convert::copy_f32(s, src, dst.cast(), n, stream),
            DType::F16 => convert::narrow_f16(s, src, dst.cast(), n, stream),
            DType::Bf16 => convert::narrow_bf16(s, src, dst.cast(), n, stream),
        }
    }
}

/// # Safety
/// `src` holds an element of `dtype`.
#[inline(always)]
pub unsafe fn read_one(dtype: DType, src: *const u8) -> f32 {
    unsafe {
        match dtype {
            DType::F32 => *src.cast::<f32>(),
            DType::F16 => bits::f16_to_f32(*src.cast()),
            DType::Bf16 => bits::bf16_to_f32(*src.cast()),
        }
    }
}

/// # Safety
/// `dst` has room for an element of `dtype`.
#[inline(always)]
pub unsafe fn write_one(dtype: DType, value: f32, dst: *mut u8) {
    unsafe {
        match dtype {
            DType::F32 => *dst.cast::<f32>() = value,
            DType::F16 => *dst.cast() = bits::f32_to_f16(value),
            DType::Bf16 => *dst.cast() = bits::f32_to_bf16(value),
        }
    }
}

/// The vector of a dense buffer from element `at` on; 0 beyond its end.
///
/// # Safety
/// `at < from.len`.
#[inline(always)]
pub unsafe fn load_vector<S: Simd>(s: S, from: Floats, at: usize) -> S::F {
    let n = (from.len - at).min(S::LANES);
    unsafe {
        let src = from.at(at);
        match from.dtype {
            DType::F32 => s.load_partial(src.cast(), n, 0.0),
            DType::F16 => s.load_f16_partial(src.cast(), n, 0.0),
            DType::Bf16 => s.load_bf16_partial(src.cast(), n, 0.0),
        }
    }
}

/// The first `lanes` values at `p`; 0 in the others.
///
/// # Safety
/// `p` holds `lanes <= LANES` values.
#[inline(always)]
pub unsafe fn load_lanes<S: Simd>(s: S, p: *const f32, lanes: usize) -> S::F {
    unsafe { if lanes == S::LANES { s.load(p) } else { s.load_partial(p, lanes, 0.0) } }
}

/// # Safety
/// `p` has room for `lanes <= LANES` values.
#[inline(always)]
pub unsafe fn store_lanes<S: Simd>(s: S, p: *mut f32, lanes: usize, v: S::F) {
    unsafe { if lanes == S::LANES { s.store(p, v) } else { s.store_partial(p, lanes, v) } }
}

/// Asks for the cache lines some way beyond `bytes` of memory that are about to be swept: the processor's own
/// prefetching stops at every page.
#[inline(always)]
pub fn ahead(from: *const u8, bytes: usize) {
    const DISTANCE: usize = 4096;
    fetch(from.wrapping_add(DISTANCE), bytes);
}

/// Asks for the cache lines of `bytes` of memory.
#[inline(always)]
pub fn fetch(from: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, without architectural effect whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, bytes);
}
