//! `lk_<name>_forward_backward` of the losses that others are modelled on, rows of logits and element by element, on small
//! and medium sizes and all dtypes; `compare.py` has all entries:
//!
//!     cargo bench                              # everything, about a minute
//!     cargo bench --bench losses -- z_loss     # what has this in its name
//!
//! Throughput counts the bytes that must move: inputs read once, gradients written once. What the machine
//! could do, other libraries and sizes beyond the caches: `compare.py`.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::{bf16, f16};
use losskit::abi::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::Duration;

const DTYPES: [(&str, lk_dtype, usize); 3] =
    [("f32", LK_DTYPE_F32, 4), ("f16", LK_DTYPE_F16, 2), ("bf16", LK_DTYPE_BF16, 2)];
const LOGITS: [[usize; 2]; 4] = [[1, 10], [65536, 10], [4096, 1000], [64, 32000]];
const ELEMENTS: [[usize; 2]; 2] = [[1, 10], [1024, 1024]];

/// Memory for elements of any type.
struct Buffer(Vec<u64>);

impl Buffer {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes.div_ceil(8)])
    }

    /// Values between -4 and 4, the same in every run.
    fn random(count: usize, dtype: lk_dtype, mut state: u64) -> Self {
        let mut buffer = Self::new(4 * count);
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 21) as f32 - 4.0
        };
        let start = buffer.write();
        for i in 0..count {
            let x = next();
            unsafe {
                match dtype {
                    LK_DTYPE_F32 => start.cast::<f32>().add(i).write(x),
                    LK_DTYPE_F16 => start.cast::<f16>().add(i).write(f16::from_f32(x)),
                    _ => start.cast::<bf16>().add(i).write(bf16::from_f32(x)),
                }
            }
        }
        buffer
    }

    fn read(&self) -> *const c_void {
        self.0.as_ptr().cast()
    }

    fn write(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// Arguments of a call.
struct Call {
    ctx: *const lk_context,
    dtype: lk_dtype,
    rows: usize,
    columns: usize,
    a: *const c_void,
    b: *const c_void,
    labels: *const i64,
    loss: *mut f32,
    gradient: *mut c_void,
}

/// Two-dimensional float inputs `a` and, where `reads` is 2, `b`; the gradient of `a`.
fn measure(
    group: &mut BenchmarkGroup<WallTime>,
    shapes: &[[usize; 2]],
    reads: usize,
    labelled: bool,
    call: impl Fn(&Call) -> lk_status,
) {
    let mut ctx = null_mut();
    assert_eq!(unsafe { lk_context_create(&mut ctx, null()) }, LK_STATUS_OK);
    for (dtype_name, dtype, width) in DTYPES {
        for &[rows, columns] in shapes {
            let n = rows * columns;
            let (a, b) = (Buffer::random(n, dtype, 1), Buffer::random(n, dtype, 2));
            let labels: Vec<i64> = (0..rows).map(|r| (r * 7919 % columns) as i64).collect();
            let mut gradient = Buffer::new(n * width);
            let mut loss = 0f32;
            let arguments = Call {
                ctx,
                dtype,
                rows,
                columns,
                a: a.read(),
                b: b.read(),
                labels: labels.as_ptr(),
                loss: &mut loss,
                gradient: gradient.write(),
            };
            let bytes = (reads + 1) * n * width + if labelled { 8 * rows } else { 0 };
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::new(dtype_name, format!("{rows}x{columns}")), |bencher| {
                bencher.iter(|| assert_eq!(call(&arguments), LK_STATUS_OK));
            });
        }
    }
    unsafe { lk_context_destroy(ctx) };
}

/// Entries on logits and labels.
fn labelled(c: &mut Criterion, name: &str, call: impl Fn(&Call) -> lk_status) {
    measure(&mut c.benchmark_group(name), &LOGITS, 1, true, call);
}

/// Entries on predictions and targets.
fn elements(c: &mut Criterion, name: &str, call: impl Fn(&Call) -> lk_status) {
    measure(&mut c.benchmark_group(name), &ELEMENTS, 2, false, call);
}

fn basics(c: &mut Criterion) {
    elements(c, "bce_with_logits", |x| unsafe {
        lk_bce_with_logits_forward_backward(
            x.ctx,
            null(),
            x.dtype,
            x.rows,
            x.columns,
            x.a,
            x.b,
            null(),
            null(),
            null(),
            x.loss,
            x.gradient,
            null_mut(),
            null_mut(),
            0,
        )
    });
    elements(c, "mse_loss", |x| unsafe {
        lk_mse_loss_forward_backward(
            x.ctx,
            null(),
            x.dtype,
            x.rows * x.columns,
            x.a,
            x.b,
            null(),
            x.loss,
            x.gradient,
            null_mut(),
            null_mut(),
            0,
        )
    });
}

fn classification(c: &mut Criterion) {
    labelled(c, "comp_sum_cross_entropy", |x| unsafe {
        lk_comp_sum_cross_entropy_forward_backward(
            x.ctx,
            null(),
            x.dtype,
            x.rows,
            x.columns,
            0,
            x.a,
            x.labels,
            null(),
            x.loss,
            x.gradient,
            null_mut(),
            0,
        )
    });
    labelled(c, "token_cross_entropy", |x| unsafe {
        lk_token_cross_entropy_forward_backward(
            x.ctx,
            null(),
            x.dtype,
            x.rows,
            x.columns,
            0,
            x.a,
            x.labels,
            null(),
            null(),
            x.loss,
            x.gradient,
            null_mut(),
            0,
        )
    });
    labelled(c, "z_loss", |x| unsafe {
        lk_z_loss_forward_backward(
            x.ctx,
            null(),
            x.dtype,
            x.rows,
            x.columns,
            0,
            x.a,
            x.labels,
            null(),
            x.loss,
            x.gradient,
            null_mut(),
            0,
        )
    });
}

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group!(name = losses; config = brief(); targets = basics, classification);
criterion_main!(losses);
