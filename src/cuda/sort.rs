//! Host half of kernels/skeletons/sort.cuh.

use super::{Device, Result, bytes_of};

const TILE: u64 = 4096;
/// Fewest pairs.
const LEAST: u64 = 128;
const STEP_THREADS: u64 = 256;
/// Most strides of a step.
const LEVELS: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy)]
struct SortArgs {
    pairs: *mut u64,
    count: u64,
    size: u64,
    stride: u64,
    levels: i32,
}

/// Pairs in memory for `n` numbers; those from n on are padding.
pub fn padded(n: u64) -> u64 {
    n.max(LEAST).checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// Sorts each of `arrays` times `padded(n)` pairs in place.
pub fn run(dev: &dyn Device, pairs: *mut u64, n: u64, arrays: u32) -> Result<()> {
    let count = padded(n);
    let launch = |kernel: &str, blocks: u64, threads: u32, size: u64, stride: u64, levels: u32| {
        let args = SortArgs { pairs, count, size, stride, levels: levels as i32 };
        // SAFETY: a struct of integers and a pointer.
        dev.launch(kernel, [blocks as u32, arrays, 1], [threads, 1, 1], 0, unsafe { bytes_of(&args) })
    };
    let tile = count.min(TILE);
    let tiles = |size: u64| launch("sort_tiles", count / tile, tile as u32 / 4, size, 0, 0);
    tiles(0)?;
    let mut size = 2 * TILE;
    while size <= count {
        let mut left = (size / TILE).ilog2();
        while left > 0 {
            let levels = left.min(LEVELS);
            left -= levels;
            let blocks = (count >> levels) / STEP_THREADS;
            launch("sort_steps", blocks, STEP_THREADS as u32, size, TILE << left, levels)?;
        }
        tiles(size)?;
        size *= 2;
    }
    Ok(())
}
