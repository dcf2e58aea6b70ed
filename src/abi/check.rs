//! The same checks for every entry, driven by its descriptor.

use super::context::lk_context;
use crate::cpu::Cpu;
use crate::cpu::parallel::Blocks;
use crate::cpu::simd::{Kernel, Simd, bits};
use crate::cpu::storage;
use crate::registry::{
    Buffer, BufferRole, DType, Element, Entry, Error, Extent, Factor, MAX_BUFFERS, Pass, Range, Result, Rule,
    Status,
};
use std::fmt::Display;
use std::ops::BitOr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the buffers of a call live.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    Host(&'a Cpu),
    #[cfg(gpu)]
    Device,
}

/// On the CPU a workspace may lie anywhere: what is asked for has room to align it.
pub const HOST_ALIGN: u64 = 64;
#[cfg(gpu)]
const DEVICE_ALIGN: u64 = 256;

/// # Safety
/// `ctx` is null or came from a create function.
pub unsafe fn context<'a>(ctx: *const lk_context, name: &str) -> Result<&'a lk_context> {
    unsafe { ctx.as_ref() }
        .ok_or_else(|| Error::argument(format!("{name}: argument 'ctx' is NULL, expected a context")))
}

#[cfg(gpu)]
pub fn no_cuda(entry: &Entry) -> Error {
    Error::new(Status::Unsupported, format!("{}: not available on CUDA, use a CPU context", entry.name))
}

unsafe fn get<T: Copy>(base: *const u8, offset: usize) -> T {
    unsafe { base.add(offset).cast::<T>().read_unaligned() }
}

/// How many bytes of a caller's versioned struct to take: those of its `struct_size` that this version knows.
///
/// # Safety
/// `opts` is readable for its `struct_size` bytes.
pub unsafe fn struct_bytes(
    function: &str,
    init: &dyn Display,
    opts: *const u8,
    known: usize,
) -> Result<usize> {
    let given: usize = unsafe { get(opts, 0) };
    let fail = |text: String| {
        Err(Error::option(format!("{function}: argument 'opts': struct_size is {given}{text}")))
    };
    if given < size_of::<usize>() || given > 1 << 16 {
        return fail(format!(", expected {known}; call {init} first"));
    }
    // A newer caller may pass a longer struct as long as it asks for nothing this version does not know.
    match (known..given).find(|&at| unsafe { get::<u8>(opts, at) } != 0) {
        Some(at) => fail(format!(
            " with a non-zero byte at {at}, expected {known}: made for a newer version of the library"
        )),
        None => Ok(given.min(known)),
    }
}

/// Copies the caller's options over the defaults at the head of `args`, and checks them.
///
/// # Safety
/// `opts` is null or readable for its `struct_size` bytes; `args` is the entry's `Args`.
pub unsafe fn options(entry: &Entry, opts: *const u8, args: *mut u8) -> Result<()> {
    let fail = |text: String| Err(Error::option(format!("{}: {text}", entry.name)));
    if opts.is_null() {
        return Ok(());
    }
    if !opts.addr().is_multiple_of(align_of::<usize>()) {
        return Err(Error::argument(format!(
            "{}: argument 'opts' is misaligned, expected an aligned options struct",
            entry.name
        )));
    }
    let known = entry.options_size;
    let given =
        unsafe { struct_bytes(entry.name, &format_args!("lk_{}_options_init", entry.name), opts, known)? };
    unsafe { std::ptr::copy_nonoverlapping(opts, args, given) };
    unsafe { args.cast::<usize>().write(known) };
    for option in entry.options {
        let at = option.offset;
        let name = option.name;
        match option.rule {
            Rule::Float { low, high, low_open, high_open, also, text } => {
                let value: f64 = unsafe { get(args, at) };
                let above = value > low || (value == low && !low_open);
                let below = value < high || (value == high && !high_open);
                if !(above && below || also.contains(&value)) {
                    let also: String = also.iter().map(|v| format!(" or {v}")).collect();
                    return fail(format!("option '{name}' is {value}, expected a value in {text}{also}"));
                }
            }
            Rule::Int { min, max } => {
                let value: i64 = unsafe { get(args, at) };
                if value < min || value > max {
                    let most = if max == i64::MAX { String::new() } else { format!(" and at most {max}") };
                    return fail(format!("option '{name}' is {value}, expected at least {min}{most}"));
                }
            }
            Rule::Any => {}
            Rule::Bool => {
                let value: u8 = unsafe { get(args, at) };
                if value > 1 {
                    return fail(format!("option '{name}' is {value}, expected 0 or 1"));
                }
            }
            Rule::Enum { names } => {
                let value: i32 = unsafe { get(args, at) };
                if value < 0 || value as usize >= names.len() {
                    let list: Vec<_> = names.iter().enumerate().map(|(i, n)| format!("{i} ({n})")).collect();
                    return fail(format!("option '{name}' is {value}, expected {}", list.join(", ")));
                }
            }
        }
    }
    Ok(())
}

/// Bytes of each buffer from its first to its last element.
type Sizes = [usize; MAX_BUFFERS];

/// Checks dtype, dims and strides, and writes the strides that were left to the default.
///
/// # Safety
/// `args` is the entry's `Args` after [`options`].
pub unsafe fn sizes(entry: &Entry, args: *mut u8) -> Result<Sizes> {
    let fail = |text: String| Err(Error::argument(format!("{}: {text}", entry.name)));
    let dtype: i32 = unsafe { get(args, entry.dtype) };
    if DType::from_code(dtype).is_none() {
        return fail(format!(
            "argument 'dtype' is {dtype}, expected LK_DTYPE_F32, LK_DTYPE_F16 or LK_DTYPE_BF16"
        ));
    }
    for dim in entry.dims {
        let value: u64 = unsafe { get(args, dim.offset) };
        if value < dim.min {
            return fail(format!("argument '{}' is {value}, expected at least {}", dim.name, dim.min));
        }
    }
    let call = CheckedSizes { entry, args };
    let mut sizes = [0; MAX_BUFFERS];
    for (size, buffer) in sizes.iter_mut().zip(entry.buffers) {
        if let Some(offset) = buffer.stride {
            let least = buffer.shape.last().map_or(Ok(1), |&last| call.extent(last))?;
            let stride: u64 = unsafe { get(args, offset) };
            if stride == 0 {
                unsafe { args.add(offset).cast::<u64>().write(least) };
            } else if stride < least && buffer.role == BufferRole::Input {
                return fail(format!(
                    "argument '{}_stride' is {stride}, expected 0 or at least {least}",
                    buffer.name
                ));
            }
        }
        *size = call.bytes(buffer)?;
    }
    entry.check.map_or(Ok(()), |check| check(args))?;
    Ok(sizes)
}

/// Sizes and addresses of one call's buffers.
struct CheckedSizes<'a> {
    entry: &'a Entry,
    args: *const u8,
}

impl CheckedSizes<'_> {
    fn extent(&self, extent: Extent) -> Result<u64> {
        let mut product = extent.scale;
        let mut name = "";
        for factor in extent.factors {
            let (value, of) = match *factor {
                Factor::Dim(dim) => {
                    let dim = &self.entry.dims[dim];
                    (unsafe { get::<u64>(self.args, dim.offset) }, dim.name)
                }
                Factor::Option(option) => {
                    let option = &self.entry.options[option];
                    (unsafe { get::<i64>(self.args, option.offset) }.max(0) as u64, option.name)
                }
            };
            name = of;
            product = product.checked_mul(value).ok_or_else(|| self.too_large(of))?;
        }
        product.checked_add(extent.plus).ok_or_else(|| self.too_large(name))
    }

    fn too_large(&self, name: &str) -> Error {
        Error::argument(format!(
            "{}: argument '{name}' is too large, expected sizes whose bytes fit the address space ({} bytes)",
            self.entry.name,
            isize::MAX
        ))
    }

    fn dtype(&self) -> DType {
        DType::from_code(unsafe { get(self.args, self.entry.dtype) }).unwrap_or(DType::F32)
    }

    fn element_size(&self, buffer: &Buffer) -> usize {
        match buffer.element {
            Element::Float => self.dtype().size(),
            Element::F32 => 4,
            Element::I64 => 8,
            Element::U8 => 1,
        }
    }

    fn reduced(&self, buffer: &Buffer) -> bool {
        let reduction = self.entry.reduction.map(|at| unsafe { get::<i32>(self.args, at) });
        buffer.reduced && reduction != Some(0)
    }

    /// Its extents, without one that an option merges away.
    fn shape(&self, buffer: &Buffer) -> &'static [Extent] {
        let merged = buffer.merged.is_some_and(|(at, set)| (unsafe { get::<u8>(self.args, at) } != 0) == set);
        &buffer.shape[usize::from(merged)..]
    }

    /// Bytes from the first to the last element.
    fn bytes(&self, buffer: &Buffer) -> Result<usize> {
        let mut span = 1u64;
        if !self.reduced(buffer) {
            for (i, &extent) in self.shape(buffer).iter().enumerate() {
                let mut extent = self.extent(extent)?;
                if let (0, Some(offset)) = (i, buffer.stride) {
                    // Rows times stride, without the last row's padding.
                    let stride: u64 = unsafe { get(self.args, offset) };
                    let columns = self.extent(buffer.shape[buffer.shape.len() - 1])?;
                    let padded =
                        extent.saturating_sub(1).checked_mul(stride).and_then(|p| p.checked_add(columns));
                    span = if extent == 0 { 0 } else { padded.ok_or_else(|| self.too_large(buffer.name))? };
                    break;
                }
                extent = span.checked_mul(extent).ok_or_else(|| self.too_large(buffer.name))?;
                span = extent;
            }
        }
        span.checked_mul(self.element_size(buffer) as u64)
            .filter(|&bytes| bytes <= isize::MAX as u64)
            .map(|bytes| bytes as usize)
            .ok_or_else(|| self.too_large(buffer.name))
    }

    fn address(&self, buffer: &Buffer) -> usize {
        unsafe { get(self.args, buffer.offset) }
    }

    fn expectation(&self, buffer: &Buffer) -> String {
        let element = match buffer.element {
            Element::Float => match self.dtype() {
                DType::F32 => "f32",
                DType::F16 => "f16",
                DType::Bf16 => "bf16",
            },
            Element::F32 => "f32",
            Element::I64 => "int64",
            Element::U8 => "uint8",
        };
        let shape: Vec<String> = match self.reduced(buffer) {
            true => vec!["1".into()],
            false => self.shape(buffer).iter().map(|&e| self.extent(e).unwrap_or(0).to_string()).collect(),
        };
        format!("{element} [{}]", shape.join(", "))
    }
}

/// Address and bytes of each buffer of a call, zeros where it is absent; a fixed array keeps the checks free of
/// allocation.
type Spans = [(usize, usize); MAX_BUFFERS];

/// All checks of a call's arguments that need no knowledge of its mathematics.
///
/// # Safety
/// `args` is the entry's `Args` after [`options`]; non-null pointers are valid for what the call says.
pub unsafe fn arguments(
    entry: &Entry,
    args: *mut u8,
    target: Target,
    needed: fn(*const u8) -> u64,
) -> Result<()> {
    let sizes = unsafe { sizes(entry, args)? };
    let call = CheckedSizes { entry, args };
    let mut spans: Spans = [(0, 0); MAX_BUFFERS];
    for (i, buffer) in entry.buffers.iter().enumerate() {
        let (address, bytes) = (call.address(buffer), sizes[i]);
        if address != 0 && buffer.role == BufferRole::Gradient {
            let input = &entry.buffers[buffer.of];
            if input.optional && call.address(input) == 0 {
                return Err(Error::argument(format!(
                    "{}: argument '{}' is given but '{}' is NULL, expected both or neither",
                    entry.name, buffer.name, input.name
                )));
            }
        }
        if address == 0 {
            if buffer.role == BufferRole::Input && !buffer.optional && bytes > 0 {
                return Err(Error::argument(format!(
                    "{}: argument '{}' is NULL, expected {}",
                    entry.name,
                    buffer.name,
                    call.expectation(buffer)
                )));
            }
            continue;
        }
        let align = call.element_size(buffer);
        if !address.is_multiple_of(align) {
            return Err(Error::argument(format!(
                "{}: argument '{}' is {address:#x}, misaligned: expected a multiple of {align}",
                entry.name, buffer.name
            )));
        }
        if address.checked_add(bytes).is_none() {
            return Err(call.too_large(buffer.name));
        }
        spans[i] = (address, bytes);
    }
    overlaps(entry, &call, &spans)?;
    unsafe { workspace(entry, args, target, needed(args), &spans)? };
    match target {
        Target::Host(cpu) => unsafe {
            labels(cpu, entry, &call, &spans)?;
            ranges(cpu, entry, &call, &spans)?;
        },
        #[cfg(gpu)]
        Target::Device => {}
    }
    Ok(())
}

fn overlaps(entry: &Entry, call: &CheckedSizes, spans: &Spans) -> Result<()> {
    let pass = Pass::from_code(unsafe { get(call.args, entry.pass) });
    for (i, written) in entry.buffers.iter().enumerate() {
        let (address, bytes) = spans[i];
        let writes = match written.role {
            BufferRole::Output | BufferRole::Gradient => true,
            BufferRole::Saved => pass == Pass::Forward,
            BufferRole::Input | BufferRole::GradLoss => false,
        };
        if !writes || bytes == 0 || address == 0 {
            continue;
        }
        for (j, other) in entry.buffers.iter().enumerate() {
            let (start, length) = spans[j];
            let same_place = written.in_place == Some(j) && start == address;
            if i == j || length == 0 || start == 0 || same_place {
                continue;
            }
            if address < start + length && start < address + bytes {
                let allowed = match written.in_place {
                    Some(input) if input == j => format!("exactly '{}' or memory of its own", other.name),
                    _ => "memory of its own".to_string(),
                };
                return Err(Error::argument(format!(
                    "{}: argument '{}' ({address:#x}, {bytes} bytes) overlaps '{}' ({start:#x}, {length} bytes), \
                     expected {allowed}",
                    entry.name, written.name, other.name
                )));
            }
        }
    }
    Ok(())
}

/// Looks at every label before anything is written.
unsafe fn labels(cpu: &Cpu, entry: &Entry, call: &CheckedSizes, spans: &Spans) -> Result<()> {
    for (buffer, &(address, bytes)) in entry.buffers.iter().zip(spans) {
        let Some(index) = &buffer.index else { continue };
        if bytes == 0 {
            continue;
        }
        let upper = call.extent(index.extent)?;
        let ignore: Option<i64> = index.ignore.map(|at| unsafe { get(call.args, at) });
        let labels = unsafe { std::slice::from_raw_parts(address as *const i64, bytes / 8) };
        let last = upper.min(i64::MAX as u64) as i64 - 1;
        let (ignored, ignores) = (ignore.unwrap_or(0), -i64::from(ignore.is_some()));
        // Negative where a label is not in its range: cheaper in vectors than comparisons of 64 bits.
        let wrong =
            |label: i64| (label | last.wrapping_sub(label)) & !(-i64::from(label == ignored) & ignores);
        // The first bad row is looked for only if there is one.
        if all(cpu, labels, wrong) {
            continue;
        }
        let row = labels.iter().position(|&label| wrong(label) < 0).unwrap_or(0);
        let or = ignore.map(|i| format!(" or ignore_index ({i})")).unwrap_or_default();
        return Err(Error::new(
            Status::InvalidLabel,
            format!(
                "{}: argument '{}' has value {} in row {row}, expected a value in [0, {upper}){or}",
                entry.name, buffer.name, labels[row]
            ),
        ));
    }
    Ok(())
}

/// Looks at every value with a declared range before anything is written.
unsafe fn ranges(cpu: &Cpu, entry: &Entry, call: &CheckedSizes, spans: &Spans) -> Result<()> {
    for (buffer, &(address, bytes)) in entry.buffers.iter().zip(spans) {
        let Some(range) = &buffer.range else { continue };
        if bytes == 0 {
            continue;
        }
        let dtype = if buffer.element == Element::F32 { DType::F32 } else { call.dtype() };
        let count = bytes / dtype.size();
        let value =
            |i: usize| unsafe { storage::read_one(dtype, (address as *const u8).add(i * dtype.size())) };
        let fine = unsafe {
            let halves = || std::slice::from_raw_parts(address as *const u16, count);
            match dtype {
                DType::F32 => {
                    let values = std::slice::from_raw_parts(address as *const f32, count);
                    all(cpu, values, |v| -i32::from(!range.passes(v)))
                }
                DType::F16 => all(cpu, halves(), |v| -i16::from(!range.passes(bits::f16_to_f32(v)))),
                DType::Bf16 => all(cpu, halves(), |v| -i16::from(!range.passes(bits::bf16_to_f32(v)))),
            }
        };
        if fine {
            continue;
        }
        if let Some(i) = (0..count).find(|&i| !range.passes(value(i))) {
            return Err(Error::argument(format!(
                "{}: argument '{}' has value {} at element {i}, expected a value in {}",
                entry.name,
                buffer.name,
                value(i),
                range.text
            )));
        }
    }
    Ok(())
}

/// Whether none of the values is `wrong`, which is negative then.
fn all<T: Copy + Sync, W: Default + PartialOrd + BitOr<Output = W>>(
    cpu: &Cpu,
    values: &[T],
    wrong: impl Fn(T) -> W + Sync,
) -> bool {
    let fine = AtomicBool::new(true);
    let blocks = Blocks::new(values.len(), 16 << 10, 1);
    cpu.run(blocks.count, size_of_val(values), &|block| {
        if !cpu.isa.dispatch(All { values: &values[blocks.range(block)], wrong: &wrong }) {
            fine.store(false, Ordering::Relaxed);
        }
    });
    fine.into_inner()
}

struct All<'a, T, F> {
    values: &'a [T],
    wrong: &'a F,
}

impl<T: Copy, W: Default + PartialOrd + BitOr<Output = W>, F: Fn(T) -> W> Kernel for All<'_, T, F> {
    type Output = bool;

    /// Without an early exit the compiler makes vectors of it.
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) -> bool {
        const LINES: usize = 8;
        let mut any = W::default();
        for values in self.values.chunks(LINES * 64 / size_of::<T>()) {
            storage::ahead(values.as_ptr().cast(), LINES * 64);
            for &value in values {
                any = any | (self.wrong)(value);
            }
        }
        any >= W::default()
    }
}

impl Range {
    #[inline(always)]
    fn passes(&self, value: f32) -> bool {
        let value = f64::from(value);
        let above = (value > self.low) | ((value == self.low) & !self.low_open);
        let below = (value < self.high) | ((value == self.high) & !self.high_open);
        (above & below) | value.is_nan()
    }
}

unsafe fn workspace(entry: &Entry, args: *mut u8, target: Target, needed: u64, spans: &Spans) -> Result<()> {
    let address: usize = unsafe { get(args, entry.workspace) };
    let bytes: u64 = unsafe { get(args, entry.workspace_bytes) };
    let fail = |text: String| Err(Error::new(Status::WorkspaceTooSmall, format!("{}: {text}", entry.name)));
    if needed == 0 {
        return Ok(());
    }
    if bytes < needed {
        return fail(format!("argument 'workspace_bytes' is {bytes}, expected at least {needed}"));
    }
    if address == 0 {
        return fail(format!("argument 'workspace' is NULL, expected {needed} bytes of memory"));
    }
    #[cfg(gpu)]
    if matches!(target, Target::Device) && !(address as u64).is_multiple_of(DEVICE_ALIGN) {
        return Err(Error::argument(format!(
            "{}: argument 'workspace' is {address:#x}, misaligned: expected a multiple of {DEVICE_ALIGN}",
            entry.name
        )));
    }
    if address.checked_add(needed as usize).is_none() {
        return Err(Error::argument(format!(
            "{}: argument 'workspace' is {address:#x}, expected {needed} bytes of memory",
            entry.name
        )));
    }
    if matches!(target, Target::Host(_)) {
        let aligned = address.next_multiple_of(HOST_ALIGN as usize);
        unsafe { args.add(entry.workspace).cast::<usize>().write_unaligned(aligned) };
        let left = needed - HOST_ALIGN;
        unsafe { args.add(entry.workspace_bytes).cast::<u64>().write_unaligned(left) };
    }
    let other = entry.buffers.iter().zip(spans).find(|(_, (start, length))| {
        (*start as u64) < address as u64 + needed && (address as u64) < (start + length) as u64 && *length > 0
    });
    match other {
        None => Ok(()),
        Some((buffer, (start, length))) => Err(Error::argument(format!(
            "{}: argument 'workspace' ({address:#x}, {needed} bytes) overlaps '{}' ({start:#x}, {length} bytes), \
             expected memory of its own",
            entry.name, buffer.name
        ))),
    }
}

/// # Safety
/// `args` is the entry's `Args`.
#[cfg(gpu)]
pub unsafe fn set_device_flags(entry: &Entry, args: *mut u8, flags: *mut u32) {
    unsafe { args.add(entry.device_flags).cast::<*mut u32>().write(flags) };
}
