//! The 16-bit formats, against the `half` crate.

use half::{bf16, f16};

use super::{Random, on_every_isa};
use crate::cpu::simd::{Isa, Kernel, Simd, convert};

#[derive(Clone, Copy, Debug)]
enum Format {
    F16,
    Bf16,
}

impl Format {
    fn widen(self, h: u16) -> f32 {
        match self {
            Format::F16 => f16::from_bits(h).to_f32_const(),
            Format::Bf16 => bf16::from_bits(h).to_f32_const(),
        }
    }

    fn narrow(self, x: f32) -> u16 {
        match self {
            Format::F16 => f16::from_f32_const(x).to_bits(),
            Format::Bf16 => bf16::from_f32_const(x).to_bits(),
        }
    }

    fn is_nan(self, h: u16) -> bool {
        self.widen(h).is_nan()
    }
}

struct Widen<'a>(Format, &'a [u16], &'a mut [f32]);

impl Kernel for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (src, dst, n) = (self.1.as_ptr(), self.2.as_mut_ptr(), self.1.len());
        assert_eq!(self.2.len(), n);
        // SAFETY: two slices of `n` elements.
        unsafe {
            match self.0 {
                Format::F16 => convert::widen_f16(s, src, dst, n),
                Format::Bf16 => convert::widen_bf16(s, src, dst, n),
            }
        }
    }
}

struct Narrow<'a>(Format, &'a [f32], &'a mut [u16], bool);

impl Kernel for Narrow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (src, dst, n) = (self.1.as_ptr(), self.2.as_mut_ptr(), self.1.len());
        assert_eq!(self.2.len(), n);
        // SAFETY: two slices of `n` elements.
        unsafe {
            match self.0 {
                Format::F16 => convert::narrow_f16(s, src, dst, n, self.3),
                Format::Bf16 => convert::narrow_bf16(s, src, dst, n, self.3),
            }
        }
    }
}

#[test]
fn every_half_widens_and_comes_back() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for isa in Isa::available() {
        for format in [Format::F16, Format::Bf16] {
            let mut wide = vec![0.0; all.len()];
            isa.dispatch(Widen(format, &all, &mut wide));
            let mut back = vec![0; all.len()];
            isa.dispatch(Narrow(format, &wide, &mut back, false));
            for ((&h, &x), &b) in all.iter().zip(&wide).zip(&back) {
                if format.is_nan(h) {
                    assert!(x.is_nan() && format.is_nan(b), "{format:?} {h:#x} on {isa:?}");
                } else {
                    assert_eq!(x.to_bits(), format.widen(h).to_bits(), "{format:?} {h:#x} on {isa:?}");
                    assert_eq!(b, h, "{format:?} on {isa:?}");
                }
            }
        }
    }
}

#[test]
fn narrowing_rounds_like_half() {
    let mut random = Random(11);
    let mut xs: Vec<f32> = (0..1_000_000).map(|_| random.float()).collect();
    // Magnitudes that f16 can hold, and ties between neighbours of both formats.
    xs.extend((0..1_000_000).map(|_| f32::from_bits(random.next() % 0x1400_0000 + 0x3300_0000)));
    for h in 0..0x7c00 {
        let (a, b) = (Format::F16.widen(h), Format::F16.widen(h + 1));
        let tie = if b.is_finite() { (a + b) / 2.0 } else { 65_520.0 };
        xs.extend([tie, -tie, tie.next_up(), tie.next_down()]);
    }
    for high in 0..0xffffu32 {
        let tie = high << 16 | 0x8000;
        xs.extend([tie, tie + 1, tie - 1].map(f32::from_bits));
    }
    xs.extend([f32::NAN, -f32::NAN, f32::MAX, f32::MIN, f32::INFINITY, 1e-45].iter());
    xs.extend([0x7f80_0001, 0xffff_ffff, 0x7f80_2000].map(f32::from_bits));
    for format in [Format::F16, Format::Bf16] {
        let expected: Vec<u16> = xs.iter().map(|&x| format.narrow(x)).collect();
        for isa in Isa::available() {
            let mut out = vec![0; xs.len()];
            isa.dispatch(Narrow(format, &xs, &mut out, false));
            for ((&x, &want), &got) in xs.iter().zip(&expected).zip(&out) {
                let same = if x.is_nan() { format.is_nan(got) } else { got == want };
                assert!(same, "{format:?} of {x:e} ({:#x}) on {isa:?}: {got:#x}, not {want:#x}", x.to_bits());
            }
        }
    }
}

#[test]
fn slices_of_any_length_and_alignment() {
    #[derive(Clone)]
    struct Slices;
    impl Kernel for Slices {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            const ROOM: usize = 160;
            let src: Vec<f32> = (0..ROOM).map(|i| i as f32).collect();
            for n in (0..40).chain([63, 64, 65, 100, 128, 130]) {
                for offset in 0..=17 {
                    for stream in [false, true] {
                        let mut wide = vec![-1.0f32; ROOM];
                        let mut f16s = vec![7u16; ROOM];
                        let mut bf16s = vec![7u16; ROOM];
                        let mut widened = vec![-1.0f32; 2 * ROOM];
                        // SAFETY: `offset + n` is below ROOM.
                        unsafe {
                            let from = src.as_ptr().add(1);
                            convert::copy_f32(s, from, wide.as_mut_ptr().add(offset), n, stream);
                            convert::narrow_f16(s, from, f16s.as_mut_ptr().add(offset), n, stream);
                            convert::narrow_bf16(s, from, bf16s.as_mut_ptr().add(offset), n, stream);
                            let (a, b) = widened.split_at_mut(ROOM);
                            convert::widen_f16(s, f16s.as_ptr().add(offset), a.as_mut_ptr(), n);
                            convert::widen_bf16(s, bf16s.as_ptr().add(offset), b.as_mut_ptr(), n);
                        }
                        for i in 0..ROOM {
                            let inside = (offset..offset + n).contains(&i);
                            let x = if inside { (i - offset + 1) as f32 } else { -1.0 };
                            assert_eq!(wide[i], x);
                            let half = |f: Format| if inside { f.narrow(x) } else { 7 };
                            assert_eq!((f16s[i], bf16s[i]), (half(Format::F16), half(Format::Bf16)));
                            let y = if i < n { (i + 1) as f32 } else { -1.0 };
                            assert_eq!((widened[i], widened[i + ROOM]), (y, y));
                        }
                    }
                }
            }
        }
    }
    on_every_isa(Slices);
}
