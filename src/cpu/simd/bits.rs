//! Branch-free bit manipulation of single floats, shared by the ISAs that lack an instruction for it.
//! Written so that a loop over lanes vectorises.

#[inline(always)]
pub fn f16_to_f32(h: u16) -> f32 {
    // Exponent and fraction moved into place are the value scaled by 2^-112, subnormals included.
    let em = ((h & 0x7fff) as u32) << 13;
    let scaled = f32::from_bits(em) * f32::from_bits((127 + 112) << 23);
    let special = if em >= 0x0f80_0000 { 0x7f80_0000 } else { 0 };
    let sign = ((h & 0x8000) as u32) << 16;
    f32::from_bits(scaled.to_bits() | special | sign)
}

#[inline(always)]
pub fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits() & 0x7fff_ffff;
    let sign = (x.to_bits() >> 16) & 0x8000;
    // Normal: rebias the exponent, then round to even; too large a number is caught below.
    let odd = (bits >> 13) & 1;
    let normal = bits.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    // Subnormal: an addition whose unit in the last place is that of the result does the rounding.
    const SHIFT: f32 = 0.5;
    let small = (f32::from_bits(bits) + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits());
    let nan = 0x7e00 | ((bits >> 13) & 0x3ff);
    let mut h = if bits < 113 << 23 { small } else { normal };
    h = if bits >= 143 << 23 { 0x7c00 } else { h };
    h = if bits > 0x7f80_0000 { nan } else { h };
    (h | sign) as u16
}

#[inline(always)]
pub fn bf16_to_f32(h: u16) -> f32 {
    f32::from_bits((h as u32) << 16)
}

#[inline(always)]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let nan = (bits >> 16) | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }) as u16
}

/// The bits of 2/3.
pub const TWO_THIRDS: u32 = 0x3f2a_aaab;

/// Copies `n < 16` elements of 16 bits without a call to `memcpy`.
///
/// # Safety
/// Both pointers are valid for `n` elements and the ranges do not overlap.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn copy_few(src: *const u16, dst: *mut u16, n: usize) {
    debug_assert!(n < 16);
    let mut i = 0;
    // SAFETY: the pieces are the binary digits of `n`, so they add up to it.
    unsafe {
        if n & 8 != 0 {
            dst.cast::<u128>().write_unaligned(src.cast::<u128>().read_unaligned());
            i += 8;
        }
        if n & 4 != 0 {
            dst.add(i).cast::<u64>().write_unaligned(src.add(i).cast::<u64>().read_unaligned());
            i += 4;
        }
        if n & 2 != 0 {
            dst.add(i).cast::<u32>().write_unaligned(src.add(i).cast::<u32>().read_unaligned());
            i += 2;
        }
        if n & 1 != 0 {
            dst.add(i).write(src.add(i).read());
        }
    }
}
