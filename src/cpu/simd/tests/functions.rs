//! Accuracy and special values of `math`.

use super::{Random, on_every_isa};
use crate::cpu::simd::{Isa, Kernel, Simd, batch, math};

const INF: f32 = f32::INFINITY;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    ExpM1,
    Ln,
    Ln1p,
    Ln1pUnit,
    Tanh,
    Sigmoid,
    Softplus,
    // Those of `batch`.
    BatchExp,
    BatchLn,
    BatchDecay,
    BatchTail,
}

use Function::*;

/// Function, largest error allowed in ULP with fused multiply-add, and without.
const BOUNDS: [(Function, f64, f64); 12] = [
    (Exp, 1.0, 1.25),
    (ExpM1, 1.75, 2.0),
    (Ln, 1.0, 1.0),
    (Ln1p, 1.75, 2.0),
    (Ln1pUnit, 1.75, 2.0),
    (Tanh, 2.6, 2.6),
    (Sigmoid, 2.5, 2.5),
    (Softplus, 2.25, 2.25),
    (BatchExp, 1.0, 1.25),
    (BatchLn, 1.0, 1.0),
    (BatchDecay, 1.0, 1.25),
    (BatchTail, 2.25, 2.25),
];

impl Function {
    fn batch(self) -> Option<batch::Function> {
        match self {
            BatchExp => Some(batch::Function::Exp),
            BatchLn => Some(batch::Function::Ln),
            BatchDecay | BatchTail => Some(batch::Function::Logistic),
            _ => None,
        }
    }

    #[inline(always)]
    fn vector<S: Simd>(self, s: S, x: S::F) -> S::F {
        match self {
            BatchExp | BatchLn | BatchDecay | BatchTail => unreachable!(),
            Exp => math::exp(s, x),
            ExpM1 => math::exp_m1(s, x),
            Ln => math::ln(s, x),
            Ln1p => math::ln_1p(s, x),
            Ln1pUnit => math::ln_1p_unit(s, x),
            Tanh => math::tanh(s, x),
            Sigmoid => math::sigmoid(s, x),
            Softplus => math::softplus(s, x),
        }
    }

    fn exact(self, x: f64) -> f64 {
        match self {
            Exp | BatchExp => x.exp(),
            BatchDecay => (-x.abs()).exp(),
            BatchTail => (-x.abs()).exp().ln_1p(),
            ExpM1 => x.exp_m1(),
            Ln | BatchLn => x.ln(),
            Ln1p | Ln1pUnit => x.ln_1p(),
            Tanh => x.tanh(),
            Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// Arguments worth sampling densely, as a range.
    fn range(self) -> (f32, f32) {
        match self {
            Exp | ExpM1 | Softplus | Sigmoid | BatchExp | BatchDecay | BatchTail => (-104.0, 90.0),
            Ln | BatchLn => (0.0, 4.0),
            Ln1p => (-1.0, 4.0),
            Ln1pUnit => (0.0, 1.0),
            Tanh => (-10.0, 10.0),
        }
    }

    fn in_domain(self, x: f32) -> bool {
        match self {
            Ln | BatchLn => x > 0.0,
            Ln1p => x > -1.0,
            Ln1pUnit => (0.0..=1.0).contains(&x),
            _ => true,
        }
    }
}

struct Map<'a>(Function, &'a mut [f32]);

impl Kernel for Map<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if let Some(function) = self.0.batch() {
            return self.run_batch(s, function);
        }
        for chunk in self.1.chunks_mut(S::LANES) {
            let (p, n) = (chunk.as_mut_ptr(), chunk.len());
            // SAFETY: the chunk has `n` elements.
            unsafe { s.store_partial(p, n, self.0.vector(s, s.load_partial(p, n, 0.0))) };
        }
    }
}

impl Map<'_> {
    /// In place where that is allowed.
    #[inline(always)]
    fn run_batch<S: Simd>(self, s: S, function: batch::Function) {
        let Map(which, xs) = self;
        let mut places = [xs.to_vec(), vec![], vec![]];
        places.iter_mut().for_each(|p| p.resize(xs.len() + batch::PACK, f32::NAN));
        let [from, decay, tail] = places.each_mut().map(|p| p.as_mut_ptr());
        let logistic = [BatchDecay, BatchTail].contains(&which);
        let to = [if logistic { decay } else { from }, tail];
        // SAFETY: there is room for one more pack.
        unsafe { batch::apply(s, function, from, xs.len(), to) };
        let result = if which == BatchTail { &places[2] } else { &places[usize::from(logistic)] };
        xs.copy_from_slice(&result[..xs.len()]);
    }
}

fn eval(isa: Isa, f: Function, xs: &[f32]) -> Vec<f32> {
    let mut ys = xs.to_vec();
    isa.dispatch(Map(f, &mut ys));
    ys
}

/// Distance of `got` from `exact` in units of the f32 spacing there. Results under the smallest normal may
/// be flushed to 0.
fn ulp_error(got: f32, exact: f64) -> f64 {
    let limit = f32::MAX as f64 * (1.0 + 2f64.powi(-24));
    if exact.is_nan() || exact.abs() >= limit {
        let same = if exact.is_nan() { got.is_nan() } else { got as f64 == exact.signum() * INF as f64 };
        // Right at the limit the neighbour is a rounding away.
        let near = exact.abs() < limit * (1.0 + 1e-6) && got.abs() == f32::MAX;
        return if same || near { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() && exact.abs() > f32::MAX as f64 * (1.0 - 1e-7) {
        return 0.0;
    }
    if exact.abs() < f32::MIN_POSITIVE as f64 && got == 0.0 {
        return 0.0;
    }
    let exponent = (exact.abs().to_bits() >> 52) as i32 - 1023;
    let per_ulp = f64::from_bits(((1023 + 23 - exponent.max(-126)) as u64) << 52);
    if got.is_nan() { f64::INFINITY } else { (got as f64 - exact).abs() * per_ulp }
}

fn worst(isa: Isa, f: Function, xs: &[f32], exact: &[f64]) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for ((y, &e), &x) in eval(isa, f, xs).into_iter().zip(exact).zip(xs) {
        let error = ulp_error(y, e);
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn check(f: Function, xs: &[f32]) {
    let exact: Vec<f64> = xs.iter().map(|&x| f.exact(x as f64)).collect();
    let (_, fused, plain) = BOUNDS.into_iter().find(|b| b.0 == f).unwrap();
    for isa in Isa::available() {
        let (error, x) = worst(isa, f, xs, &exact);
        println!("{f:?} {isa:?}: {error:.3} ulp at {x:e}");
        let bound = if isa == Isa::Scalar { plain } else { fused };
        assert!(error <= bound, "{f:?} on {isa:?}: {error} ulp at {x:e} ({:#x})", x.to_bits());
    }
}

fn sample(f: Function) -> Vec<f32> {
    const POINTS: u32 = 400_000;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (a, b) = f.range();
    let even = (0..POINTS).map(|i| a + (b - a) * ((i as f32 + 0.5) / POINTS as f32));
    // Bit patterns spread over all exponents, then the neighbourhoods of 0 and 1.
    let bits = (0..POINTS).map(|_| random.float()).collect::<Vec<_>>();
    let near = (0..POINTS / 2).flat_map(|i| [i as f32 * 1e-7, 1.0 - i as f32 * 1e-6, -(i as f32) * 1e-7]);
    even.chain(bits).chain(near).filter(|&x| f.in_domain(x)).collect()
}

#[test]
fn errors_are_within_their_bounds() {
    for (f, ..) in BOUNDS {
        check(f, &sample(f));
    }
}

/// Every 13th bit pattern: `cargo test --release -- --ignored nearly_every`.
#[test]
#[ignore = "takes minutes"]
fn errors_are_within_their_bounds_nearly_everywhere() {
    const STRIDE: u32 = 13;
    const CHUNK: u32 = 1 << 20;
    let points = u32::MAX / STRIDE;
    let mut failed = false;
    for (f, fused, plain) in BOUNDS {
        let mut worst_of = vec![(0.0, 0.0); Isa::available().count()];
        for start in (0..points).step_by(CHUNK as usize) {
            let patterns = (start..points.min(start + CHUNK)).map(|i| f32::from_bits(i * STRIDE));
            let xs: Vec<f32> = patterns.filter(|&x| f.in_domain(x)).collect();
            let exact: Vec<f64> = xs.iter().map(|&x| f.exact(x as f64)).collect();
            for (isa, w) in Isa::available().zip(&mut worst_of) {
                let new = worst(isa, f, &xs, &exact);
                if new.0 > w.0 {
                    *w = new;
                }
            }
        }
        for (isa, (error, x)) in Isa::available().zip(worst_of) {
            println!("{f:?} {isa:?}: {error:.4} ulp at {x:e}");
            failed |= error > if isa == Isa::Scalar { plain } else { fused };
        }
    }
    assert!(!failed);
}

#[test]
fn special_values() {
    let nan = f32::NAN;
    let odd_nan = f32::from_bits(0x7fc0_01ff);
    let cases: [(Function, &[(f32, f32)]); 7] = [
        (
            Exp,
            &[(0.0, 1.0), (-0.0, 1.0), (-INF, 0.0), (INF, INF), (89.0, INF), (-88.0, 0.0), (f32::MAX, INF)],
        ),
        (Exp, &[(f32::MIN, 0.0), (-1e9, 0.0), (-1e4, 0.0), (1e9, INF), (1e-45, 1.0)]),
        (ExpM1, &[(0.0, 0.0), (-0.0, -0.0), (-INF, -1.0), (INF, INF), (f32::MIN, -1.0), (f32::MAX, INF)]),
        (Ln, &[(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, nan), (-INF, nan), (-1e-45, nan)]),
        (Ln1p, &[(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF), (-1.5, nan), (-INF, nan)]),
        (Tanh, &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (f32::MAX, 1.0), (20.0, 1.0)]),
        (Sigmoid, &[(0.0, 0.5), (INF, 1.0), (-INF, 0.0), (f32::MAX, 1.0), (f32::MIN, 0.0)]),
    ];
    for isa in Isa::available() {
        for (f, pairs) in cases {
            let batch = match f {
                Exp => Some(BatchExp),
                Ln => Some(BatchLn),
                _ => None,
            };
            for (f, &(x, expected)) in
                [Some(f), batch].into_iter().flatten().flat_map(|f| pairs.iter().map(move |p| (f, p)))
            {
                let y = eval(isa, f, &[x])[0];
                let same = y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan();
                assert!(same, "{f:?}({x:e}) on {isa:?} is {y:e}, not {expected:e}");
            }
        }
        for f in [BatchDecay, BatchTail] {
            assert_eq!(eval(isa, f, &[-INF, INF, f32::MAX, f32::MIN, -88.0, 1e9]), [0.0; 6]);
        }
        assert_eq!(eval(isa, BatchDecay, &[0.0, -0.0, 1e-45]), [1.0; 3]);
        assert_eq!(eval(isa, Softplus, &[-INF, INF, f32::MAX, f32::MIN]), [0.0, INF, f32::MAX, 0.0]);
        for (f, ..) in BOUNDS {
            for x in [nan, -nan, odd_nan, f32::from_bits(0x7f80_0001)] {
                assert!(eval(isa, f, &[x])[0].is_nan(), "{f:?}(NaN) on {isa:?}");
            }
        }
    }
}

#[test]
fn tiny_results_keep_their_digits() {
    for isa in Isa::available() {
        for (f, x, expected) in [
            (Tanh, 1e-6, 1e-6),
            (ExpM1, 1e-8, 1e-8),
            (Ln1p, 1e-9, 1e-9),
            (Sigmoid, -80.0, 1.804_851_4e-35),
            (Softplus, -80.0, 1.804_851_4e-35),
            (BatchDecay, 80.0, 1.804_851_4e-35),
            (BatchTail, -80.0, 1.804_851_4e-35),
            (Ln, 1e-40, -92.103_41),
            (BatchLn, 1e-40, -92.103_41),
        ] {
            let y = eval(isa, f, &[x])[0];
            assert!((y / expected - 1.0).abs() < 3e-7, "{f:?}({x}) on {isa:?}: {y:e}");
        }
    }
}

#[test]
fn lanes_do_not_mix() {
    #[derive(Clone)]
    struct Lanes;
    impl Kernel for Lanes {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for lane in 0..S::LANES {
                let mut xs = vec![0.5; S::LANES];
                xs[lane] = f32::NAN;
                // SAFETY: `xs` has a whole vector.
                unsafe { s.store(xs.as_mut_ptr(), math::exp(s, s.load(xs.as_ptr()))) };
                for (i, y) in xs.iter().enumerate() {
                    assert_eq!(y.is_nan(), i == lane);
                }
            }
        }
    }
    on_every_isa(Lanes);
}

#[test]
fn an_unusual_value_leaves_the_rest_of_its_pack_alone() {
    for isa in Isa::available() {
        for n in [1, 7, 63, 64, 65, 200] {
            let plain: Vec<f32> = (0..n).map(|i| 0.25 + i as f32).collect();
            for f in [BatchExp, BatchLn, BatchDecay, BatchTail] {
                let expected = eval(isa, f, &plain);
                for unusual in [f32::NAN, -1.0, -0.0, 0.0, 1e-40, INF, -INF] {
                    let mut xs = plain.clone();
                    xs[n / 2] = unusual;
                    for (i, (y, e)) in eval(isa, f, &xs).iter().zip(&expected).enumerate() {
                        let near = (y - e).abs() <= 3e-7 * e.abs() || y == e;
                        assert!(i == n / 2 || near, "{f:?} on {isa:?}: {y} beside {unusual}, not {e}");
                    }
                }
            }
        }
    }
}

/// Nanoseconds an element on data in the first-level cache.
#[test]
#[ignore = "a measurement: run it in release"]
fn throughput() {
    struct Bench<'a>(Function, &'a [f32; 1024], &'a mut [f32; 1024]);
    impl Kernel for Bench<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (xs, ys) = (self.1.as_ptr(), self.2.as_mut_ptr());
            // One loop a function, so that the choice is not inside it.
            macro_rules! time {
                ($f:path) => {
                    for _ in 0..1000 {
                        let (x, y) = std::hint::black_box((xs, ys));
                        for i in (0..1024).step_by(2 * S::LANES) {
                            let j = i + S::LANES;
                            // Two at a time, as a loss should: one alone waits for its own results.
                            // SAFETY: the length is a multiple of `2 * LANES`.
                            unsafe {
                                let (a, b) = (s.load(x.add(i)), s.load(x.add(j)));
                                let (a, b) = ($f(s, a), $f(s, b));
                                s.store(y.add(i), a);
                                s.store(y.add(j), b);
                            }
                        }
                    }
                };
            }
            match self.0 {
                Exp => time!(math::exp),
                ExpM1 => time!(math::exp_m1),
                Ln => time!(math::ln),
                Ln1p => time!(math::ln_1p),
                Ln1pUnit => time!(math::ln_1p_unit),
                Tanh => time!(math::tanh),
                Sigmoid => time!(math::sigmoid),
                Softplus => time!(math::softplus),
                BatchExp | BatchLn | BatchDecay | BatchTail => {
                    let mut tail = [0.0; 1024];
                    for _ in 0..1000 {
                        let (x, to) = std::hint::black_box((xs, [ys, tail.as_mut_ptr()]));
                        // SAFETY: the length is a multiple of that of a pack.
                        unsafe { batch::apply(s, self.0.batch().unwrap(), x, 1024, to) };
                    }
                }
            }
        }
    }
    let xs: [f32; 1024] = std::array::from_fn(|i| i as f32 / 1024.0 + 1e-3);
    let mut ys = [0.0; 1024];
    for (f, ..) in BOUNDS {
        for isa in Isa::available() {
            let best = (0..20)
                .map(|_| {
                    let start = std::time::Instant::now();
                    isa.dispatch(Bench(f, &xs, &mut ys));
                    start.elapsed().as_secs_f64() * 1e9 / 1024e3
                })
                .fold(f64::INFINITY, f64::min);
            println!("{f:?} {isa:?}: {best:.3} ns");
        }
    }
}

/// `exp_softmax` has a relative bound of its own, and is exact at 0.
#[test]
fn softmax_terms_are_within_their_bound() {
    #[derive(Clone)]
    struct Terms;
    impl Kernel for Terms {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let first = |x: f32| s.reduce_max(math::exp_softmax(s, s.splat(x)));
            for i in 0..400_000 {
                let x = 8.0 - i as f32 * (95.0 / 400_000.0);
                let error = (f64::from(first(x)) / f64::from(x).exp() - 1.0).abs();
                let bound =
                    2e-7 + 2e-8 * f64::from(x.abs()) + if S::FMA { 0.0 } else { 1.3e-7 * f64::from(x.abs()) };
                assert!(error <= bound, "{x}: {error:e} on {}", S::ISA.name());
            }
            assert_eq!(first(0.0), 1.0);
            assert_eq!(first(-INF), 0.0);
            assert_eq!(first(INF), INF);
            assert!(first(f32::NAN).is_nan());
        }
    }
    on_every_isa(Terms);
}

/// `exp_over` keeps its digits far from 0 and far below the power.
#[test]
fn exponentials_over_a_power_keep_their_digits() {
    #[derive(Clone)]
    struct Over;
    impl Kernel for Over {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for top in [0.0f32, 0.3, -2.75, 9.7, 88.0, -301.3, 3e4, -65_535.0] {
                let power = math::PowerOver::near(s, s.splat(top));
                let first = |x: f32| s.reduce_max(s.exp_over([s.splat(x); 4], &power)[0]);
                let one = f64::from(first(top));
                assert!((0.7..1.42).contains(&one), "{top}: {one}");
                for i in 0..20_000 {
                    let x = top - i as f32 * 0.0043;
                    let exact = (f64::from(x) - f64::from(top)).exp();
                    let error = (f64::from(first(x)) / one / exact - 1.0).abs();
                    assert!(error <= 5e-7, "{x} below {top}: {error:e} on {}", S::ISA.name());
                }
                assert!(first(top - 100.0) < 1e-37 && first(-INF) < 1e-37, "{top}");
                assert!(first(f32::NAN).is_nan());
            }
        }
    }
    on_every_isa(Over);
}
