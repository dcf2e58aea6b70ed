//! Conversion of slices between f32 and the 16-bit formats.
//!
//! With `stream`, the destination is written past the caches, for results too large to be read back soon.

use super::Simd;

/// Walks `0..n` in vectors: `part(i, count)` for the elements before `align` is reached and the last ones,
/// `full(i)` for whole vectors.
#[inline(always)]
fn walk<S: Simd>(_s: S, n: usize, head: usize, part: impl Fn(usize, usize), full: impl Fn(usize)) {
    let head = head.min(n);
    if head > 0 {
        part(0, head);
    }
    let mut i = head;
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

/// Elements to write before `p` is aligned to a whole vector. `p` is aligned to its element.
#[inline(always)]
fn head<S: Simd, T>(_s: S, p: *mut T) -> usize {
    let size = S::LANES * size_of::<T>();
    (p.addr().wrapping_neg() & (size - 1)) / size_of::<T>()
}

/// One conversion loop; the last three arguments name methods of `Simd`.
macro_rules! convert {
    ($s:ident, $src:ident, $dst:ident, $n:ident, $head:expr, $load:ident $load_partial:ident,
     $store:ident $store_partial:ident) => {
        // SAFETY: `walk` stays within `0..n`, and `head` aligns what is streamed.
        walk(
            $s,
            $n,
            $head,
            #[inline(always)]
            |i, count| unsafe {
                $s.$store_partial($dst.add(i), count, $s.$load_partial($src.add(i), count, 0.0))
            },
            #[inline(always)]
            |i| unsafe { $s.$store($dst.add(i), $s.$load($src.add(i))) },
        )
    };
}

macro_rules! widen {
    ($name:ident, $load:ident, $load_partial:ident) => {
        /// # Safety
        /// `src` and `dst` are valid for `n` elements, aligned to the element, and do not overlap.
        #[inline(always)]
        pub unsafe fn $name<S: Simd>(s: S, src: *const u16, dst: *mut f32, n: usize) {
            convert!(s, src, dst, n, 0, $load $load_partial, store store_partial);
        }
    };
}

macro_rules! narrow {
    ($name:ident, $to:ty, $store:ident, $store_partial:ident, $stream:ident) => {
        /// # Safety
        /// `src` and `dst` are valid for `n` elements, aligned to the element, and do not overlap.
        #[inline(always)]
        pub unsafe fn $name<S: Simd>(s: S, src: *const f32, dst: *mut $to, n: usize, stream: bool) {
            if stream {
                convert!(s, src, dst, n, head(s, dst), load load_partial, $stream $store_partial);
                s.fence();
            } else {
                convert!(s, src, dst, n, 0, load load_partial, $store $store_partial);
            }
        }
    };
}

widen!(widen_f16, load_f16, load_f16_partial);
widen!(widen_bf16, load_bf16, load_bf16_partial);
narrow!(narrow_f16, u16, store_f16, store_f16_partial, stream_f16);
narrow!(narrow_bf16, u16, store_bf16, store_bf16_partial, stream_bf16);
narrow!(copy_f32, f32, store, store_partial, stream);
