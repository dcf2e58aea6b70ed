//! Blocks of floats between memory of a run-time type and f32 in the first-level cache. Losses see only the
//! latter, so they are compiled once, not once per type.

use crate::cpu::simd::{Simd, bits, convert};
use crate::registry::{DType, Floats};
use std::mem::MaybeUninit;

/// Elements converted at a time.
pub const BLOCK: usize = 1024;

/// Gradients larger than this go around the cache: a line that is written whole is not read first.
pub const STREAM_BYTES: usize = 16 << 20;

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

/// Weight of a class; 1 without weights.
pub fn class_weight(weights: Option<Floats>, class: usize) -> f64 {
    weights.map_or(1.0, |w| {
        assert!(class < w.len);
        // SAFETY: within the buffer.
        f64::from(unsafe { read_one(w.dtype, w.at(class)) })
    })
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
    unsafe { load_some(s, from.dtype, from.at(at), (from.len - at).min(S::LANES), 0.0) }
}

/// The `n` elements at `src`; `fill` in the other lanes.
///
/// # Safety
/// `src` holds `n <= LANES` elements of `dtype`.
#[inline(always)]
pub unsafe fn load_some<S: Simd>(s: S, dtype: DType, src: *const u8, n: usize, fill: f32) -> S::F {
    unsafe {
        match dtype {
            DType::F32 => s.load_partial(src.cast(), n, fill),
            DType::F16 => s.load_f16_partial(src.cast(), n, fill),
            DType::Bf16 => s.load_bf16_partial(src.cast(), n, fill),
        }
    }
}

/// # Safety
/// `dst` has room for `n <= LANES` elements of `dtype`.
#[inline(always)]
pub unsafe fn store_some<S: Simd>(s: S, dtype: DType, dst: *mut u8, n: usize, v: S::F) {
    unsafe {
        match dtype {
            DType::F32 => s.store_partial(dst.cast(), n, v),
            DType::F16 => s.store_f16_partial(dst.cast(), n, v),
            DType::Bf16 => s.store_bf16_partial(dst.cast(), n, v),
        }
    }
}

/// The first `lanes` values at `p`; 0 in the others.
///
/// # Safety
/// `p` holds `lanes <= LANES` values.
#[inline(always)]
pub unsafe fn load_lanes<S: Simd>(s: S, p: *const f32, lanes: usize) -> S::F {
    unsafe { load_typed(s, DType::F32, p.cast(), lanes) }
}

/// # Safety
/// `p` has room for `lanes <= LANES` values.
#[inline(always)]
pub unsafe fn store_lanes<S: Simd>(s: S, p: *mut f32, lanes: usize, v: S::F) {
    unsafe { store_typed(s, DType::F32, p.cast(), lanes, v, false) }
}

/// The first `lanes` elements at `src`; 0 in the others.
///
/// # Safety
/// `src` holds `lanes <= LANES` elements of `dtype`.
#[inline(always)]
pub unsafe fn load_typed<S: Simd>(s: S, dtype: DType, src: *const u8, lanes: usize) -> S::F {
    unsafe {
        match dtype {
            _ if lanes < S::LANES => load_some(s, dtype, src, lanes, 0.0),
            DType::F32 => s.load(src.cast()),
            DType::F16 => s.load_f16(src.cast()),
            DType::Bf16 => s.load_bf16(src.cast()),
        }
    }
}

/// `stream` bypasses the cache.
///
/// # Safety
/// `dst` has room for `lanes <= LANES` elements of `dtype`; see [`Simd`] on streaming.
#[inline(always)]
pub unsafe fn store_typed<S: Simd>(s: S, dtype: DType, dst: *mut u8, lanes: usize, v: S::F, stream: bool) {
    unsafe {
        match (dtype, stream) {
            _ if lanes < S::LANES => store_some(s, dtype, dst, lanes, v),
            (DType::F32, false) => s.store(dst.cast(), v),
            (DType::F32, true) => s.stream(dst.cast(), v),
            (DType::F16, false) => s.store_f16(dst.cast(), v),
            (DType::F16, true) => s.stream_f16(dst.cast(), v),
            (DType::Bf16, false) => s.store_bf16(dst.cast(), v),
            (DType::Bf16, true) => s.stream_bf16(dst.cast(), v),
        }
    }
}

/// Writes zeros around the cache where the processor can; to be followed by a fence.
///
/// # Safety
/// There is room for `bytes` bytes.
pub unsafe fn stream_zeros(to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the whole vectors within the room, aligned.
    unsafe {
        use std::arch::x86_64::{_mm_setzero_si128, _mm_stream_si128};
        let head = to.align_offset(64).min(bytes);
        let lines = (bytes - head) / 64;
        to.write_bytes(0, head);
        for line in 0..lines {
            let at = to.add(head + 64 * line);
            (0..4).for_each(|k| _mm_stream_si128(at.add(16 * k).cast(), _mm_setzero_si128()));
        }
        let done = head + 64 * lines;
        to.add(done).write_bytes(0, bytes - done);
    }
    #[cfg(not(target_arch = "x86_64"))]
    unsafe {
        to.write_bytes(0, bytes);
    }
}

/// Where the processor's own prefetching, which stops at every page, will not have got.
const AHEAD: usize = 4096;

/// Asks for the cache line some way beyond an address that is about to be swept.
#[inline(always)]
pub fn line_ahead(from: *const u8) {
    fetch(from.wrapping_add(AHEAD), 1);
}

/// Asks for the cache lines some way beyond `bytes` of memory that are about to be swept.
#[inline(always)]
pub fn ahead(from: *const u8, bytes: usize) {
    fetch(from.wrapping_add(AHEAD), bytes);
}

/// [`fetch`] of a row to come, out of line: it is nowhere in an inner loop.
#[inline(never)]
pub fn fetch_row(from: *const u8, bytes: usize) {
    fetch(from, bytes);
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
