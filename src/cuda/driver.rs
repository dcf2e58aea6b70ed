//! Runs the kernels through the CUDA driver, which is loaded at run time: the library works without it.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use cudarc::driver::sys::{self, CUresult};

use super::{CudaError, Device, Result};

/// One embedded fat binary. The driver reads its header as 64-bit words.
pub struct Module {
    name: &'static str,
    image: &'static Aligned<[u8]>,
    kernels: &'static [&'static str],
}

#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

include!(concat!(env!("OUT_DIR"), "/cuda_modules.rs"));

/// `cuFuncLoad` came with this version.
const FUNC_LOAD: i32 = 12040;

/// A CUDA device in somebody else's program: its primary context, and the caller's stream.
pub struct Driver {
    device: sys::CUdevice,
    context: sys::CUcontext,
    modules: Vec<sys::CUmodule>,
    functions: HashMap<&'static str, sys::CUfunction>,
    flags: sys::CUdeviceptr,
    stream: AtomicPtr<c_void>,
}

// SAFETY: the handles are process-wide; every call makes the context current on its own thread first.
unsafe impl Send for Driver {}
// SAFETY: as above; nothing but the atomic stream changes after creation.
unsafe impl Sync for Driver {}

impl Driver {
    /// Loads every kernel now: a launch that loaded one could not be captured into a graph.
    pub fn new(ordinal: i32, stream: *mut c_void) -> Result<Self> {
        // SAFETY: opening the driver runs its initialisers, nothing of ours.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::Unavailable("no CUDA driver found (libcuda.so.1)".into()));
        }
        let mut driver = Driver {
            device: 0,
            context: ptr::null_mut(),
            modules: Vec::new(),
            functions: HashMap::new(),
            flags: 0,
            stream: AtomicPtr::new(stream),
        };
        let mut version: c_int = 0;
        // SAFETY: plain driver calls; all out pointers are to locals or to fields of `driver`.
        unsafe {
            unavailable("the CUDA driver does not start", sys::cuInit(0))?;
            unavailable("cuDriverGetVersion", sys::cuDriverGetVersion(&mut version))?;
            unavailable(&format!("no CUDA device {ordinal}"), sys::cuDeviceGet(&mut driver.device, ordinal))?;
            let retained = sys::cuDevicePrimaryCtxRetain(&mut driver.context, driver.device);
            unavailable(&format!("no context on CUDA device {ordinal}"), retained)?;
        }
        let _current = Current::new(driver.context)?;
        for module in MODULES {
            driver.load(module, version)?;
        }
        // SAFETY: as above. The memset must be over before a kernel on any stream sets a bit.
        unsafe {
            check("cuMemAlloc", sys::cuMemAlloc_v2(&mut driver.flags, 4))?;
            check("cuMemsetD32", sys::cuMemsetD32_v2(driver.flags, 0, 1))?;
            check("cuStreamSynchronize", sys::cuStreamSynchronize(ptr::null_mut()))?;
        }
        Ok(driver)
    }

    fn load(&mut self, module: &Module, version: i32) -> Result<()> {
        let mut handle = ptr::null_mut();
        // SAFETY: the image is a fat binary, static and aligned.
        let loaded = unsafe { sys::cuModuleLoadData(&mut handle, module.image.0.as_ptr().cast()) };
        unavailable(
            &format!("module {} (driver for CUDA {}.{})", module.name, version / 1000, version % 1000 / 10),
            loaded,
        )?;
        self.modules.push(handle);
        for &kernel in module.kernels {
            let name = CString::new(kernel).expect("kernel names are identifiers");
            let mut function = ptr::null_mut();
            // SAFETY: handle and name are valid.
            unsafe {
                unavailable(kernel, sys::cuModuleGetFunction(&mut function, handle, name.as_ptr()))?;
                if version >= FUNC_LOAD {
                    unavailable(kernel, sys::cuFuncLoad(function))?;
                }
                self.allow_shared_memory(kernel, function)?;
            }
            self.functions.insert(kernel, function);
        }
        Ok(())
    }

    /// Lets a launch ask for all the shared memory that a block may have; without this, for 48 KB.
    ///
    /// # Safety
    /// The function is one of this device.
    unsafe fn allow_shared_memory(&self, kernel: &str, function: sys::CUfunction) -> Result<()> {
        use sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as MOST;
        use sys::CUfunction_attribute::{
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as DYNAMIC,
            CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES as FIXED,
        };
        let (mut most, mut fixed): (c_int, c_int) = (0, 0);
        // SAFETY: out pointers to locals; the function by contract.
        unsafe {
            unavailable(kernel, sys::cuDeviceGetAttribute(&mut most, MOST, self.device))?;
            unavailable(kernel, sys::cuFuncGetAttribute(&mut fixed, FIXED, function))?;
            unavailable(kernel, sys::cuFuncSetAttribute(function, DYNAMIC, most - fixed))
        }
    }

    fn cu_stream(&self) -> sys::CUstream {
        self.stream.load(Ordering::Relaxed).cast()
    }
}

impl Device for Driver {
    fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &[u8],
    ) -> Result<()> {
        let Some(&function) = self.functions.get(kernel) else {
            return Err(CudaError::Internal(format!("no kernel is named {kernel}")));
        };
        let _current = Current::new(self.context)?;
        let mut parameters = [args.as_ptr().cast::<c_void>().cast_mut()];
        let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
        // SAFETY: the driver copies the kernel's one parameter out of `args` before it returns.
        let result = unsafe {
            sys::cuLaunchKernel(
                function,
                gx,
                gy,
                gz,
                bx,
                by,
                bz,
                shared_bytes,
                self.cu_stream(),
                parameters.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        check(kernel, result)
    }

    fn flags(&self) -> *mut u32 {
        self.flags as *mut u32
    }

    fn take_flags(&self) -> Result<u32> {
        let _current = Current::new(self.context)?;
        let (mut word, stream) = (0u32, self.cu_stream());
        // SAFETY: `word` outlives the copy, for the stream is waited for.
        unsafe {
            let to = ptr::from_mut(&mut word).cast();
            check("cuMemcpyDtoHAsync", sys::cuMemcpyDtoHAsync_v2(to, self.flags, 4, stream))?;
            check("cuMemsetD32Async", sys::cuMemsetD32Async(self.flags, 0, 1, stream))?;
            check("cuStreamSynchronize", sys::cuStreamSynchronize(stream))?;
        }
        Ok(word)
    }

    fn set_stream(&self, stream: *mut c_void) {
        self.stream.store(stream, Ordering::Relaxed);
    }
}

impl Drop for Driver {
    /// Errors mean that the process is going down and the driver is gone already.
    fn drop(&mut self) {
        if self.context.is_null() {
            return;
        }
        // SAFETY: each handle was created by `new` and is released once.
        unsafe {
            if let Ok(_current) = Current::new(self.context) {
                for &module in &self.modules {
                    let _ = sys::cuModuleUnload(module);
                }
                if self.flags != 0 {
                    let _ = sys::cuMemFree_v2(self.flags);
                }
            }
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

/// Makes the context current for a scope; the caller may have another one.
struct Current;

impl Current {
    fn new(context: sys::CUcontext) -> Result<Self> {
        // SAFETY: a retained context.
        check("cuCtxPushCurrent", unsafe { sys::cuCtxPushCurrent_v2(context) })?;
        Ok(Current)
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let mut old = ptr::null_mut();
        // SAFETY: pops what `new` pushed.
        let _ = unsafe { sys::cuCtxPopCurrent_v2(&mut old) };
    }
}

fn describe(what: &str, result: CUresult) -> String {
    let mut text = ptr::null();
    // SAFETY: the driver returns a static string, or leaves null.
    unsafe {
        let _ = sys::cuGetErrorString(result, &mut text);
        if text.is_null() {
            return format!("{what}: CUDA error {}", result as u32);
        }
        format!("{what}: {} (CUDA error {})", CStr::from_ptr(text).to_string_lossy(), result as u32)
    }
}

fn check(what: &str, result: CUresult) -> Result<()> {
    if result == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(CudaError::Driver(describe(what, result))) }
}

fn unavailable(what: &str, result: CUresult) -> Result<()> {
    if result == CUresult::CUDA_SUCCESS {
        Ok(())
    } else {
        Err(CudaError::Unavailable(describe(what, result)))
    }
}
