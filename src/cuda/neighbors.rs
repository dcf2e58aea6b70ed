//! Host half of kernels/skeletons/neighbors.cuh: distances to the k-th nearest other point.

use std::ffi::c_void;

use super::gram::{Pairs, Space, TILE, grid};
use super::{Device, Result, align_up, bytes_of};

const THREADS: u32 = 256;

#[repr(C)]
#[derive(Clone, Copy)]
struct LimitsArgs {
    values: *const f32,
    count: u64,
    limits: *mut f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NeighborsArgs {
    pairs: Pairs,
    k: u64,
    limits: *const f32,
    n_limits: u64,
    nearest: *mut f32,
    distances: *mut f32,
}

/// `n` points of `dims` f32 coordinates, dense.
#[derive(Clone, Copy)]
pub struct Points {
    pub values: *const f32,
    pub n: u64,
    pub dims: u64,
}

/// Where the results stand in the workspace.
pub struct Found {
    pub distances: *const f32,
    /// What is known of the coordinates, by block.
    pub limits: *const f32,
    pub n_limits: u64,
}

fn limit_blocks(count: u64) -> u64 {
    count.div_ceil(8192).clamp(1, 256)
}

fn limits_bytes(n: u64, dims: u64) -> u64 {
    align_up(8 * limit_blocks(n.saturating_mul(dims)))
}

fn floats_bytes(count: u64) -> u64 {
    align_up(count.saturating_mul(4).min(u64::MAX / 4))
}

pub fn workspace_size(n: u64, dims: u64, k: u64) -> u64 {
    limits_bytes(n, dims) + floats_bytes(n) + floats_bytes(n.saturating_mul(k))
}

/// Euclidean distance of every point to its `k`-th nearest other one, `1 <= k < n`; they are not written if a
/// coordinate is not finite.
pub fn kth_distances(dev: &dyn Device, points: &Points, k: u64, workspace: *mut c_void) -> Result<Found> {
    let &Points { values, n, dims } = points;
    let limits = workspace.cast::<f32>();
    let distances = workspace.wrapping_byte_add(limits_bytes(n, dims) as usize).cast::<f32>();
    let nearest = distances.wrapping_byte_add(floats_bytes(n) as usize);
    let n_limits = limit_blocks(n * dims);
    let args = LimitsArgs { values, count: n * dims, limits };
    dev.launch("neighbors_limits", [n_limits as u32, 1, 1], [THREADS, 1, 1], 0, unsafe { bytes_of(&args) })?;
    let x: *const c_void = values.cast();
    let space = Space { x, y: x, x_stride: dims, y_stride: dims, dims, scale: 1.0 };
    let pairs = Pairs { rows: n, columns: n, spaces: [space, Space::NONE], n_spaces: 1, skip_self: 1 };
    let args = NeighborsArgs { pairs, k, limits, n_limits, nearest, distances };
    dev.launch("neighbors", [grid(n.div_ceil(TILE)), 1, 1], [THREADS, 1, 1], 0, unsafe { bytes_of(&args) })?;
    Ok(Found { distances, limits, n_limits })
}
