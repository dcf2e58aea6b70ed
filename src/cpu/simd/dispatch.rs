//! Choice of the instruction set at run time.

use std::sync::OnceLock;

use super::{Scalar, Simd};

/// In rising order of preference on each architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    Scalar,
    Avx2,
    Avx512,
    Neon,
}

/// A computation that is generic over the instruction set. `run` must be `#[inline(always)]`.
pub trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

impl Isa {
    /// The best one this processor has, or the lesser one that `LOSSKIT_ISA` names. Looked up once.
    pub fn detect() -> Isa {
        static ISA: OnceLock<Isa> = OnceLock::new();
        *ISA.get_or_init(|| {
            let wanted = std::env::var("LOSSKIT_ISA").ok().and_then(|v| Isa::from_name(&v));
            wanted.filter(|isa| isa.is_supported()).unwrap_or_else(Isa::best)
        })
    }

    /// Every one this processor has, the best last.
    pub fn available() -> impl Iterator<Item = Isa> {
        [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon].into_iter().filter(|isa| isa.is_supported())
    }

    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    pub fn from_name(name: &str) -> Option<Isa> {
        let all = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon];
        all.into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name.trim()))
    }

    fn best() -> Isa {
        Isa::available().last().unwrap_or(Isa::Scalar)
    }

    /// Whether this processor (and operating system) can run it.
    #[inline]
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => has_avx512(),
            // Part of the aarch64 baseline.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Runs `k` compiled for this instruction set, or for the scalar one if the processor lacks it.
    #[inline]
    pub fn dispatch<K: Kernel>(self, k: K) -> K::Output {
        let isa = if self.is_supported() { self } else { Isa::Scalar };
        // SAFETY: the processor has the features, as just checked.
        unsafe { run(isa, k) }
    }
}

/// Runs `k` as a function of its own, of which all callers share one copy.
#[inline(always)]
pub fn apart<S: Simd, K: Kernel>(_: S, k: K) -> K::Output {
    // SAFETY: the value of `S` is proof of the instruction set.
    unsafe { run(S::ISA, k) }
}

/// # Safety
/// The processor has `isa`.
#[inline(always)]
unsafe fn run<K: Kernel>(isa: Isa, k: K) -> K::Output {
    match isa {
        // SAFETY: as the caller says.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { run_avx2(k) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { run_avx512(k) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { run_neon(k) },
        _ => run_scalar(k),
    }
}

#[inline(never)]
fn run_scalar<K: Kernel>(k: K) -> K::Output {
    k.run(Scalar)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
#[inline(never)]
fn run_avx2<K: Kernel>(k: K) -> K::Output {
    // SAFETY: this function's features are the ones `Avx2` stands for.
    k.run(unsafe { super::Avx2::new_unchecked() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
#[inline(never)]
fn run_avx512<K: Kernel>(k: K) -> K::Output {
    // SAFETY: this function's features are the ones `Avx512` stands for.
    k.run(unsafe { super::Avx512::new_unchecked() })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
#[inline(never)]
fn run_neon<K: Kernel>(k: K) -> K::Output {
    // SAFETY: this function's features are the ones `Neon` stands for.
    k.run(unsafe { super::Neon::new_unchecked() })
}
