use super::check::{self, Target};
use super::context::{Device, lk_context};
use super::status::guard;
use super::types::lk_status;
use crate::cpu::Cpu;
use crate::registry::{Entry, Error, Result};

#[cfg(gpu)]
type CudaFunction = fn(&dyn crate::cuda::Device, *const u8) -> Result<()>;

/// An entry with its mathematics. The pointers are to the entry's own `Args`, checked.
pub(super) struct Vtable {
    pub entry: &'static Entry,
    pub cpu: fn(&Cpu, *const u8) -> Result<()>,
    /// With room to align it, 0 for none.
    pub cpu_workspace: fn(*const u8) -> u64,
    #[cfg(gpu)]
    pub cuda: Option<CudaFunction>,
    #[cfg(gpu)]
    pub cuda_workspace: fn(*const u8) -> u64,
}

/// Checks a call and runs it on the context's device.
///
/// # Safety
/// Pointers are null or what the C interface says; `args` points to the entry's `Args`.
pub(super) unsafe fn enter(
    ctx: *const lk_context,
    opts: *const u8,
    vtable: &Vtable,
    args: *mut u8,
) -> lk_status {
    guard(|| {
        let entry = vtable.entry;
        let ctx = unsafe { check::context(ctx, entry.name)? };
        unsafe { check::options(entry, opts, args)? };
        match &ctx.device {
            Device::Cpu(cpu) => {
                unsafe { check::arguments(entry, args, Target::Host(cpu), vtable.cpu_workspace)? };
                (vtable.cpu)(cpu, args)
            }
            #[cfg(gpu)]
            Device::Cuda(device) => {
                let Some(run) = vtable.cuda else { return Err(check::no_cuda(entry)) };
                unsafe { check::arguments(entry, args, Target::Device, vtable.cuda_workspace)? };
                unsafe { check::set_device_flags(entry, args, device.flags()) };
                run(device.as_ref(), args)
            }
        }
    })
}

/// # Safety
/// As [`enter`]; `bytes` is null or writable.
pub(super) unsafe fn workspace_size(
    ctx: *const lk_context,
    opts: *const u8,
    vtable: &Vtable,
    args: *mut u8,
    bytes: *mut usize,
) -> lk_status {
    guard(|| {
        let entry = vtable.entry;
        let ctx = unsafe { check::context(ctx, entry.name)? };
        if bytes.is_null() {
            return Err(Error::argument(format!(
                "{}: argument 'bytes' is NULL, expected a size_t to write to",
                entry.name
            )));
        }
        unsafe { check::options(entry, opts, args)? };
        unsafe { check::sizes(entry, args)? };
        let needed = match &ctx.device {
            Device::Cpu(_) => (vtable.cpu_workspace)(args) as usize,
            #[cfg(gpu)]
            Device::Cuda(_) if vtable.cuda.is_none() => return Err(check::no_cuda(entry)),
            #[cfg(gpu)]
            Device::Cuda(_) => (vtable.cuda_workspace)(args) as usize,
        };
        unsafe { bytes.write_unaligned(needed) };
        Ok(())
    })
}
