use super::*;
use crate::cpu::workspace::{Size, Workspace};

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn with_workspace(bytes: u64, work: impl FnOnce(&mut Workspace)) {
    let mut memory = vec![MaybeUninit::<u8>::uninit(); bytes as usize + 64];
    let start = memory.as_ptr().addr().next_multiple_of(64) - memory.as_ptr().addr();
    work(&mut Workspace::new(&mut memory[start..]));
}

struct Sums<'a>(&'a LogSums<'a>, &'a LogSums<'a>);

impl Visit for Sums<'_> {
    #[inline(always)]
    fn visit<S: Simd>(&self, s: S, tile: &Tile) {
        LogSums::add_tile(s, tile, self.0, Some((self.1, 0)));
    }
}

#[test]
fn log_sums_of_rows_and_columns() {
    // The second has rows and columns far apart, which need exponentials of their own.
    for (spread, n, m) in [(1.0, 197, 1210), (400.0, 197, 1210), (1.0, 8203, 60), (400.0, 8203, 60)] {
        let d = 5;
        let (mut a, mut b) = (values(n * d, 1), values(m * d, 2));
        a.chunks_mut(d).enumerate().for_each(|(i, row)| row.iter_mut().for_each(|x| *x *= (i % 7) as f32));
        b.chunks_mut(d).for_each(|row| row[0] *= spread);
        let size = LogSums::size(LogSums::size(Size::default(), n as u64, true), m as u64, false);
        with_workspace(size.bytes(), |work| {
            let (rows, columns) = (LogSums::new(n, true, work), LogSums::new(m, false, work));
            let (a, b) = (Matrix::of(&a, n, d, d), Matrix::of(&b, m, d, d));
            Similarities::new(a, b, 2.0).sweep(&Cpu::new(2), None, &Sums(&rows, &columns));
            let s = similarities(&a, &b, 2.0);
            for i in 0..n {
                let (sum, mean) = log_sum((0..m).map(|j| s[i * m + j]));
                assert!((rows.log_sum(i) - sum).abs() < 2e-6 * (1.0 + sum.abs()), "row {i}");
                assert!(
                    (rows.mean(i) - mean).abs() < 4e-6 * (1.0 + mean.abs() * mean.abs()),
                    "mean of row {i}"
                );
            }
            for j in 0..m {
                let (sum, _) = log_sum((0..n).map(|i| s[i * m + j]));
                assert!((columns.log_sum(j) - sum).abs() < 2e-6 * (1.0 + sum.abs()), "column {j}");
            }
        });
    }
}

fn similarities(a: &Matrix, b: &Matrix, alpha: f32) -> Vec<f64> {
    let mut s = vec![0.0f32; a.rows * b.rows];
    let isa = crate::cpu::simd::Isa::detect();
    multiply(isa, alpha, *a, b.t(), 0.0, MatrixMut::of(&mut s, a.rows, b.rows, b.rows));
    s.into_iter().map(f64::from).collect()
}

/// log sum exp, and the mean under the softmax.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.clone().map(|x| (x - top).exp()).sum();
    (top + sum.ln(), values.map(|x| x * (x - top).exp()).sum::<f64>() / sum)
}

struct Keep;
impl Visit for Keep {
    #[inline(always)]
    fn visit<S: Simd>(&self, _: S, _: &Tile) {}
}

#[test]
fn gradients_with_the_similarities_as_weights() {
    // W = S = A B': grad A = A B' B, grad B = B A' A.
    let (n, m, d) = (300, 170, 9);
    let (a, b) = (values(n * d, 3), values(m * d, 4));
    let product = |x: &[f32], y: &[f32], rows: usize, others: usize| {
        let mut out = vec![0.0f64; rows * d];
        for i in 0..rows {
            for j in 0..others {
                let s: f64 = (0..d).map(|k| f64::from(x[i * d + k]) * f64::from(y[j * d + k])).sum();
                (0..d).for_each(|k| out[i * d + k] += s * f64::from(y[j * d + k]));
            }
        }
        out
    };
    let close = |x: &[f32], y: &[f64]| x.iter().zip(y).all(|(&x, &y)| (f64::from(x) - y).abs() < 1e-3);
    for threads in [1, 3] {
        let cpu = Cpu::new(threads);
        let (mut grad_a, mut grad_b) = (vec![0.0; n * d], vec![0.0; m * d]);
        let all = Similarities::new(Matrix::of(&a, n, d, d), Matrix::of(&b, m, d, d), 1.0);
        all.gradients(&cpu, None, &Keep, Some(&mut grad_a), Some(&mut grad_b));
        assert!(close(&grad_a, &product(&a, &b, n, m)) && close(&grad_b, &product(&b, &a, m, n)));
        let mut gradient = vec![0.0; n * d];
        let half = Similarities::symmetric(Matrix::of(&a, n, d, d), 1.0);
        half.gradients(&cpu, None, &Keep, Some(&mut gradient), None);
        assert!(close(&gradient, &product(&a, &a, n, n)));
    }
}

#[test]
fn kept_tiles_give_the_same_gradients() {
    struct Halve(f32);
    impl Visit for Halve {
        #[inline(always)]
        fn visit<S: Simd>(&self, _: S, tile: &Tile) {
            for row in tile.rows.clone() {
                for column in tile.columns.clone() {
                    let old = tile.replace(row, column, 0.0);
                    tile.replace(row, column, old * self.0);
                }
            }
        }
    }
    let (n, m, d) = (300, 170, 80);
    let (a, b) = (values(n * d, 3), values(m * d, 4));
    let (ma, mb) = (Matrix::of(&a, n, d, d), Matrix::of(&b, m, d, d));
    for all in [Similarities::new(ma, mb, 1.5), Similarities::symmetric(ma, 1.5)] {
        let others = (!all.schedule.symmetric).then_some(m as u64);
        let size = Similarities::tiles_size(Size::default(), n as u64, others, d as u64);
        with_workspace(size.bytes(), |work| {
            let gradients = |tiles, factor| {
                let (mut grad_a, mut grad_b) = (vec![0.0; n * d], vec![0.0; m * d]);
                let of_b = others.map(|_| &mut grad_b[..]);
                all.gradients(&Cpu::new(2), tiles, &Halve(factor), Some(&mut grad_a), of_b);
                (grad_a, grad_b)
            };
            let tiles = all.tiles(work);
            assert!(tiles.is_some());
            all.sweep(&Cpu::new(2), tiles, &Halve(0.5));
            assert_eq!(gradients(tiles, 0.5), gradients(None, 0.25));
        });
    }
}

/// Prints what the softmax adds to the products: cargo test --release -- --ignored cost_beside --nocapture
#[test]
#[ignore = "a measurement"]
fn cost_beside_the_products() {
    let (n, d) = (8192, 256);
    let cpu = Cpu::new(1);
    let (a, b) = (values(n * d, 5), values(n * d, 6));
    let (ma, mb) = (Matrix::of(&a, n, d, d), Matrix::of(&b, n, d, d));
    let (mut grad_a, mut grad_b) = (vec![0.0f32; n * d], vec![0.0f32; n * d]);
    let log_sums = vec![9.0f32; n];
    let weights = vec![1e-4f32; n];
    let all = Similarities::new(ma, mb, 0.1);
    let mut best = [f64::INFINITY; 5];
    for _ in 0..4 {
        let mut measure = |which: usize, work: &mut dyn FnMut()| {
            let start = cpu_time();
            work();
            best[which] = best[which].min(cpu_time() - start);
        };
        measure(0, &mut || all.sweep(&cpu, None, &Keep));
        measure(1, &mut || all.gradients(&cpu, None, &Keep, Some(&mut grad_a), Some(&mut grad_b)));
        let size = LogSums::size(LogSums::size(Size::default(), n as u64, false), n as u64, false);
        with_workspace(size.bytes(), |work| {
            let (rows, columns) = (LogSums::new(n, false, work), LogSums::new(n, false, work));
            measure(2, &mut || all.sweep(&cpu, None, &Sums(&rows, &columns)));
        });
        struct Both<'a>(Side<'a>);
        impl Visit for Both<'_> {
            #[inline(always)]
            fn visit<S: Simd>(&self, s: S, tile: &Tile) {
                softmax_weights(s, tile, self.0, Some(self.0), 0.0);
            }
        }
        let both = Both(Side { log_sums: &log_sums, weights: &weights });
        measure(3, &mut || all.gradients(&cpu, None, &both, Some(&mut grad_a), Some(&mut grad_b)));
        // Rows of C as long as B: what a caller of matrix products would do.
        let mut c = vec![0.0f32; 512 * n];
        measure(4, &mut || {
            for i in (0..n).step_by(512) {
                let out = MatrixMut::of(&mut c, 512, n, n);
                multiply(cpu.isa, 0.1, ma.block(i..i + 512, 0..d), mb.t(), 0.0, out);
            }
        });
    }
    let [s, g, forward, backward, plain] = best.map(|t| t * 1e3);
    let rate = 2.0 * (n * n * d) as f64 / plain / 1e6;
    println!("one product {plain:.1} ms ({rate:.0} GFLOP/s), in tiles {s:.1}; with two gradients {g:.1}");
    println!("statistics {forward:.1}: {:.2} x; weights {backward:.1}: {:.2} x", forward / s, backward / g);
    println!(
        "all: {:.3} x the tiles' products, {:.3} x 4 products",
        (forward + backward) / (s + g),
        (forward + backward) / (4.0 * plain)
    );
}

fn cpu_time() -> f64 {
    // SAFETY: writes to `t` only.
    unsafe {
        let mut t: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t);
        t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
    }
}
