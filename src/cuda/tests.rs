//! The emulator itself: what it promises to kernels, and how it reports kernels that are wrong.

use super::emulator::Emulator;
use super::{CudaError, Device, FLAG_LABEL, bytes_of, elements, rows};
use crate::registry::Reduction;

#[repr(C)]
#[derive(Clone, Copy)]
struct Args {
    out: *mut u64,
    n: u64,
}

fn launch(
    kernel: &str,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    out: &mut [u64],
    n: u64,
) -> super::Result<()> {
    let args = Args { out: out.as_mut_ptr(), n };
    // SAFETY: a struct of a pointer and an integer.
    Emulator::new().launch(kernel, grid, block, shared, unsafe { bytes_of(&args) })
}

#[test]
fn indices() {
    let mut out = vec![u64::MAX; 2 * 3 * 2 * 4 * 5 * 3];
    let n = out.len() as u64 - 1;
    launch("selftest_indices", [2, 3, 2], [4, 5, 3], 0, &mut out, n).unwrap();
    assert!(out[..n as usize].iter().enumerate().all(|(i, &x)| x == (i * i) as u64));
    assert_eq!(out[n as usize], u64::MAX);
}

#[test]
fn shared_memory_and_barriers() {
    for threads in [1u32, 2, 31, 33, 256, 1024] {
        let mut out = vec![0; 3 * threads as usize];
        launch("selftest_reverse", [3, 1, 1], [threads, 1, 1], 8 * threads, &mut out, 0).unwrap();
        for (i, &x) in out.iter().enumerate() {
            let (block, t) = (i as u64 / u64::from(threads), i as u64 % u64::from(threads));
            let first = block * 10000 + 2;
            assert_eq!(x, (first + t) + (first + u64::from(threads) - 1));
        }
    }
}

fn expected_shuffle(t: u64) -> u64 {
    let (lane, first) = (t % 32, t / 32 * 32);
    if (t / 32).is_multiple_of(2) {
        return (first..first + 32).sum();
    }
    let down = if lane + 3 < 32 { t + 3 } else { t };
    let up = if lane % 16 >= 5 { t - 5 } else { t };
    // Bit 3 leaves a segment of 8 lanes: towards a higher segment the lane keeps its own value.
    let segment = if lane & 8 == 0 { t } else { t ^ 8 };
    let half = if lane < 16 { lane ^ 1 } else { 0 };
    down + 1000 * up + 1_000_000 * (first + 7) + 1_000_000_000 * segment + half * 1_000_000_000_000
}

#[test]
fn shuffles() {
    let mut out = vec![0; 256];
    launch("selftest_shuffles", [2, 1, 1], [128, 1, 1], 0, &mut out, 0).unwrap();
    for (i, &x) in out.iter().enumerate() {
        assert_eq!(x, expected_shuffle(i as u64 % 128), "thread {i}");
    }
}

#[test]
fn tensor_cores() {
    let mut out = vec![0; 32 * 8];
    // Halves of a are exact in eleven bits up to 1024; an eighth is cut off above 256.
    for eighths in [0, 1] {
        launch("selftest_tensor", [1; 3], [32, 1, 1], 0, &mut out, eighths).unwrap();
        for (n, &x) in out.iter().enumerate() {
            let (i, j) = (n as u64 / 8, n as u64 % 8);
            let a = |k: u64| {
                let a = 8 * (1 + i + 100 * k) + eighths;
                if a >= 1 << 11 { a & !1 } else { a }
            };
            assert_eq!(x, (0..8).map(|k| a(k) * (1 + j * k)).sum(), "{i}, {j}");
        }
    }
}

#[test]
fn wrong_kernels_end_as_errors() {
    let mut out = vec![0; 64];
    for n in 0..5 {
        let error = launch("selftest_divergent", [4, 1, 1], [64, 1, 1], 0, &mut out, n).unwrap_err();
        let CudaError::Internal(text) = &error else { panic!("{error}") };
        assert!(text.contains(if n >= 3 { "masks" } else { "not reached by all" }), "{n}: {text}");
        // The fibres left behind do not disturb the next launch.
        launch("selftest_divergent", [4, 1, 1], [64, 1, 1], 0, &mut out, 9).unwrap();
        assert!(out.iter().enumerate().all(|(i, &x)| x == i as u64));
        shuffles();
    }
}

#[test]
fn bad_launches_are_refused() {
    let mut out = vec![0; 1];
    for (grid, block, shared) in [
        ([0, 1, 1], [32, 1, 1], 0),
        ([1, 1, 1], [0, 1, 1], 0),
        ([1, 1, 1], [1025, 1, 1], 0),
        ([1, 65536, 1], [32, 1, 1], 0),
        ([1, 1, 1], [32, 1, 1], 1 << 20),
    ] {
        let error = launch("selftest_indices", grid, block, shared, &mut out, 0).unwrap_err();
        assert!(error.to_string().contains("out of range"), "{error}");
    }
    let error = launch("no_such", [1; 3], [1; 3], 0, &mut out, 0).unwrap_err();
    assert!(error.to_string().contains("no kernel is named no_such"));
}

#[test]
fn threads_launch_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    shared_memory_and_barriers();
                    shuffles();
                }
            });
        }
    });
}

#[test]
fn flags_are_taken_once() {
    let device = Emulator::new();
    // SAFETY: the flag word of a live device.
    unsafe { *device.flags() |= FLAG_LABEL };
    assert_eq!(device.take_flags(), Ok(FLAG_LABEL));
    assert_eq!(device.take_flags(), Ok(0));
}

#[test]
fn random_numbers_are_those_of_the_cpu() {
    use crate::cpu::philox::Philox;
    use crate::cpu::simd::Isa;
    const N: usize = 2048;
    for offset in [0, 5, u64::MAX - 100] {
        let mut out = vec![0; 3 * N];
        launch("selftest_philox", [N as u32 / 256, 1, 1], [256, 1, 1], 0, &mut out, offset).unwrap();
        let from = Philox::new(0x1234_5678_90ab_cdef, offset);
        let (mut words, mut uniforms, mut normals) = (vec![0; N], vec![0.0; N], vec![0.0; N]);
        from.words(Isa::detect(), 0, &mut words);
        from.uniforms(Isa::detect(), 0, &mut uniforms);
        from.normals(Isa::detect(), 0, &mut normals);
        for i in 0..N {
            let cpu = [words[i], uniforms[i].to_bits(), normals[i].to_bits()].map(u64::from);
            assert_eq!(out[3 * i..][..3], cpu, "draw {i}");
        }
    }
}

#[test]
fn launch_shapes() {
    for classes in [0, 1, 2, 16, 17, 64, 1000, 1024, 1025, 5000, 32768, 128256, 1 << 33] {
        for rows in [1, 2, 3, 7, 64, 1000, 1 << 22, 1 << 40] {
            let (grid, block) = rows::shape(rows, classes);
            let (x, y) = (u64::from(block[0]), u64::from(block[1]));
            assert!(x.is_power_of_two() && x * y % 32 == 0 && x * y <= 1024, "{block:?}");
            assert!(x <= 32 || y == 1, "a block works on one wide row");
            assert!(grid[0] >= 1 && (u64::from(grid[0]) == rows.div_ceil(y) || grid[0] == 0x7fff_ffff));
        }
    }
    assert_eq!(rows::workspace_size(1000, 10, Reduction::None, false), 0);
    assert_eq!(rows::workspace_size(1000, 10, Reduction::Mean, false), 256 + 4096);
    assert_eq!(elements::workspace_size(1000, Reduction::Mean), 0);
}
