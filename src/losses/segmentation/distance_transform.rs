//! Squared distances along rows, then lower envelopes of parabolas along y and along z: src/cpu/distance.rs.

use crate::cpu::Cpu;
use crate::cpu::distance::{self, Volume};
#[cfg(gpu)]
use crate::cuda::{Device, align_up, bytes_of};
use crate::registry::entries::distance_transform::{Args, Call};
use crate::registry::{Error, Result};

/// Squares of three such extents add up within 62 bits.
const MAX_EXTENT: u64 = 1 << 30;

pub fn check(a: &Args) -> Result<()> {
    let extents = [("depth", a.depth), ("height", a.height), ("width", a.width)];
    match extents.into_iter().find(|&(_, extent)| extent > MAX_EXTENT) {
        Some((name, extent)) => Err(Error::argument(format!(
            "distance_transform: argument '{name}' is {extent}, expected at most {MAX_EXTENT}"
        ))),
        None => Ok(()),
    }
}

fn volume(a: &Args) -> Volume {
    Volume {
        images: a.batch as usize,
        depth: a.depth as usize,
        height: a.height as usize,
        width: a.width as usize,
    }
}

pub fn cpu_workspace(a: &Args) -> u64 {
    distance::workspace_bytes(&volume(a)) as u64
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let volume = Volume { images: call.batch, depth: call.depth, height: call.height, width: call.width };
    if let Some(distance) = call.distance.as_deref_mut() {
        distance::transform(cpu, &volume, call.mask, distance, call.workspace);
    }
    Ok(())
}

/// Where the workspace's parts begin: two buffers of squared distances, two of envelopes.
#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    // More than 2^56 voxels have no memory to be in.
    let n = (a.batch * a.depth * a.height * a.width).min(1 << 56);
    2 * align_up(8 * n) + 2 * align_up(4 * n)
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    const THREADS: u64 = 256;
    // Threads go on with further lines.
    const MAX_BLOCKS: u64 = 1 << 16;
    let n = a.batch * a.depth * a.height * a.width;
    if n == 0 || a.distance.is_null() {
        return Ok(());
    }
    let launch = |kernel: &str, threads: u64| {
        let blocks = threads.div_ceil(THREADS).min(MAX_BLOCKS) as u32;
        device.launch(kernel, [blocks, 1, 1], [THREADS as u32, 1, 1], 0, unsafe { bytes_of(a) })
    };
    launch("distance_transform_rows", 32 * (n / a.width))?;
    launch("distance_transform_columns", n / a.height)?;
    launch("distance_transform_depth", n / a.depth)?;
    Ok(())
}
