//! [`math::exp_softmax`](super::math::exp_softmax) of four vectors with AVX2. In assembly for the order of the
//! instructions alone: a compiler short of registers puts one vector after the other, and the processor then waits for
//! each step of a chain. A quarter of the time of a softmax.

use super::math::{EXP2, LOG2_E_REST, PowerOver};
use super::{Avx2, Simd};
use core::arch::asm;
use core::arch::x86_64::__m256;

#[repr(C, align(32))]
struct Constants([[f32; 8]; 11]);

/// Limits of the argument, log2(e), what rounds, the polynomial, and the rest of log2(e).
static CONSTANTS: Constants = Constants([
    [88.7; 8],
    [-88.0; 8],
    [core::f32::consts::LOG2_E; 8],
    [Avx2::TERM_MAGIC; 8],
    [EXP2[0]; 8],
    [EXP2[1]; 8],
    [EXP2[2]; 8],
    [EXP2[3]; 8],
    [EXP2[4]; 8],
    [EXP2[5]; 8],
    [LOG2_E_REST; 8],
]);

#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn softmax_terms(x: [__m256; 4]) -> [__m256; 4] {
    let [x0, x1, x2, x3] = x;
    let (p0, p1, p2, p3);
    // SAFETY: reads the constants, writes registers.
    unsafe {
        asm!(
            "vmovaps {c}, [{constants}]",
            "vmovaps {d}, [{constants} + 32]",
            "vminps {x0}, {c}, {x0}", "vminps {x1}, {c}, {x1}", "vminps {x2}, {c}, {x2}", "vminps {x3}, {c}, {x3}",
            "vmovaps {c}, [{constants} + 64]",
            "vmaxps {x0}, {d}, {x0}", "vmaxps {x1}, {d}, {x1}", "vmaxps {x2}, {d}, {x2}", "vmaxps {x3}, {d}, {x3}",
            // t = x log2(e), rounded: its low bits are those of the power of two.
            "vmovaps {d}, [{constants} + 96]",
            "vmovaps {t0}, {d}", "vmovaps {t1}, {d}", "vmovaps {t2}, {d}", "vmovaps {t3}, {d}",
            "vfmadd231ps {t0}, {x0}, {c}", "vfmadd231ps {t1}, {x1}, {c}",
            "vfmadd231ps {t2}, {x2}, {c}", "vfmadd231ps {t3}, {x3}, {c}",
            "vsubps {p0}, {t0}, {d}", "vsubps {p1}, {t1}, {d}", "vsubps {p2}, {t2}, {d}", "vsubps {p3}, {t3}, {d}",
            // x: what rounding took away.
            "vfmsub132ps {x0}, {p0}, {c}", "vfmsub132ps {x1}, {p1}, {c}",
            "vfmsub132ps {x2}, {p2}, {c}", "vfmsub132ps {x3}, {p3}, {c}",
            "vmovaps {c}, [{constants} + 128]",
            "vmovaps {d}, [{constants} + 160]",
            "vmovaps {p0}, {c}", "vmovaps {p1}, {c}", "vmovaps {p2}, {c}", "vmovaps {p3}, {c}",
            "vfmadd213ps {p0}, {x0}, {d}", "vfmadd213ps {p1}, {x1}, {d}",
            "vfmadd213ps {p2}, {x2}, {d}", "vfmadd213ps {p3}, {x3}, {d}",
            "vmovaps {c}, [{constants} + 192]",
            "vpslld {t0}, {t0}, 23", "vpslld {t1}, {t1}, 23", "vpslld {t2}, {t2}, 23", "vpslld {t3}, {t3}, 23",
            "vfmadd213ps {p0}, {x0}, {c}", "vfmadd213ps {p1}, {x1}, {c}",
            "vfmadd213ps {p2}, {x2}, {c}", "vfmadd213ps {p3}, {x3}, {c}",
            "vmovaps {d}, [{constants} + 224]",
            "vfmadd213ps {p0}, {x0}, {d}", "vfmadd213ps {p1}, {x1}, {d}",
            "vfmadd213ps {p2}, {x2}, {d}", "vfmadd213ps {p3}, {x3}, {d}",
            "vmovaps {c}, [{constants} + 256]",
            "vfmadd213ps {p0}, {x0}, {c}", "vfmadd213ps {p1}, {x1}, {c}",
            "vfmadd213ps {p2}, {x2}, {c}", "vfmadd213ps {p3}, {x3}, {c}",
            "vmovaps {d}, [{constants} + 288]",
            "vfmadd213ps {p0}, {x0}, {d}", "vfmadd213ps {p1}, {x1}, {d}",
            "vfmadd213ps {p2}, {x2}, {d}", "vfmadd213ps {p3}, {x3}, {d}",
            "vmulps {p0}, {p0}, {t0}", "vmulps {p1}, {p1}, {t1}", "vmulps {p2}, {p2}, {t2}", "vmulps {p3}, {p3}, {t3}",
            constants = in(reg) &CONSTANTS,
            x0 = inout(ymm_reg) x0 => _, x1 = inout(ymm_reg) x1 => _,
            x2 = inout(ymm_reg) x2 => _, x3 = inout(ymm_reg) x3 => _,
            p0 = out(ymm_reg) p0, p1 = out(ymm_reg) p1, p2 = out(ymm_reg) p2, p3 = out(ymm_reg) p3,
            t0 = out(ymm_reg) _, t1 = out(ymm_reg) _, t2 = out(ymm_reg) _, t3 = out(ymm_reg) _,
            c = out(ymm_reg) _, d = out(ymm_reg) _,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    [p0, p1, p2, p3]
}

/// [`math::exp_over_of`](super::math::exp_over_of).
#[inline]
#[target_feature(enable = "avx2,fma")]
pub fn exp_over(x: [__m256; 4], power: &PowerOver<Avx2>) -> [__m256; 4] {
    let [x0, x1, x2, x3] = x;
    let (p0, p1, p2, p3);
    // SAFETY: reads the constants and the power, writes registers.
    unsafe {
        asm!(
            "vmovups {c}, [{power} + 32]",
            "vmovups {d}, [{power}]",
            "vmaxps {x0}, {c}, {x0}", "vmaxps {x1}, {c}, {x1}", "vmaxps {x2}, {c}, {x2}", "vmaxps {x3}, {c}, {x3}",
            "vmovaps {c}, [{constants} + 64]",
            // t = x log2(e), rounded: its low bits are those of the power of two.
            "vmovaps {t0}, {d}", "vmovaps {t1}, {d}", "vmovaps {t2}, {d}", "vmovaps {t3}, {d}",
            "vfmadd231ps {t0}, {x0}, {c}", "vfmadd231ps {t1}, {x1}, {c}", "vfmadd231ps {t2}, {x2}, {c}", "vfmadd231ps {t3}, {x3}, {c}",
            "vsubps {p0}, {t0}, {d}", "vsubps {p1}, {t1}, {d}", "vsubps {p2}, {t2}, {d}", "vsubps {p3}, {t3}, {d}",
            // p: what rounding took away.
            "vmovaps {d}, [{constants} + 320]",
            "vfmsub231ps {p0}, {x0}, {c}", "vfmsub231ps {p1}, {x1}, {c}", "vfmsub231ps {p2}, {x2}, {c}", "vfmsub231ps {p3}, {x3}, {c}",
            "vfmadd231ps {p0}, {x0}, {d}", "vfmadd231ps {p1}, {x1}, {d}", "vfmadd231ps {p2}, {x2}, {d}", "vfmadd231ps {p3}, {x3}, {d}",
            "vmovaps {c}, [{constants} + 128]",
            "vmovaps {d}, [{constants} + 160]",
            "vmovaps {x0}, {c}", "vmovaps {x1}, {c}", "vmovaps {x2}, {c}", "vmovaps {x3}, {c}",
            "vfmadd213ps {x0}, {p0}, {d}", "vfmadd213ps {x1}, {p1}, {d}", "vfmadd213ps {x2}, {p2}, {d}", "vfmadd213ps {x3}, {p3}, {d}",
            "vpslld {t0}, {t0}, 23", "vpslld {t1}, {t1}, 23", "vpslld {t2}, {t2}, 23", "vpslld {t3}, {t3}, 23",
            "vmovaps {c}, [{constants} + 192]",
            "vfmadd213ps {x0}, {p0}, {c}", "vfmadd213ps {x1}, {p1}, {c}", "vfmadd213ps {x2}, {p2}, {c}", "vfmadd213ps {x3}, {p3}, {c}",
            "vmovaps {d}, [{constants} + 224]",
            "vfmadd213ps {x0}, {p0}, {d}", "vfmadd213ps {x1}, {p1}, {d}", "vfmadd213ps {x2}, {p2}, {d}", "vfmadd213ps {x3}, {p3}, {d}",
            "vmovaps {c}, [{constants} + 256]",
            "vfmadd213ps {x0}, {p0}, {c}", "vfmadd213ps {x1}, {p1}, {c}", "vfmadd213ps {x2}, {p2}, {c}", "vfmadd213ps {x3}, {p3}, {c}",
            "vmovaps {d}, [{constants} + 288]",
            "vfmadd213ps {x0}, {p0}, {d}", "vfmadd213ps {x1}, {p1}, {d}", "vfmadd213ps {x2}, {p2}, {d}", "vfmadd213ps {x3}, {p3}, {d}",
            "vmulps {x0}, {x0}, {t0}", "vmulps {x1}, {x1}, {t1}", "vmulps {x2}, {x2}, {t2}", "vmulps {x3}, {x3}, {t3}",
            constants = in(reg) &CONSTANTS,
            power = in(reg) power,
            x0 = inout(ymm_reg) x0 => p0, x1 = inout(ymm_reg) x1 => p1,
            x2 = inout(ymm_reg) x2 => p2, x3 = inout(ymm_reg) x3 => p3,
            p0 = out(ymm_reg) _, p1 = out(ymm_reg) _, p2 = out(ymm_reg) _, p3 = out(ymm_reg) _,
            t0 = out(ymm_reg) _, t1 = out(ymm_reg) _, t2 = out(ymm_reg) _, t3 = out(ymm_reg) _,
            c = out(ymm_reg) _, d = out(ymm_reg) _,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    [p0, p1, p2, p3]
}
