//! Arithmetic, masks, memory access and reductions.

use super::{Random, on_every_isa};
use crate::cpu::simd::{Kernel, Simd};

/// Runs a generic block on every ISA.
macro_rules! for_every_isa {
    ($s:ident: $S:ident, $body:block) => {{
        #[derive(Clone)]
        struct Check;
        impl Kernel for Check {
            type Output = ();
            #[inline(always)]
            fn run<$S: Simd>(self, $s: $S) $body
        }
        on_every_isa(Check);
    }};
}

/// The lanes of a vector.
fn lanes<S: Simd>(s: S, v: S::F) -> Vec<f32> {
    let mut out = vec![0.0; S::LANES];
    // SAFETY: `out` has a whole vector.
    unsafe { s.store(out.as_mut_ptr(), v) };
    out
}

fn vector<S: Simd>(s: S, f: impl Fn(usize) -> f32) -> S::F {
    let v: Vec<f32> = (0..S::LANES).map(f).collect();
    // SAFETY: `v` has a whole vector.
    unsafe { s.load(v.as_ptr()) }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn arithmetic_agrees_with_single_floats() {
    for_every_isa!(s: S, {
        let mut random = Random(7);
        let special = [0.0, -0.0, 1.0, -1.5, 2.5, 0.5, f32::INFINITY, -f32::INFINITY, f32::NAN, 1e-45, 8_388_609.0];
        for round in 0..2000 {
            let mut pick = |i: usize| match round % 3 {
                0 => special[(random.next() as usize + i) % special.len()],
                1 => random.float(),
                _ => (random.next() as i32 as f32) * 2f32.powi(-26),
            };
            let (x, y, z): (Vec<f32>, Vec<f32>, Vec<f32>) = (
                (0..S::LANES).map(&mut pick).collect(),
                (0..S::LANES).map(&mut pick).collect(),
                (0..S::LANES).map(&mut pick).collect(),
            );
            let (a, b, c) = (vector(s, |i| x[i]), vector(s, |i| y[i]), vector(s, |i| z[i]));
            let check = |name: &str, v: S::F, f: &dyn Fn(usize) -> f32| {
                for (i, got) in lanes(s, v).into_iter().enumerate() {
                    let (x, y, want) = (x[i], y[i], f(i));
                    assert!(same(got, want), "{name}({x:e}, {y:e}) on {:?}: {got:e}, not {want:e}", S::ISA);
                }
            };
            check("add", s.add(a, b), &|i| x[i] + y[i]);
            check("sub", s.sub(a, b), &|i| x[i] - y[i]);
            check("mul", s.mul(a, b), &|i| x[i] * y[i]);
            check("div", s.div(a, b), &|i| x[i] / y[i]);
            check("sqrt", s.sqrt(a), &|i| x[i].sqrt());
            check("round", s.round(a), &|i| x[i].round_ties_even());
            check("neg", s.neg(a), &|i| -x[i]);
            check("abs", s.abs(a), &|i| x[i].abs());
            check("copysign", s.copysign(a, b), &|i| x[i].copysign(y[i]));
            let fused = |i: usize| if S::FMA { x[i].mul_add(y[i], z[i]) } else { x[i] * y[i] + z[i] };
            check("mul_add", s.mul_add(a, b, c), &fused);

            let bits = |f: &dyn Fn(usize) -> bool| (0..S::LANES).fold(0, |m, i| m | (f(i) as u32) << i);
            assert_eq!(s.mask_bits(s.lt(a, b)), bits(&|i| x[i] < y[i]));
            assert_eq!(s.mask_bits(s.le(a, b)), bits(&|i| x[i] <= y[i]));
            assert_eq!(s.mask_bits(s.gt(a, b)), bits(&|i| x[i] > y[i]));
            assert_eq!(s.mask_bits(s.ge(a, b)), bits(&|i| x[i] >= y[i]));
            assert_eq!(s.mask_bits(s.eq(a, b)), bits(&|i| x[i] == y[i]));
            assert_eq!(s.mask_bits(s.is_nan(a)), bits(&|i| x[i].is_nan()));
            let (l, e) = (s.lt(a, b), s.eq(a, c));
            assert_eq!(s.mask_bits(s.and(l, e)), bits(&|i| x[i] < y[i] && x[i] == z[i]));
            assert_eq!(s.mask_bits(s.or(l, e)), bits(&|i| x[i] < y[i] || x[i] == z[i]));
            assert_eq!(s.mask_bits(s.not(l)), !bits(&|i| x[i] < y[i]) & bits(&|_| true));
            assert_eq!(s.any(l), s.mask_bits(l) != 0);
            check("select", s.select(l, b, c), &|i| if x[i] < y[i] { y[i] } else { z[i] });
            check("only", s.only(l, b), &|i| if x[i] < y[i] { y[i] } else { 0.0 });
            let sign = |i: usize| if x[i] < 0.0 { x[i] } else { 1.0 };
            let by_sign = |i: usize| if x[i] < 0.0 { y[i] } else { z[i] };
            check("select_negative", s.select_negative(vector(s, sign), b, c), &by_sign);
        }
    });
}

#[test]
fn maximum_and_minimum_keep_the_nan_contract() {
    for_every_isa!(s: S, {
        let values = [f32::NAN, -f32::NAN, 1.0, -2.0, f32::INFINITY, -f32::INFINITY];
        for x in values {
            for y in values {
                let (a, b) = (s.splat(x), s.splat(y));
                let (max, min) = (lanes(s, s.max(a, b))[0], lanes(s, s.min(a, b))[0]);
                if y.is_nan() {
                    assert!(max.is_nan() && min.is_nan());
                } else if !x.is_nan() {
                    assert_eq!((max, min), (x.max(y), x.min(y)));
                }
                let (max, min) = (lanes(s, s.max_nan(a, b))[0], lanes(s, s.min_nan(a, b))[0]);
                if x.is_nan() || y.is_nan() {
                    assert!(max.is_nan() && min.is_nan());
                } else {
                    assert_eq!((max, min), (x.max(y), x.min(y)));
                }
            }
        }
    });
}

#[test]
fn reductions() {
    for_every_isa!(s: S, {
        for lane in 0..S::LANES {
            let v = vector(s, |i| if i == lane { 100.0 } else { i as f32 });
            assert_eq!(s.reduce_max(v), 100.0);
            assert_eq!(s.reduce_min(s.neg(v)), -100.0);
            let sum: usize = (0..S::LANES).map(|i| if i == lane { 100 } else { i }).sum();
            assert_eq!(s.reduce_add(v), sum as f32);
            assert_eq!(s.d_sum(s.d_add(s.d_zero(), v)), sum as f64);

            let poisoned = |x: f32| vector(s, |i| if i == lane { x } else { i as f32 });
            for nan in [f32::NAN, -f32::NAN] {
                assert!(s.reduce_max(poisoned(nan)).is_nan());
                assert!(s.reduce_min(poisoned(nan)).is_nan());
                assert!(s.reduce_add(poisoned(nan)).is_nan());
                // A NaN that comes first, last, or in the middle of a row survives the running maximum.
                for position in 0..3 {
                    let acc = (0..3).fold(s.splat(f32::NEG_INFINITY), |acc, i| {
                        s.max_nan(acc, if i == position { poisoned(nan) } else { s.splat(1.0) })
                    });
                    assert!(s.reduce_max(acc).is_nan());
                }
            }
            assert_eq!(s.reduce_max(poisoned(f32::INFINITY)), f32::INFINITY);
            assert_eq!(s.reduce_min(poisoned(-f32::INFINITY)), -f32::INFINITY);
        }
        assert_eq!(s.reduce_max(s.splat(f32::NEG_INFINITY)), f32::NEG_INFINITY);
    });
}

#[test]
fn double_accumulators() {
    for_every_isa!(s: S, {
        // Neither sum nor product would survive in f32.
        let (big, small) = (s.splat(16_777_216.0), vector(s, |i| (i + 1) as f32));
        let d = s.d_add(s.d_add(s.d_zero(), big), small);
        let n = S::LANES as f64;
        let triangle = n * (n + 1.0) / 2.0;
        assert_eq!(s.d_sum(d), 16_777_216.0 * n + triangle);

        let a = s.splat(1.0 + f32::EPSILON);
        let exact = (1.0 + f32::EPSILON as f64) * (1.0 + f32::EPSILON as f64);
        assert_eq!(s.d_sum(s.d_mul_add(s.d_zero(), a, a)), exact * n);
        let odd = vector(s, |i| (i * i) as f32);
        let want: f64 = (0..S::LANES).map(|i| (i * i * (i + 1)) as f64).sum();
        let product = s.d_mul_add(s.d_zero(), odd, small);
        assert_eq!(s.d_sum(product), want);
        assert_eq!(s.d_sum(s.d_merge(product, d)), want + 16_777_216.0 * n + triangle);

        let mut lanes = [0.5; 16];
        // SAFETY: no vector is longer.
        unsafe { s.d_add_to(lanes.as_mut_ptr(), product) };
        for (i, lane) in lanes.into_iter().enumerate() {
            assert_eq!(lane, 0.5 + if i < S::LANES { (i * i * (i + 1)) as f64 } else { 0.0 });
        }
    });
}

#[test]
fn scaling_primitives() {
    for_every_isa!(s: S, {
        for k in -126..=127 {
            assert_eq!(lanes(s, s.pow2(s.splat(k as f32)))[0], 2f32.powi(k));
        }
        let mut random = Random(3);
        for i in 0..20_000 {
            let x = if i % 4 == 0 { f32::from_bits(random.next() >> 9) } else { random.float().abs() };
            let (m, e) = s.frexp(s.splat(x));
            let (m, e) = (lanes(s, m)[0], lanes(s, e)[0]);
            if x.is_nan() {
                assert!(m.is_nan());
            } else if x == 0.0 || x == f32::INFINITY {
                assert_eq!((m.abs(), e), (1.0, if x == 0.0 { -x - f32::INFINITY } else { x }));
            } else {
                assert!((0.666_666_6..1.333_333_4).contains(&m));
                assert_eq!(m as f64 * 2f64.powi(e as i32), x as f64);
            }
        }
        for x in [-1.0, -1e-45, f32::NEG_INFINITY, f32::NAN] {
            assert!(lanes(s, s.frexp(s.splat(x)).0)[0].is_nan());
        }
    });
}

#[test]
fn first_n_counts_lanes() {
    for_every_isa!(s: S, {
        for n in 0..=S::LANES + 3 {
            let want = (0..S::LANES.min(n)).fold(0, |m, i| m | 1 << i);
            assert_eq!(s.mask_bits(s.first_n(n)), want);
        }
    });
}

#[test]
fn partial_access_stays_in_bounds() {
    for_every_isa!(s: S, {
        for n in 0..=S::LANES {
            // The last elements before a page that cannot be touched.
            let guard = Guard::<f32>::new(n);
            for i in 0..n {
                // SAFETY: `guard` has `n` elements.
                unsafe { guard.p.add(i).write(i as f32 + 1.0) };
            }
            // SAFETY: as above.
            let v = unsafe { s.load_partial(guard.p, n, -7.0) };
            for (i, x) in lanes(s, v).into_iter().enumerate() {
                assert_eq!(x, if i < n { i as f32 + 1.0 } else { -7.0 });
            }
            // SAFETY: as above.
            unsafe { s.store_partial(guard.p, n, s.add(v, s.splat(1.0))) };
            for i in 0..n {
                // SAFETY: as above.
                assert_eq!(unsafe { guard.p.add(i).read() }, i as f32 + 2.0);
            }

            let mut canary = vec![9.0; S::LANES + 1];
            // SAFETY: the buffer is longer than `n`.
            unsafe { s.store_partial(canary.as_mut_ptr(), n, s.splat(1.0)) };
            assert!(canary[..n].iter().all(|&x| x == 1.0) && canary[n..].iter().all(|&x| x == 9.0));
        }
    });
}

#[test]
fn partial_access_of_halves_stays_in_bounds() {
    for_every_isa!(s: S, {
        for n in 0..=S::LANES {
            let guard = Guard::<u16>::new(n);
            let values: Vec<f32> = (0..S::LANES).map(|i| i as f32 - 2.0).collect();
            let v = vector(s, |i| values[i]);
            let check = |got: S::F| {
                for (i, x) in lanes(s, got).into_iter().enumerate() {
                    assert_eq!(x, if i < n { values[i] } else { -7.0 });
                }
            };
            let mut canary = vec![9u16; S::LANES + 1];
            // SAFETY: `guard` has `n` elements and `canary` more.
            unsafe {
                s.store_f16_partial(guard.p, n, v);
                check(s.load_f16_partial(guard.p, n, -7.0));
                s.store_bf16_partial(guard.p, n, v);
                check(s.load_bf16_partial(guard.p, n, -7.0));
                s.store_f16_partial(canary.as_mut_ptr(), n, v);
                s.store_bf16_partial(canary.as_mut_ptr(), n, v);
            }
            assert!(canary[n..].iter().all(|&x| x == 9));
        }
    });
}

/// `n` elements that end where an inaccessible page begins.
struct Guard<T> {
    p: *mut T,
    base: *mut libc::c_void,
}

const PAGE: usize = 65_536; // a multiple of any page size in use

impl<T> Guard<T> {
    fn new(n: usize) -> Self {
        // SAFETY: a fresh anonymous mapping, whose second half is closed to access.
        unsafe {
            let (rw, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let base = libc::mmap(std::ptr::null_mut(), 2 * PAGE, rw, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let end = base.cast::<u8>().add(PAGE);
            assert_eq!(libc::mprotect(end.cast(), PAGE, libc::PROT_NONE), 0);
            Self { p: end.cast::<T>().sub(n), base }
        }
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.base, 2 * PAGE) };
    }
}

#[test]
fn reciprocal_is_within_two_ulp() {
    for_every_isa!(s: S, {
        let mut random = Random(11);
        for _ in 0..200_000 {
            let x: Vec<f32> =
                (0..S::LANES).map(|_| (1.0 + random.float().abs().fract()) * 2f32.powi(random.next() as i32 % 60)).collect();
            for (i, r) in lanes(s, s.recip(vector(s, |i| x[i]))).into_iter().enumerate() {
                let exact = 1.0 / f64::from(x[i]);
                assert!((f64::from(r) / exact - 1.0).abs() < 2.4e-7 || !x[i].is_finite(), "{} {r}", x[i]);
            }
        }
    });
}

#[test]
fn transposes() {
    #[derive(Clone)]
    struct Transpose;
    impl Kernel for Transpose {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (n, stride, to_stride) = (S::LANES, S::LANES + 3, S::LANES + 5);
            let from: Vec<f32> = (0..n * stride).map(|i| i as f32).collect();
            let mut to = vec![-1.0f32; n * to_stride];
            // SAFETY: room for LANES rows each.
            unsafe { s.transpose(from.as_ptr(), stride, to.as_mut_ptr(), to_stride) };
            for (at, &value) in to.iter().enumerate() {
                let (i, j) = (at / to_stride, at % to_stride);
                assert_eq!(value, if j < n { from[j * stride + i] } else { -1.0 });
            }
            let near = n.div_ceil(2);
            // SAFETY: as above.
            unsafe { s.transpose(from.as_ptr(), stride, to.as_mut_ptr(), near) };
            for (at, &value) in to[..n * near].iter().enumerate() {
                assert_eq!(value, from[at % near * stride + at / near]);
            }
        }
    }
    on_every_isa(Transpose);
}

#[test]
fn transposes_parts() {
    #[derive(Clone)]
    struct Parts;
    impl Kernel for Parts {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (lanes, stride, to_stride) = (S::LANES, S::LANES + 3, S::LANES + 5);
            let from: Vec<f32> = (0..lanes * stride).map(|i| i as f32).collect();
            for n in 1..=lanes {
                let mut to = vec![-1.0f32; lanes * to_stride];
                // SAFETY: room for LANES rows each, here and below.
                unsafe { s.transpose_from(from.as_ptr(), stride, to.as_mut_ptr(), to_stride, n) };
                for (i, j) in (0..n).flat_map(|i| (0..lanes).map(move |j| (i, j))) {
                    assert_eq!(to[i * to_stride + j], from[j * stride + i]);
                }
                to.fill(-1.0);
                unsafe { s.transpose_to(from.as_ptr(), stride, to.as_mut_ptr(), to_stride, n) };
                for (at, &value) in to.iter().enumerate() {
                    let (i, j) = (at / to_stride, at % to_stride);
                    assert_eq!(value, if j < n { from[j * stride + i] } else { -1.0 });
                }
            }
        }
    }
    on_every_isa(Parts);
}

#[test]
fn vectors_side_by_side() {
    #[derive(Clone)]
    struct Wide;
    impl Kernel for Wide {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            assert_eq!(S::Wide::LANES % S::LANES, 0);
            wide(s.wide());
        }
    }
    #[inline(always)]
    fn wide<W: Simd>(w: W) {
        let n = W::LANES;
        let x: Vec<f32> = (0..n).map(|i| 0.37 * i as f32 - 2.0).collect();
        let of = |i: usize| 1.5 + i as f32;
        // SAFETY: a vector.
        let v = unsafe { w.load(x.as_ptr()) };
        for k in 0..=n {
            assert_eq!(w.mask_bits(w.first_n(k)), (0..k).fold(0, |bits, i| bits | 1 << i));
            let mut to = vec![-1.0; n];
            // SAFETY: as above.
            unsafe { w.store_partial(to.as_mut_ptr(), k, w.load_partial(x.as_ptr(), k, 7.0)) };
            assert!(to.iter().enumerate().all(|(i, &y)| y == if i < k { x[i] } else { -1.0 }));
        }
        let (largest, least) = (x[n - 1], x[0]);
        assert_eq!((w.reduce_max(v), w.reduce_min(v), w.first(v)), (largest, least, least));
        let sum: f64 = x.iter().map(|&x| f64::from(x)).sum();
        assert!((w.d_sum(w.d_add(w.d_zero(), v)) - sum).abs() < 1e-9);
        let mut pair = [vec![0.0f32; n], vec![0.0f32; n]];
        let terms = w.softmax_pair([v, w.mul(v, w.splat(of(0)))]);
        let (scale, e) = w.scale_of(w.splat(of(3)));
        assert_eq!((w.first(scale), w.first(e)), (0.25, 2.0));
        // SAFETY: as above.
        unsafe {
            w.store(pair[0].as_mut_ptr(), terms[0]);
            w.store(pair[1].as_mut_ptr(), terms[1]);
        }
        for i in 0..n {
            for (factor, terms) in [(1.0, &pair[0]), (of(0), &pair[1])] {
                assert!((terms[i] / (factor * x[i]).exp() - 1.0).abs() < 1e-6);
            }
        }
    }
    on_every_isa(Wide);
}
