// Documentation here is for C callers, to whom every function is as unsafe as C is.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]
use super::status::guard;
use super::types::*;
use crate::cpu::Cpu;
use crate::registry::{Error, Result, Status};
use std::ffi::c_void;

/// A device to compute on. May be shared by threads; two contexts share nothing.
pub struct lk_context {
    pub(super) device: Device,
}

pub(super) enum Device {
    Cpu(Cpu),
    #[cfg(gpu)]
    Cuda(Box<dyn crate::cuda::Device>),
}

/// Options of a context. Set the defaults with lk_context_options_init().
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct lk_context_options {
    /// Size of this struct, set by the init function.
    pub struct_size: usize,
    /// Threads of a CPU context: 0 = one per processor (the default), 1 = the caller's thread alone, no
    /// pool. CUDA contexts ignore it.
    pub num_threads: u32,
}

impl lk_context_options {
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), num_threads: 0 };
}

const MAX_THREADS: u32 = 4096;

/// Sets the size and the defaults of a context options struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_context_options_init(opts: *mut lk_context_options) {
    if !opts.is_null() {
        unsafe { opts.write_unaligned(lk_context_options::DEFAULT) }
    }
}

/// Creates a context for the CPU. `opts` may be NULL. Threads are started by the first call that needs
/// them; a process forked while a context exists starts its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_context_create(
    ctx: *mut *mut lk_context,
    opts: *const lk_context_options,
) -> lk_status {
    guard(|| {
        let opts = unsafe { options("lk_context_create", opts)? };
        unsafe { hand_out("lk_context_create", ctx, || Ok(Device::Cpu(Cpu::new(opts.num_threads as usize)))) }
    })
}

/// Device ordinal of the emulated CUDA device: the kernels run on the host and device memory is host
/// memory. For testing; only in libraries built with the feature cuda-emulation.
pub const LK_CUDA_DEVICE_EMULATED: i32 = -1;

/// Creates a context for a CUDA device, working on `stream` (a CUstream or cudaStream_t; NULL = the default
/// stream). Uses the device's primary context, as the CUDA runtime and the frameworks do. `opts` may be
/// NULL. Fails with LK_STATUS_CUDA where there is no driver or no such device, with LK_STATUS_UNSUPPORTED
/// where the library was built without CUDA.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_context_create_cuda(
    ctx: *mut *mut lk_context,
    device_ordinal: i32,
    stream: *mut c_void,
    opts: *const lk_context_options,
) -> lk_status {
    guard(|| {
        unsafe { options("lk_context_create_cuda", opts)? };
        unsafe { hand_out("lk_context_create_cuda", ctx, || cuda_device(device_ordinal, stream)) }
    })
}

#[cfg(gpu)]
fn cuda_device(ordinal: i32, stream: *mut c_void) -> Result<Device> {
    crate::cuda::open(ordinal, stream).map(Device::Cuda)
}

#[cfg(not(gpu))]
fn cuda_device(_ordinal: i32, _stream: *mut c_void) -> Result<Device> {
    Err(Error::new(
        Status::Unsupported,
        "lk_context_create_cuda: this library was built without CUDA, expected a build with the feature cuda",
    ))
}

/// Makes later calls of a CUDA context work on another stream. Calls running in other threads may still use
/// the old one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_context_set_stream(ctx: *mut lk_context, stream: *mut c_void) -> lk_status {
    guard(|| {
        let device = unsafe { &super::check::context(ctx, "lk_context_set_stream")?.device };
        match device {
            Device::Cpu(_) => {
                let _ = stream;
                Err(Error::argument(
                    "lk_context_set_stream: argument 'ctx' is a CPU context, expected a CUDA context",
                ))
            }
            #[cfg(gpu)]
            Device::Cuda(cuda) => {
                cuda.set_stream(stream);
                Ok(())
            }
        }
    })
}

/// Waits for the context's stream and reports what the kernels found since the last check: a label out of
/// range is LK_STATUS_INVALID_LABEL. Always LK_STATUS_OK for a CPU context, which reports in the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_context_check(ctx: *mut lk_context) -> lk_status {
    guard(|| match unsafe { &super::check::context(ctx, "lk_context_check")?.device } {
        Device::Cpu(_) => Ok(()),
        #[cfg(gpu)]
        Device::Cuda(cuda) => match cuda.take_flags()? {
            flags if flags & crate::cuda::FLAG_LABEL == 0 => Ok(()),
            _ => Err(Error::new(
                Status::InvalidLabel,
                "lk_context_check: argument 'labels' of a call since the last check had a value out of range, \
                 expected a value in [0, classes) or ignore_index; its row got NaN loss and zero gradient",
            )),
        },
    })
}

/// Ends a context. NULL is fine. No call may be using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lk_context_destroy(ctx: *mut lk_context) {
    if !ctx.is_null() {
        let _ = guard(|| {
            drop(unsafe { Box::from_raw(ctx) });
            Ok(())
        });
    }
}

unsafe fn options(function: &str, opts: *const lk_context_options) -> Result<lk_context_options> {
    let mut all = lk_context_options::DEFAULT;
    if opts.is_null() {
        return Ok(all);
    }
    let known = size_of::<lk_context_options>();
    let given =
        unsafe { super::check::struct_bytes(function, &"lk_context_options_init", opts.cast(), known)? };
    unsafe { std::ptr::copy_nonoverlapping(opts.cast::<u8>(), (&raw mut all).cast(), given) };
    if all.num_threads > MAX_THREADS {
        return Err(Error::option(format!(
            "{function}: option 'num_threads' is {}, expected at most {MAX_THREADS}",
            all.num_threads
        )));
    }
    Ok(all)
}

unsafe fn hand_out(
    function: &str,
    ctx: *mut *mut lk_context,
    make: impl FnOnce() -> Result<Device>,
) -> Result<()> {
    if ctx.is_null() {
        return Err(Error::argument(format!(
            "{function}: argument 'ctx' is NULL, expected a place for the new context"
        )));
    }
    let device = make()?;
    unsafe { ctx.write_unaligned(Box::into_raw(Box::new(lk_context { device }))) };
    Ok(())
}
