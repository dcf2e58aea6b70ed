//! Pieces of the caller's workspace.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Every piece begins at a multiple of this.
const ALIGN: usize = 64;

/// Bytes that `count` values of `T` take in a workspace. An absurd count gives an absurd size, which no caller has.
pub fn bytes_of<T>(count: usize) -> u64 {
    (count as u64).saturating_mul(size_of::<T>() as u64).saturating_add(ALIGN as u64 - 1)
        & !(ALIGN as u64 - 1)
}

/// What is left of a workspace.
pub struct Workspace<'a>(&'a mut [MaybeUninit<u8>]);

impl<'a> Workspace<'a> {
    /// `bytes` is aligned to [`ALIGN`].
    pub fn new(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        Workspace(bytes)
    }

    /// The next `count` values; what is in them is not known.
    pub fn take<T: Copy>(&mut self, count: usize) -> Places<'a, T> {
        const { assert!(align_of::<T>() <= ALIGN) };
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(bytes_of::<T>(count) as usize);
        self.0 = rest;
        let ptr = piece.as_mut_ptr().cast::<T>();
        assert!(ptr.is_aligned());
        Places { ptr, count, lifetime: PhantomData }
    }
}

/// Values in a workspace, shared by the blocks of a parallel loop. A place is written by one block at a time and
/// read when it has been written: whoever writes a skeleton answers for that.
#[derive(Clone, Copy)]
pub struct Places<'a, T> {
    ptr: *mut T,
    count: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: see above.
unsafe impl<T: Send> Send for Places<'_, T> {}
unsafe impl<T: Send> Sync for Places<'_, T> {}

impl<'a, T: Copy> Places<'a, T> {
    /// Pointer to place `index` and those after it.
    pub fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.count);
        // SAFETY: within the piece, or its end.
        unsafe { self.ptr.add(index) }
    }

    pub fn set(&self, index: usize, value: T) {
        assert!(index < self.count);
        // SAFETY: within the piece.
        unsafe { self.ptr.add(index).write(value) }
    }

    /// # Safety
    /// The place has been written.
    pub unsafe fn get(&self, index: usize) -> T {
        assert!(index < self.count);
        unsafe { self.ptr.add(index).read() }
    }

    /// # Safety
    /// The places have been written, and nobody writes them meanwhile.
    pub unsafe fn slice(&self, start: usize, count: usize) -> &'a [T] {
        assert!(start <= self.count && count <= self.count - start);
        unsafe { std::slice::from_raw_parts(self.ptr.add(start), count) }
    }

    /// # Safety
    /// The places have been written, and nobody else uses them meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut(&self, start: usize, count: usize) -> &'a mut [T] {
        assert!(start <= self.count && count <= self.count - start);
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), count) }
    }
}
