//! Portable implementation, one lane wide: for processors without the others, and small, since every loss is
//! compiled for it too.

use super::{EXP_MAX, EXP_MIN, Isa, ROUND_MAGIC, Simd, bits, math};

#[derive(Clone, Copy, Debug)]
pub struct Scalar;

const N: usize = 1;
type V = [f32; N];
type Mask = [u32; N];

#[inline(always)]
fn map(a: V, f: impl Fn(f32) -> f32) -> V {
    let mut r = a;
    for i in 0..N {
        r[i] = f(a[i]);
    }
    r
}

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    let mut r = a;
    for i in 0..N {
        r[i] = f(a[i], b[i]);
    }
    r
}

#[inline(always)]
fn test(a: V, b: V, f: impl Fn(f32, f32) -> bool) -> Mask {
    let mut r = [0; N];
    for i in 0..N {
        r[i] = if f(a[i], b[i]) { !0 } else { 0 };
    }
    r
}

/// Halves the vector until one lane is left.
#[inline(always)]
fn fold(mut a: V, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            a[i] = f(a[i], a[i + half]);
        }
        half /= 2;
    }
    a[0]
}

#[inline(always)]
fn max_nan1(acc: f32, x: f32) -> f32 {
    if x > acc || x.is_nan() { x } else { acc }
}

#[inline(always)]
fn min_nan1(acc: f32, x: f32) -> f32 {
    if x < acc || x.is_nan() { x } else { acc }
}

/// # Safety
/// `p` is valid for `n <= N` elements.
#[inline(always)]
unsafe fn load_with<T: Copy>(p: *const T, n: usize, fill: f32, f: impl Fn(T) -> f32) -> V {
    debug_assert!(n <= N);
    let mut r = [fill; N];
    for (i, r) in r.iter_mut().enumerate() {
        if i < n {
            // SAFETY: `i < n`.
            *r = f(unsafe { p.add(i).read() });
        }
    }
    r
}

/// # Safety
/// `p` is valid for `n <= N` elements.
#[inline(always)]
unsafe fn store_with<T>(p: *mut T, n: usize, v: V, f: impl Fn(f32) -> T) {
    debug_assert!(n <= N);
    for (i, v) in v.into_iter().enumerate() {
        if i < n {
            // SAFETY: `i < n`.
            unsafe { p.add(i).write(f(v)) };
        }
    }
}

/// Keeps the compiler from turning a loop over one lane into one over several, unrolled, with heads and tails: three
/// times the code of the other instruction sets, for processors that hardly exist.
#[inline(always)]
fn one_by_one(v: V) -> V {
    #[cfg(target_arch = "x86_64")]
    {
        let mut x = v[0];
        // SAFETY: does nothing.
        unsafe {
            std::arch::asm!("/* {0} */", inout(xmm_reg) x, options(pure, nomem, nostack, preserves_flags))
        };
        [x]
    }
    #[cfg(not(target_arch = "x86_64"))]
    v
}

impl Simd for Scalar {
    const LANES: usize = N;
    // Without the instruction, the fused operation is a slow library call.
    const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    const ISA: Isa = Isa::Scalar;

    type F = V;
    type M = Mask;
    type D = [f64; N];
    type Wide = Self;
    #[inline(always)]
    fn wide(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; N]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> V {
        one_by_one(unsafe { p.cast::<V>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: V) {
        unsafe { p.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize, fill: f32) -> V {
        one_by_one(unsafe { load_with(p, n, fill, |x| x) })
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, n: usize, v: V) {
        unsafe { store_with(p, n, v, |x| x) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: V) {
        unsafe { self.store(p, v) }
    }
    #[inline(always)]
    fn fence(self) {}

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> V {
        one_by_one(unsafe { load_with(p, N, 0.0, bits::f16_to_f32) })
    }
    #[inline(always)]
    unsafe fn load_f16_partial(self, p: *const u16, n: usize, fill: f32) -> V {
        one_by_one(unsafe { load_with(p, n, fill, bits::f16_to_f32) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: V) {
        unsafe { store_with(p, N, v, bits::f32_to_f16) }
    }
    #[inline(always)]
    unsafe fn store_f16_partial(self, p: *mut u16, n: usize, v: V) {
        unsafe { store_with(p, n, v, bits::f32_to_f16) }
    }
    #[inline(always)]
    unsafe fn stream_f16(self, p: *mut u16, v: V) {
        unsafe { self.store_f16(p, v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> V {
        one_by_one(unsafe { load_with(p, N, 0.0, bits::bf16_to_f32) })
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(self, p: *const u16, n: usize, fill: f32) -> V {
        one_by_one(unsafe { load_with(p, n, fill, bits::bf16_to_f32) })
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: V) {
        unsafe { store_with(p, N, v, bits::f32_to_bf16) }
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, p: *mut u16, n: usize, v: V) {
        unsafe { store_with(p, n, v, bits::f32_to_bf16) }
    }
    #[inline(always)]
    unsafe fn stream_bf16(self, p: *mut u16, v: V) {
        unsafe { self.store_bf16(p, v) }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..N {
            for j in 0..N {
                unsafe { *to.add(j * to_stride + i) = *from.add(i * stride + j) };
            }
        }
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn recip(self, a: V) -> V {
        map(a, |a| 1.0 / a)
    }
    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        let mut r = c;
        for i in 0..N {
            r[i] = if Self::FMA { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] };
        }
        r
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        // The standard method is a library call on baseline x86.
        const TWO23: f32 = 8_388_608.0;
        map(a, |a| if a.abs() < TWO23 { ((a.abs() + TWO23) - TWO23).copysign(a) } else { a })
    }
    #[inline(always)]
    fn neg(self, a: V) -> V {
        map(a, |a| -a)
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn copysign(self, magnitude: V, sign: V) -> V {
        zip(magnitude, sign, f32::copysign)
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max_nan(self, acc: V, x: V) -> V {
        zip(acc, x, max_nan1)
    }
    #[inline(always)]
    fn min_nan(self, acc: V, x: V) -> V {
        zip(acc, x, min_nan1)
    }

    #[inline(always)]
    fn lt(self, a: V, b: V) -> Mask {
        test(a, b, |a, b| a < b)
    }
    #[inline(always)]
    fn le(self, a: V, b: V) -> Mask {
        test(a, b, |a, b| a <= b)
    }
    #[inline(always)]
    fn eq(self, a: V, b: V) -> Mask {
        test(a, b, |a, b| a == b)
    }
    #[inline(always)]
    fn is_nan(self, a: V) -> Mask {
        test(a, a, |a, _| a.is_nan())
    }
    #[inline(always)]
    fn first_n(self, n: usize) -> Mask {
        std::array::from_fn(|i| if i < n { !0 } else { 0 })
    }
    #[inline(always)]
    fn and(self, a: Mask, b: Mask) -> Mask {
        std::array::from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: Mask, b: Mask) -> Mask {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn not(self, a: Mask) -> Mask {
        a.map(|a| !a)
    }
    #[inline(always)]
    fn select(self, m: Mask, a: V, b: V) -> V {
        // By bits: the mask is all ones or all zeros, and no branch can come of it.
        let mut r = a;
        for i in 0..N {
            r[i] = f32::from_bits((a[i].to_bits() & m[i]) | (b[i].to_bits() & !m[i]));
        }
        r
    }
    #[inline(always)]
    fn mask_bits(self, m: Mask) -> u32 {
        m.iter().enumerate().fold(0, |bits, (i, m)| bits | (m & 1) << i)
    }

    #[inline(always)]
    fn reduce_add(self, a: V) -> f32 {
        fold(a, |a, b| a + b)
    }
    #[inline(always)]
    fn first(self, a: V) -> f32 {
        a[0]
    }
    #[inline(always)]
    fn reduce_max(self, a: V) -> f32 {
        fold(a, max_nan1)
    }
    #[inline(always)]
    fn reduce_min(self, a: V) -> f32 {
        fold(a, min_nan1)
    }

    #[inline(always)]
    fn d_zero(self) -> Self::D {
        [0.0; N]
    }
    #[inline(always)]
    fn d_add(self, d: Self::D, a: V) -> Self::D {
        std::array::from_fn(|i| d[i] + a[i] as f64)
    }
    #[inline(always)]
    fn d_mul_add(self, d: Self::D, a: V, b: V) -> Self::D {
        std::array::from_fn(|i| d[i] + a[i] as f64 * b[i] as f64)
    }
    #[inline(always)]
    fn d_merge(self, a: Self::D, b: Self::D) -> Self::D {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn d_add_to(self, p: *mut f64, d: Self::D) {
        d.iter().enumerate().for_each(|(i, d)| unsafe { *p.add(i) += d });
    }
    #[inline(always)]
    fn d_sum(self, d: Self::D) -> f64 {
        d.iter().sum()
    }

    #[inline(always)]
    fn exp_over(self, x: [V; 4], power: &math::PowerOver<Self>) -> [V; 4] {
        let mut e = x;
        for v in 0..4 {
            // Without a fused product in f64, in two parts.
            let (mut near, mut rest) = (x[v], x[v]);
            for i in 0..N {
                let k = f64::from(Self::TERM_MAGIC - power.magic[i]);
                let d = f64::from(x[v][i]) - k * std::f64::consts::LN_2;
                near[i] = d as f32;
                rest[i] = if near[i] < -87.0 { 0.0 } else { (d - f64::from(near[i])) as f32 };
            }
            let near = math::exp(self, near);
            e[v] = self.mul_add(near, rest, near);
        }
        e
    }
    #[inline(always)]
    fn exp_clamp(self, x: V) -> V {
        x
    }
    #[inline(always)]
    fn exp_finish(self, x: V, p: V, _k: V, t: V) -> V {
        let y = zip(p, t, |p, t| f32::from_bits(p.to_bits().wrapping_add(t.to_bits() << 23)));
        let low = self.lt(x, [EXP_MIN; N]);
        let in_range = self.le(x, [EXP_MAX; N]);
        // Above the range or NaN, where the exponent arithmetic made nonsense.
        self.select(in_range, self.select(low, [0.0; N], y), map(x, |x| x + f32::INFINITY))
    }
    #[inline(always)]
    fn pow2(self, k: V) -> V {
        map(k, |k| f32::from_bits((k + (ROUND_MAGIC + 127.0)).to_bits() << 23))
    }
    #[inline(always)]
    fn frexp(self, x: V) -> (V, V) {
        let tiny = self.lt(x, [f32::MIN_POSITIVE; N]);
        let y = self.select(tiny, map(x, |x| x * 8_388_608.0), x);
        let shift = self.select(tiny, [-23.0; N], [0.0; N]);

        let exponent = map(y, |y| f32::from_bits(y.to_bits().wrapping_sub(bits::TWO_THIRDS) & 0xff80_0000));
        let m = zip(y, exponent, |y, e| f32::from_bits(y.to_bits().wrapping_sub(e.to_bits())));
        let e = zip(exponent, shift, |e, s| (e.to_bits() as i32) as f32 * (1.0 / 8_388_608.0) + s);

        // Zero and infinity have m = 1 already.
        let m = self.select(self.le([0.0; N], x), m, [f32::NAN; N]);
        let e = self.select(self.eq(x, [0.0; N]), [f32::NEG_INFINITY; N], e);
        (m, self.select(self.eq(x, [f32::INFINITY; N]), x, e))
    }
}
