//! Functions of [`math`](super::math) for many values: one copy of each for all losses, and many vectors at a time, as
//! a processor sees no further than a chain or two of dependent instructions.

use super::{Kernel, Simd, dispatch};
use crate::cpu::storage::{self, Scratch};
use crate::registry::DType;

/// Values at a time, whole vectors of every instruction set.
pub const PACK: usize = 64;

#[derive(Clone, Copy)]
pub enum Function {
    /// [`math::exp`](super::math::exp).
    Exp,
    /// [`math::ln`](super::math::ln).
    Ln,
    /// e^-|x|, and ln(1 + e^-|x|) to a second place: what sigmoids and softplus of x and -x are made from.
    Logistic,
}

/// Writes the function of the `n` values at `from`.
///
/// # Safety
/// `from` holds `n` values; there is room for them rounded up to whole packs at the places that the function has. The
/// only one may be `from`.
#[inline(always)]
pub unsafe fn apply<S: Simd>(s: S, function: Function, from: *const f32, n: usize, to: [*mut f32; 2]) {
    dispatch::apart(s, Batch { function, from, n, to });
}

struct Batch {
    function: Function,
    from: *const f32,
    n: usize,
    to: [*mut f32; 2],
}

impl Kernel for Batch {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut last = Scratch::<PACK>::new();
        for k in (0..self.n).step_by(PACK) {
            // SAFETY: as the caller says; values beyond the end are 0.
            unsafe {
                let mut from = self.from.add(k);
                if k + PACK > self.n {
                    for at in (0..PACK).step_by(S::LANES) {
                        let lanes = S::LANES.min(self.n.saturating_sub(k + at));
                        s.store(last.ptr().add(at), storage::load_lanes(s, from.wrapping_add(at), lanes));
                    }
                    from = last.ptr();
                }
                let to = self.to.map(|to| to.wrapping_add(k));
                match self.function {
                    Function::Exp => s.exp_pack(from, to[0]),
                    Function::Ln => s.ln_pack(from, to[0]),
                    Function::Logistic => s.logistic_pack(from, to),
                }
            }
        }
    }
}

/// The function of a pack of values, vector by vector.
///
/// # Safety
/// `from` holds them, and `to` has room for them.
#[inline(always)]
pub unsafe fn map_pack<S: Simd>(s: S, from: *const f32, to: *mut f32, function: impl Fn(S, S::F) -> S::F) {
    for at in (0..PACK).step_by(S::LANES) {
        // SAFETY: as the caller says.
        unsafe { s.store(to.add(at), function(s, s.load(from.add(at)))) };
    }
}

/// Where the `n` values stand as f32; see [`storage::read`].
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn widened<S: Simd>(
    s: S,
    dtype: DType,
    from: *const u8,
    n: usize,
    scratch: *mut f32,
) -> *const f32 {
    if dtype == DType::F32 { from.cast() } else { dispatch::apart(s, Widen { dtype, from, n, scratch }) }
}

/// Stores `n` values; see [`storage::write`].
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn narrowed<S: Simd>(s: S, dtype: DType, src: *const f32, dst: *mut u8, n: usize, stream: bool) {
    dispatch::apart(s, Narrow { dtype, src, dst, n, stream });
}

struct Narrow {
    dtype: DType,
    src: *const f32,
    dst: *mut u8,
    n: usize,
    stream: bool,
}

impl Kernel for Narrow {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: as the caller says.
        unsafe { storage::write(s, self.dtype, self.src, self.dst, self.n, self.stream) };
    }
}

struct Widen {
    dtype: DType,
    from: *const u8,
    n: usize,
    scratch: *mut f32,
}

impl Kernel for Widen {
    type Output = *const f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> *const f32 {
        // SAFETY: as the caller says.
        unsafe { storage::read(s, self.dtype, self.from, self.n, self.scratch) }
    }
}
