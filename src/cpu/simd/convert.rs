//! Conversion of slices between f32 and the 16-bit formats.
//!
//! With `stream`, whole lines of the destination are written past the caches, for results too large to be read back
//! soon.

use super::Simd;

/// Walks `0..n` in vectors: `full(i)` for whole ones, `part(i, count)` for the last elements.
#[inline(always)]
fn walk<S: Simd>(_s: S, n: usize, part: impl Fn(usize, usize), full: impl Fn(usize)) {
    let mut i = 0;
    // Four at a time, to hide the latency of the conversions.
    while n - i >= 4 * S::LANES {
        full(i);
        full(i + S::LANES);
        full(i + 2 * S::LANES);
        full(i + 3 * S::LANES);
        i += 4 * S::LANES;
    }
    while n - i >= S::LANES {
        full(i);
        i += S::LANES;
    }
    if i < n {
        part(i, n - i);
    }
}

/// A cache line: one that is streamed in part costs as much as several.
const LINE: usize = 64;

/// One conversion loop; the last arguments name methods of `Simd`.
macro_rules! convert {
    ($s:ident, $src:expr, $dst:expr, $n:expr, $load:ident $load_partial:ident, $store:ident $store_partial:ident) => {{
        let (src, dst) = ($src, $dst);
        // SAFETY: `walk` stays within `0..n`; what is streamed is aligned.
        walk(
            $s,
            $n,
            #[inline(always)]
            |i, count| unsafe {
                $s.$store_partial(dst.add(i), count, $s.$load_partial(src.add(i), count, 0.0))
            },
            #[inline(always)]
            |i| unsafe { $s.$store(dst.add(i), $s.$load(src.add(i))) },
        )
    }};
}

macro_rules! widen {
    ($name:ident, $load:ident, $load_partial:ident) => {
        /// # Safety
        /// `src` and `dst` are valid for `n` elements, aligned to the element, and do not overlap.
        #[inline(always)]
        pub unsafe fn $name<S: Simd>(s: S, src: *const u16, dst: *mut f32, n: usize) {
            convert!(s, src, dst, n, $load $load_partial, store store_partial);
        }
    };
}

macro_rules! narrow {
    ($name:ident, $to:ty, $store:ident, $store_partial:ident, $stream:ident) => {
        /// What is streamed is to be followed by a fence.
        ///
        /// # Safety
        /// `src` and `dst` are valid for `n` elements, aligned to the element, and do not overlap.
        #[inline(always)]
        pub unsafe fn $name<S: Simd>(s: S, src: *const f32, dst: *mut $to, n: usize, stream: bool) {
            const EACH: usize = LINE / size_of::<$to>();
            let (mut first, mut end) = (n, n);
            if stream {
                first = n.min((dst.addr().wrapping_neg() & (LINE - 1)) / size_of::<$to>());
                end = first + (n - first) / EACH * EACH;
            }
            convert!(s, src, dst, first, load load_partial, $store $store_partial);
            if stream {
                let (from, to) = (src.wrapping_add(first), dst.wrapping_add(first));
                convert!(s, from, to, end - first, load load_partial, $stream $store_partial);
                let (from, to) = (src.wrapping_add(end), dst.wrapping_add(end));
                convert!(s, from, to, n - end, load load_partial, $store $store_partial);
            }
        }
    };
}

widen!(widen_f16, load_f16, load_f16_partial);
widen!(widen_bf16, load_bf16, load_bf16_partial);
narrow!(narrow_f16, u16, store_f16, store_f16_partial, stream_f16);
narrow!(narrow_bf16, u16, store_bf16, store_bf16_partial, stream_bf16);
narrow!(copy_f32, f32, store, store_partial, stream);
