//! loss = log mean k(a, a) + log mean k(b, b) - 2 log mean k(a, b): the counts cancel, sums remain.

use crate::cpu::Cpu;
use crate::cpu::gram::{self, LogSum, LogSums, Output, Pairs, Softmax, Space, Term};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{Device, bytes_of, gram as tiles};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::cs_divergence::{Args, Call};
use crate::registry::{Floats, FloatsMut, Result};

/// log sum k(a, a), log sum k(b, b), log sum k(a, b).
type Sums = [LogSum; 3];

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let sums = if call.n == 0 || call.m == 0 { [LogSum::ZERO; 3] } else { sums(cpu, call) };
    if let Some(saved) = &mut call.saved_out {
        for (place, sum) in saved.chunks_exact_mut(2).zip(sums) {
            place.copy_from_slice(&[sum.least, sum.sum]);
        }
    }
    let [aa, bb, ab] = sums;
    if let Some(loss) = &mut call.loss {
        loss[0] = (aa.get() + bb.get() - 2.0 * ab.get()) as f32;
    }
    let (a, b) = ((call.a, call.n), (call.b, call.m));
    gradient(cpu, call, call.grad_a, [a, b], [aa, ab]);
    gradient(cpu, call, call.grad_b, [b, a], [bb, ab]);
    Ok(())
}

fn sums(cpu: &Cpu, call: &mut Call) -> Sums {
    if let Some(saved) = call.saved_in {
        return [0, 2, 4].map(|i| LogSum { least: saved[i], sum: saved[i + 1] });
    }
    let (a, b) = ((call.a, call.n), (call.b, call.m));
    let (bandwidth, room) = (call.opts.bandwidth, 2 * call.n.max(call.m));
    let of_rows = Workspace::new(call.workspace).take(room, 0f32);
    [(a, a), (b, b), (a, b)].map(|((x, rows), (y, columns))| {
        let spaces = [Space::gaussian(x, y, bandwidth)];
        let pairs = Pairs { rows, columns, spaces: &spaces, skip_self: false, exact: false };
        gram::row_log_sums(cpu, &pairs, &mut of_rows[..2 * rows]);
        LogSums::new(&of_rows[..2 * rows]).total()
    })
}

/// The gradient of x, given log sum k(x, x) and log sum k(x, y).
fn gradient(
    cpu: &Cpu,
    call: &Call,
    to: Option<FloatsMut>,
    [x, y]: [(Floats, usize); 2],
    [own, cross]: [LogSum; 2],
) {
    let Some(to) = to else { return };
    let (h, g) = (call.opts.bandwidth, call.grad_loss.map_or(1.0, |g| f64::from(g[0])));
    let spaces = [[Space::gaussian(x.0, x.0, h)], [Space::gaussian(x.0, y.0, h)]];
    let term = |i: usize, columns, factor, log_sum| Term {
        pairs: Pairs { rows: x.1, columns, spaces: &spaces[i], skip_self: false, exact: false },
        weights: Softmax { factor, log_sum },
    };
    let terms = [term(0, x.1, -1.0, own), term(1, y.1, 1.0, cross)];
    // Nothing is drawn to an empty set, nor driven apart.
    let terms = if y.1 == 0 { &terms[..0] } else { &terms[..] };
    gram::gradient(cpu, x.1, terms, &[Output { space: 0, factor: (2.0 * g / h / h) as f32, to }]);
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f32>(a.n.max(a.m).saturating_mul(2)).bytes()
}

/// Mirrors kernels/information/cs_divergence.cuh.
#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct LossArgs {
    sums: *mut f32,
    loss: *mut f32,
    empty: i32,
}

/// The workspace: the three sums, then what a kernel at a time needs.
#[cfg(gpu)]
const SUMS_BYTES: usize = 256;

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let given = pass == Pass::Backward && !a.saved.is_null();
    let sums = if a.saved.is_null() { a.workspace.cast::<f32>() } else { a.saved };
    let workspace = a.workspace.wrapping_byte_add(SUMS_BYTES);
    let (of_a, of_b) = ((a.a, a.a_stride), (a.b, a.b_stride));
    let pairs = |rows, columns, x, y| tiles::Pairs {
        rows,
        columns,
        spaces: [tiles::Space::gaussian(x, y, a.dims, a.opts.bandwidth), tiles::Space::NONE],
        n_spaces: 1,
        skip_self: 0,
    };
    let [aa, bb] = [pairs(a.n, a.n, of_a, of_a), pairs(a.m, a.m, of_b, of_b)];
    let [ab, ba] = [pairs(a.n, a.m, of_a, of_b), pairs(a.m, a.n, of_b, of_a)];
    let empty = a.n == 0 || a.m == 0;
    if !given {
        if !empty {
            for (i, pairs) in [&aa, &bb, &ab].into_iter().enumerate() {
                tiles::total_log_sum(device, pairs, a.dtype, workspace, sums.wrapping_add(2 * i))?;
            }
        }
        let loss = if pass.forward() { a.loss } else { std::ptr::null_mut() };
        let args = LossArgs { sums, loss, empty: i32::from(empty) };
        device.launch("cs_divergence_loss", [1, 1, 1], [32, 1, 1], 0, unsafe { bytes_of(&args) })?;
    }
    if !pass.backward() {
        return Ok(());
    }
    let sum = |i: usize| sums.wrapping_add(2 * i).cast_const();
    let gradient = |gradient, stride, own: tiles::Pairs, cross: tiles::Pairs, i| {
        let constants = |i| [sum(i), std::ptr::null(), std::ptr::null(), std::ptr::null()];
        let terms = [
            tiles::Term { pairs: own, constants: constants(i), factor: -1.0 },
            tiles::Term { pairs: cross, constants: constants(2), factor: 1.0 },
        ];
        let (h, grad_loss, dtype) = (a.opts.bandwidth, a.grad_loss, a.dtype);
        let output =
            tiles::Output { space: 0, gradient, stride, grad_loss, factor: 2.0 / h / h, dtype, workspace };
        let terms = if empty { &terms[..0] } else { &terms[..] };
        tiles::gradient(device, "cs_divergence_gradient", (own.rows, a.dims), terms, &output)
    };
    if !a.grad_a.is_null() {
        gradient(a.grad_a, a.a_stride, aa, ab, 0)?;
    }
    if !a.grad_b.is_null() {
        gradient(a.grad_b, a.b_stride, bb, ba, 1)?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let sums = [(a.n, a.n), (a.m, a.m), (a.n, a.m)].map(|(n, m)| tiles::sums_bytes(n, m));
    let gradients = [a.n, a.m].map(|rows| tiles::gradient_bytes(rows, a.n.max(a.m), a.dims));
    sums.into_iter().chain(gradients).fold(0, u64::max).saturating_add(SUMS_BYTES as u64)
}
