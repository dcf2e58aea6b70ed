//! What cannot be seen from outside: the cost beside the matrix products.

use super::*;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply};
use crate::cpu::storage;
use std::mem::MaybeUninit;

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0; n];
    crate::cpu::philox::Philox::new(seed, 0).normals(Isa::detect(), 0, &mut out);
    out
}

/// Seconds that this thread has computed: other programs count for little.
fn busy() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Forward and backward against the matrix products they need, three or, where logits are not kept, four, in turns on one thread; smallest times.
///
///     cargo test --release --lib -- --ignored --nocapture cost_beside
#[test]
#[ignore = "a measurement"]
fn cost_beside_the_matrix_products() {
    let cpu = Cpu::new(1);
    for (n, d, c) in [(1024, 512, 32_000), (1024, 2048, 8192), (4096, 256, 10_000)] {
        for dtype in [DType::F32, DType::F16, DType::Bf16] {
            let of = |v: Vec<f32>| match dtype {
                DType::F32 => bytemuck::cast_slice::<_, u8>(&v).to_vec(),
                _ => v
                    .iter()
                    .flat_map(|&x| {
                        let mut bytes = [0; 2];
                        // SAFETY: two bytes.
                        unsafe { storage::write_one(dtype, x, bytes.as_mut_ptr()) };
                        bytes
                    })
                    .collect(),
            };
            let (x, w) = (of(values(n * d, 1)), of(values(c * d, 2).iter().map(|v| v * 0.05).collect()));
            let (mut dx, mut dw) = (vec![0u8; x.len()], vec![0u8; w.len()]);
            let labels: Vec<i64> = (0..n).map(|i| (i * 7919 % c) as i64).collect();
            let code = dtype as i32;
            // SAFETY: the buffers have these sizes.
            let (x, w, gradients) = unsafe {
                use crate::registry::views::{floats, floats_mut};
                (
                    floats(x.as_ptr().cast(), code, n * d, d, d),
                    floats(w.as_ptr().cast(), code, c * d, d, d),
                    Gradients {
                        x: Some(floats_mut(dx.as_mut_ptr().cast(), code, n * d, d, d)),
                        weight: Some(floats_mut(dw.as_mut_ptr().cast(), code, c * d, d, d)),
                        bias: None,
                    },
                )
            };
            let loss = CrossEntropy::plain(c);
            let (bias, dropout, ignore_index) = (None, None, None);
            let problem = Problem { x, weight: w, bias, labels: &labels, ignore_index, dropout, loss: &loss };
            let bytes = workspace_bytes(n as u64, 1, d as u64, c as u64, dtype == DType::F32);
            let mut workspace = vec![MaybeUninit::<u8>::uninit(); bytes as usize + 64];
            let skip = workspace.as_ptr().align_offset(64);
            let mut tile = vec![0f32; n * c];
            let (mut dx_f32, mut dw_f32) = (vec![0f32; n * d], vec![0f32; c * d]);
            let (mut fused, mut products) = (f64::MAX, f64::MAX);
            for _ in 0..5 {
                let start = busy();
                let mut value = [0.0];
                LinearRows::new(problem, Workspace::new(&mut workspace[skip..])).run(
                    &cpu,
                    Wanted {
                        pass: Pass::ForwardBackward,
                        reduction: Reduction::Mean,
                        loss: Some(&mut value),
                        saved_in: None,
                        saved_out: None,
                        grad_loss: None,
                        gradients,
                    },
                );
                fused = fused.min(busy() - start);
                let (x, w) = (Matrix::from_floats(x), Matrix::from_floats(w));
                let start = busy();
                for _ in 0..if Tilings::new(n, c, dtype == DType::F32).kept.is_some() { 1 } else { 2 } {
                    multiply(cpu.isa, 1.0, x, w.t(), 0.0, MatrixMut::of(&mut tile, n, c, c));
                }
                let g = Matrix::of(&tile, n, c, c);
                multiply(cpu.isa, 1.0, g, w, 0.0, MatrixMut::of(&mut dx_f32, n, d, d));
                multiply(cpu.isa, 1.0, g.t(), x, 0.0, MatrixMut::of(&mut dw_f32, c, d, d));
                products = products.min(busy() - start);
            }
            println!(
                "{n} x {d} into {c}, {dtype:?}: {:.0} ms, products {:.0} ms, ratio {:.3}; workspace {:.1} MB",
                fused * 1e3,
                products * 1e3,
                fused / products,
                bytes as f64 / 1e6
            );
        }
    }
}
