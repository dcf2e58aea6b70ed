//! Host half of kernels/skeletons/sort.cuh.

use super::{Device, Result, bytes_of};

const TILE: u64 = 1024;
const THREADS: u32 = 512;

#[repr(C)]
#[derive(Clone, Copy)]
struct SortArgs {
    pairs: *mut u64,
    size: u64,
    stride: u64,
}

/// Pairs in memory for `n` numbers; those from n on are padding.
pub fn padded(n: u64) -> u64 {
    n.max(TILE).checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// Sorts `padded(n)` pairs in place.
pub fn run(dev: &dyn Device, pairs: *mut u64, n: u64) -> Result<()> {
    let count = padded(n);
    let launch = |kernel: &str, size: u64, stride: u64| {
        let args = SortArgs { pairs, size, stride };
        // SAFETY: a struct of integers and a pointer.
        dev.launch(kernel, [(count / TILE) as u32, 1, 1], [THREADS, 1, 1], 0, unsafe { bytes_of(&args) })
    };
    launch("sort_tiles", 0, 0)?;
    let mut size = 2 * TILE;
    while size <= count {
        let mut stride = size / 2;
        while stride >= TILE {
            launch("sort_steps", size, stride)?;
            stride /= 2;
        }
        launch("sort_tiles", size, 0)?;
        size *= 2;
    }
    Ok(())
}
