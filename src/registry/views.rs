//! Views of checked buffers in host memory.

use std::ffi::c_void;
use std::marker::PhantomData;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    F32,
    F16,
    Bf16,
}

impl DType {
    pub fn from_code(code: i32) -> Option<DType> {
        [DType::F32, DType::F16, DType::Bf16].get(usize::try_from(code).ok()?).copied()
    }

    pub fn size(self) -> usize {
        if self == DType::F32 { 4 } else { 2 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    None,
    Mean,
    Sum,
    /// Sum over the number of rows.
    BatchMean,
}

impl Reduction {
    pub fn from_code(code: i32) -> Reduction {
        match code {
            0 => Reduction::None,
            1 => Reduction::Mean,
            3 => Reduction::BatchMean,
            _ => Reduction::Sum,
        }
    }
}

/// Floats of a run-time type. Holds a pointer, not a slice: a gradient may be written over the input it
/// belongs to, so the same memory can be behind a [`FloatsMut`] too. Traversals read an element before
/// they write it.
#[derive(Clone, Copy)]
pub struct Floats<'a> {
    pub ptr: *const u8,
    pub dtype: DType,
    pub len: usize,
    pub columns: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    lifetime: PhantomData<&'a [u8]>,
}

/// See [`Floats`].
#[derive(Clone, Copy)]
pub struct FloatsMut<'a> {
    pub ptr: *mut u8,
    pub dtype: DType,
    pub len: usize,
    pub columns: usize,
    pub stride: usize,
    lifetime: PhantomData<&'a mut [u8]>,
}

// SAFETY: the views carry no thread-bound state; traversals write disjoint parts from different threads.
unsafe impl Send for Floats<'_> {}
unsafe impl Sync for Floats<'_> {}
unsafe impl Send for FloatsMut<'_> {}
unsafe impl Sync for FloatsMut<'_> {}

impl<'a> Floats<'a> {
    /// Dense rows of f32.
    pub fn rows(values: &'a [f32], columns: usize) -> Floats<'a> {
        let (ptr, len) = (values.as_ptr().cast(), values.len());
        Floats { ptr, dtype: DType::F32, len, columns, stride: columns, lifetime: PhantomData }
    }

    /// Pointer to element `index` of a dense buffer.
    ///
    /// # Safety
    /// `index <= len`.
    pub unsafe fn at(&self, index: usize) -> *const u8 {
        unsafe { self.ptr.add(index * self.dtype.size()) }
    }

    /// # Safety
    /// `row` is within the buffer.
    pub unsafe fn row(&self, row: usize) -> *const u8 {
        unsafe { self.ptr.add(row * self.stride * self.dtype.size()) }
    }
}

impl FloatsMut<'_> {
    /// # Safety
    /// See [`Floats::at`].
    pub unsafe fn at(&self, index: usize) -> *mut u8 {
        unsafe { self.ptr.add(index * self.dtype.size()) }
    }

    /// # Safety
    /// See [`Floats::row`].
    pub unsafe fn row(&self, row: usize) -> *mut u8 {
        unsafe { self.ptr.add(row * self.stride * self.dtype.size()) }
    }
}

/// # Safety
/// The caller checked pointer and sizes; `dtype` is valid.
pub unsafe fn floats<'a>(
    ptr: *const c_void,
    dtype: i32,
    len: usize,
    columns: usize,
    stride: usize,
) -> Floats<'a> {
    let dtype = DType::from_code(dtype).unwrap_or(DType::F32);
    Floats { ptr: ptr.cast(), dtype, len, columns, stride, lifetime: PhantomData }
}

/// A view of f32 values.
pub fn floats_of(values: &[f32]) -> Floats<'_> {
    let len = values.len();
    Floats {
        ptr: values.as_ptr().cast(),
        dtype: DType::F32,
        len,
        columns: len,
        stride: len,
        lifetime: PhantomData,
    }
}

/// # Safety
/// See [`floats`].
pub unsafe fn floats_mut<'a>(
    ptr: *mut c_void,
    dtype: i32,
    len: usize,
    columns: usize,
    stride: usize,
) -> FloatsMut<'a> {
    let dtype = DType::from_code(dtype).unwrap_or(DType::F32);
    FloatsMut { ptr: ptr.cast(), dtype, len, columns, stride, lifetime: PhantomData }
}

/// # Safety
/// The caller checked pointer and length; null is fine where the length is 0.
pub unsafe fn slice<'a, T>(ptr: *const T, len: usize) -> &'a [T] {
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(ptr, len) } }
}

/// # Safety
/// See [`slice`].
pub unsafe fn slice_mut<'a, T>(ptr: *mut T, len: usize) -> &'a mut [T] {
    if len == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(ptr, len) } }
}
