//! Devices that run the kernels, and the host halves of the kernel skeletons.
//!
//! A host half computes a launch plan from sizes and options alone. It neither allocates nor
//! synchronises on the device, so that every call can be captured into a CUDA graph.

pub mod contrast;
pub mod dense;
#[cfg(feature = "cuda")]
pub mod driver;
pub mod elements;
#[cfg(feature = "cuda-emulation")]
pub mod emulator;
mod error;
pub mod gram;
pub mod largest;
pub mod linear_rows;
pub mod maps;
pub mod neighbors;
pub mod overlaps;
pub mod products;
pub mod reduce;
pub mod rows;
pub mod select;
pub mod sequences;
pub mod sort;
#[cfg(all(test, feature = "cuda-emulation"))]
mod tests;
pub mod tiles;
pub mod windows;

use std::ffi::c_void;

pub use error::{CudaError, Result};

use crate::registry::Error;

/// Device ordinal of the emulator; LK_CUDA_DEVICE_EMULATED in the C interface.
const EMULATED: i32 = -1;

/// The device with this ordinal, working on the caller's stream.
pub fn open(ordinal: i32, stream: *mut c_void) -> crate::registry::Result<Box<dyn Device>> {
    if ordinal < EMULATED {
        return Err(Error::argument(format!(
            "lk_context_create_cuda: argument 'device_ordinal' is {ordinal}, expected the number of a device"
        )));
    }
    open_checked(ordinal, stream).map_err(|error| {
        let Error { status, message } = error.into();
        Error::new(
            status,
            format!("lk_context_create_cuda: argument 'device_ordinal' is {ordinal}: {message}"),
        )
    })
}

fn open_checked(ordinal: i32, stream: *mut c_void) -> Result<Box<dyn Device>> {
    if ordinal == EMULATED {
        #[cfg(feature = "cuda-emulation")]
        {
            let emulator = emulator::Emulator::new();
            emulator.set_stream(stream);
            return Ok(Box::new(emulator));
        }
        #[cfg(not(feature = "cuda-emulation"))]
        return Err(CudaError::Missing("this library was built without the feature cuda-emulation".into()));
    }
    #[cfg(feature = "cuda")]
    return Ok(Box::new(driver::Driver::new(ordinal, stream)?));
    #[cfg(not(feature = "cuda"))]
    Err(CudaError::Missing("this library was built without the feature cuda".into()))
}

/// Bit of the device flag word: a label was out of range.
pub const FLAG_LABEL: u32 = 1;

/// Something that runs kernels: the driver, or the emulator.
pub trait Device: Send + Sync {
    /// Enqueues a kernel on the current stream. `args` is its one parameter, by value.
    fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &[u8],
    ) -> Result<()>;

    /// The flag word that kernels set bits in; in device memory.
    fn flags(&self) -> *mut u32;

    /// Waits for the stream, then returns the flag word and clears it.
    fn take_flags(&self) -> Result<u32>;

    /// The caller's `CUstream` for the launches that follow; null is the default stream.
    fn set_stream(&self, stream: *mut c_void);
}

/// The bytes of a `#[repr(C)]` argument struct, padding included.
///
/// # Safety
/// `T` must be made of integers, floats and raw pointers only. Padding bytes are copied, never read.
pub unsafe fn bytes_of<T: Copy>(args: &T) -> &[u8] {
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(args).cast(), size_of::<T>()) }
}

/// Workspace regions start at multiples of this.
const ALIGN: u64 = 256;

pub fn align_up(bytes: u64) -> u64 {
    bytes.div_ceil(ALIGN) * ALIGN
}
