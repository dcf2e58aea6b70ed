//! Functions of [`math`](super::math) for many values: one copy of each for all losses, and four vectors at a time, as
//! a processor sees no further than a chain or two of dependent instructions.

use super::{Kernel, Simd, dispatch};
use crate::cpu::storage::{self, Scratch};
use crate::registry::DType;

#[derive(Clone, Copy, PartialEq)]
pub enum Function {
    /// [`math::exp`](super::math::exp).
    Exp,
    /// [`math::ln`](super::math::ln).
    Ln,
    /// [`math::logistic`](super::math::logistic), to two places.
    Logistic,
}

/// Writes the function of the `n` values at `from`.
///
/// # Safety
/// `from` holds `n` values; there is room for them rounded up to four vectors at the places that the function has. The
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
        let mut last = Scratch::<64>::new();
        for k in (0..self.n).step_by(4 * S::LANES) {
            // SAFETY: as the caller says; vectors beyond the end are of zeros.
            unsafe {
                let mut from = self.from.add(k);
                if k + 4 * S::LANES > self.n {
                    for at in (0..4 * S::LANES).step_by(S::LANES) {
                        let lanes = S::LANES.min(self.n.saturating_sub(k + at));
                        let v = storage::load_lanes(s, from.wrapping_add(at), lanes);
                        s.store(last.ptr().add(at), v);
                    }
                    from = last.ptr();
                }
                let to = self.to.map(|to| to.wrapping_add(k));
                match self.function {
                    Function::Exp => s.exp_four(from, to[0]),
                    Function::Ln => s.ln_four(from, to[0]),
                    Function::Logistic => s.logistic_four(from, to),
                }
            }
        }
    }
}

/// Where the `n` values stand as f32; see [`storage::read`].
///
/// # Safety
/// As there.
#[inline(always)]
pub unsafe fn widened<S: Simd>(s: S, dtype: DType, from: *const u8, n: usize, scratch: *mut f32) -> *const f32 {
    if dtype == DType::F32 { from.cast() } else { dispatch::apart(s, Widen { dtype, from, n, scratch }) }
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
