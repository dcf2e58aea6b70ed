//! entropy = -(1/n) sum_i [log sum_j exp(-E_ij) - log n].

use crate::cpu::Cpu;
use crate::cpu::gram::{self, CONSTANTS, LogSums, Output, Pairs, Space, Term, Weights, softmax};
use crate::cpu::simd::Simd;
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{Device, bytes_of, gram as tiles};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::Result;
use crate::registry::entries::kernel_joint_entropy::{Args, Call};

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    let of_a = Space::gaussian(call.a, call.a, call.opts.bandwidth_a);
    let of_b = call.b.map(|b| Space::gaussian(b, b, call.opts.bandwidth_b));
    let spaces = [of_a, of_b.unwrap_or(of_a)];
    let spaces = if of_b.is_some() { &spaces[..] } else { &spaces[..1] };
    let pairs = Pairs { rows: n, columns: n, spaces, skip_self: call.opts.include_self == 0, exact: false };
    let log_sums = match call.saved_in {
        Some(saved) => saved,
        None => {
            let of_rows = Workspace::new(call.workspace).take(2 * n, 0f32);
            gram::row_log_sums(cpu, &pairs, of_rows);
            of_rows
        }
    };
    if let Some(saved) = &mut call.saved_out {
        saved.copy_from_slice(log_sums);
    }
    let log_sums = LogSums::new(log_sums);
    if let Some(entropy) = &mut call.entropy {
        let others = if pairs.skip_self { n - 1 } else { n };
        let total: f64 = (0..n).map(|i| log_sums.get(i).get()).sum();
        entropy[0] = ((others as f64).ln() - total / n as f64) as f32;
    }
    let g = call.grad_loss.map_or(1.0, |g| f64::from(g[0])) / n as f64;
    let output = |space, h: f64, to| Output { space, factor: (g / h / h) as f32, to };
    let terms = [Term { pairs, weights: BothWays(log_sums) }];
    let outputs = [
        call.grad_a.map(|to| output(0, call.opts.bandwidth_a, to)),
        call.grad_b.map(|to| output(1, call.opts.bandwidth_b, to)),
    ];
    match outputs {
        [Some(a), Some(b)] => gram::gradient(cpu, n, &terms, &[a, b]),
        [Some(one), None] | [None, Some(one)] => gram::gradient(cpu, n, &terms, &[one]),
        [None, None] => {}
    }
    Ok(())
}

/// P_ij + P_ji.
struct BothWays<'a>(LogSums<'a>);

impl Weights for BothWays<'_> {
    fn of_row(&self, i: usize) -> [f32; CONSTANTS] {
        self.0.get(i).constants()
    }

    fn of_column(&self, j: usize) -> [f32; CONSTANTS] {
        self.0.get(j).constants()
    }

    #[inline(always)]
    fn weight<S: Simd>(&self, s: S, e: S::F, row: [S::F; CONSTANTS], column: [S::F; CONSTANTS]) -> S::F {
        s.add(softmax(s, e, row), softmax(s, e, column))
    }
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f32>(a.n.saturating_mul(2)).bytes()
}

/// Mirrors kernels/metric_learning/kernel_joint_entropy.cuh.
#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct ValueArgs {
    sums: *const f32,
    n: u64,
    entropy: *mut f32,
    log_others: f64,
}

#[cfg(gpu)]
fn row_sums_bytes(a: &Args) -> u64 {
    a.n.saturating_mul(8).div_ceil(256).saturating_mul(256)
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let (n, o) = (a.n, &a.opts);
    let sums = if a.saved.is_null() { a.workspace.cast::<f32>() } else { a.saved };
    let workspace = a.workspace.wrapping_byte_add(row_sums_bytes(a) as usize);
    let space = |x, stride, dims, h| tiles::Space::gaussian((x, stride), (x, stride), dims, h);
    let with_b = !a.b.is_null();
    let pairs = tiles::Pairs {
        rows: n,
        columns: n,
        spaces: [
            space(a.a, a.a_stride, a.dims_a, o.bandwidth_a),
            space(a.b, a.b_stride, a.dims_b, o.bandwidth_b),
        ],
        n_spaces: 1 + u32::from(with_b),
        skip_self: u32::from(o.include_self == 0),
    };
    if pass.forward() || a.saved.is_null() {
        tiles::row_log_sums(device, &pairs, a.dtype, workspace, sums)?;
    }
    if pass.forward() && !a.entropy.is_null() {
        let others = n - u64::from(pairs.skip_self);
        let args = ValueArgs { sums, n, entropy: a.entropy, log_others: (others as f64).ln() };
        let bytes = unsafe { bytes_of(&args) };
        device.launch("kernel_joint_entropy_value", [1, 1, 1], [256, 1, 1], 0, bytes)?;
    }
    if !pass.backward() {
        return Ok(());
    }
    let constants = [sums.cast_const(), sums.wrapping_add(n as usize), std::ptr::null(), std::ptr::null()];
    let term = tiles::Term { pairs, constants, factor: 1.0 };
    let gradient = |space, gradient, stride, dims, h: f64| {
        let factor = 1.0 / (n as f64) / h / h;
        let output = tiles::Output {
            space,
            gradient,
            stride,
            grad_loss: a.grad_loss,
            factor,
            dtype: a.dtype,
            workspace,
        };
        tiles::gradient(device, "kernel_joint_entropy_gradient", (n, dims), &[term], &output)
    };
    if !a.grad_a.is_null() {
        gradient(0, a.grad_a, a.a_stride, a.dims_a, o.bandwidth_a)?;
    }
    if !a.grad_b.is_null() {
        gradient(1, a.grad_b, a.b_stride, a.dims_b, o.bandwidth_b)?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    // Asked before it is known whether b is there.
    let gradients = [a.dims_a, a.dims_b].map(|dims| tiles::gradient_bytes(a.n, a.n, dims));
    gradients.into_iter().fold(tiles::sums_bytes(a.n, a.n), u64::max).saturating_add(row_sums_bytes(a))
}
