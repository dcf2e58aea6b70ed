//! Runs the kernels on the host: the same sources, compiled as C++ (`kernels/emulation`).

use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::{CudaError, Device, Result};

type Entry = unsafe extern "C" fn(u32, u32, u32, u32, u32, u32, usize, *const c_void) -> i32;

include!(concat!(env!("OUT_DIR"), "/emulated_kernels.rs"));

/// A device whose memory is the host's and whose kernels run on the calling thread.
pub struct Emulator {
    // Boxed: kernels hold its address while the device may move.
    flags: Box<AtomicU32>,
    stream: AtomicPtr<c_void>,
}

impl Emulator {
    pub fn new() -> Self {
        Emulator { flags: Box::new(AtomicU32::new(0)), stream: AtomicPtr::default() }
    }
}

impl Default for Emulator {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for Emulator {
    fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &[u8],
    ) -> Result<()> {
        let Some((_, entry)) = KERNELS.iter().find(|(name, _)| *name == kernel) else {
            return Err(CudaError::Internal(format!("no kernel is named {kernel}")));
        };
        let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
        // SAFETY: the entry copies an argument struct of its kernel, which the host half passed.
        let status = unsafe { entry(gx, gy, gz, bx, by, bz, shared_bytes as usize, args.as_ptr().cast()) };
        let reason = match status {
            0 => return Ok(()),
            1 => "grid, block or shared memory out of range",
            2 => "a barrier or a warp operation was not reached by all of its threads",
            3 => "lanes met at a warp operation with different masks",
            4 => "no memory for the emulated threads' stacks",
            _ => "unknown status",
        };
        Err(CudaError::Internal(format!(
            "emulated kernel {kernel}, grid {grid:?}, block {block:?}: {reason}"
        )))
    }

    fn flags(&self) -> *mut u32 {
        self.flags.as_ptr()
    }

    fn take_flags(&self) -> Result<u32> {
        Ok(self.flags.swap(0, Ordering::Relaxed))
    }

    fn set_stream(&self, stream: *mut c_void) {
        self.stream.store(stream, Ordering::Relaxed);
    }
}
