//! entropy = digamma(n) - digamma(k) + log V + (dims / n) sum_i log e_i.

use crate::cpu::Cpu;
use crate::cpu::neighbors::{self, Points};
use crate::cpu::special::{digamma, ln_gamma};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{Device, bytes_of, neighbors as search};
use crate::registry::entries::knn_entropy::{Args, Call};
use crate::registry::{Error, Result};

pub fn check(a: &Args) -> Result<()> {
    if a.opts.k as u64 >= a.n {
        let (k, most) = (a.opts.k, a.n - 1);
        return Err(Error::option(format!(
            "knn_entropy: option 'k' is {k}, expected at most n - 1 ({most})"
        )));
    }
    Ok(())
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Some(entropy) = &mut call.entropy else { return Ok(()) };
    let Some(points) = Points::new(cpu, call.x, call.n, call.dims) else {
        entropy[0] = f32::NAN;
        return Ok(());
    };
    let mut work = Workspace::new(call.workspace);
    let distances = work.take(call.n, 0f32);
    neighbors::kth_distances(cpu, &points, call.opts.k as usize, &mut work, distances);
    let logs: f64 = distances.iter().map(|&e| f64::from(e).ln()).sum();
    let (n, k, dims) = (call.n as f64, call.opts.k as f64, call.dims as f64);
    entropy[0] = (constant(n, k, dims) + dims / n * logs) as f32;
    Ok(())
}

/// What does not depend on the points.
fn constant(n: f64, k: f64, dims: f64) -> f64 {
    let ball = 0.5 * dims * std::f64::consts::PI.ln() - ln_gamma(0.5 * dims + 1.0);
    digamma(n) - digamma(k) + ball
}

pub fn cpu_workspace(a: &Args) -> u64 {
    neighbors::workspace(Size::default().add::<f32>(a.n), a.n, a.dims, a.opts.k as u64).bytes()
}

/// Mirrors kernels/information/knn_entropy.cuh.
#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct ValueArgs {
    distances: *const f32,
    n: u64,
    limits: *const f32,
    n_limits: u64,
    entropy: *mut f32,
    constant: f64,
    factor: f64,
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    if a.entropy.is_null() {
        return Ok(());
    }
    let points = search::Points { values: a.x, n: a.n, dims: a.dims };
    let found = search::kth_distances(device, &points, a.opts.k as u64, a.workspace)?;
    let (n, k, dims) = (a.n as f64, a.opts.k as f64, a.dims as f64);
    let search::Found { distances, limits, n_limits } = found;
    let (constant, factor) = (constant(n, k, dims), dims / n);
    let args = ValueArgs { distances, n: a.n, limits, n_limits, entropy: a.entropy, constant, factor };
    Ok(device.launch("knn_entropy_value", [1, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(&args) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    search::workspace_size(a.n, a.dims, a.opts.k as u64)
}
