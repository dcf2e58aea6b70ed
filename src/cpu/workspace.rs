//! The caller's workspace, cut into arrays.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Arrays start at multiples of this.
const ALIGN: usize = 64;

/// Adds up what [`Workspace::take`] will hand out, in any order.
#[derive(Clone, Copy, Default)]
pub struct Size(u64);

impl Size {
    /// Room for `count` values more.
    pub fn add<T: Copy>(self, count: u64) -> Size {
        let bytes = count.saturating_mul(size_of::<T>() as u64);
        Size(self.0.saturating_add(bytes.saturating_add(ALIGN as u64 - 1) / ALIGN as u64 * ALIGN as u64))
    }

    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// What is left of the workspace; it starts at a multiple of 64 bytes.
pub struct Workspace<'a>(&'a mut [MaybeUninit<u8>]);

impl<'a> Workspace<'a> {
    pub fn new(memory: &'a mut [MaybeUninit<u8>]) -> Workspace<'a> {
        assert!(memory.is_empty() || memory.as_ptr().addr().is_multiple_of(ALIGN));
        Workspace(memory)
    }

    /// An array of `count` values of `fill`.
    pub fn take<T: Copy>(&mut self, count: usize, fill: T) -> &'a mut [T] {
        let array = self.take_blank::<T>(count);
        array.iter_mut().for_each(|place| _ = place.write(fill));
        // SAFETY: just initialised.
        unsafe { &mut *(std::ptr::from_mut(array) as *mut [T]) }
    }

    /// `count` places for the blocks of a parallel loop; what is in them is not known.
    pub fn take_places<T: Copy>(&mut self, count: usize) -> Places<'a, T> {
        let array = self.take_blank::<T>(count);
        Places { ptr: array.as_mut_ptr().cast(), count, lifetime: PhantomData }
    }

    /// An array that is yet to be written.
    pub fn take_blank<T: Copy>(&mut self, count: usize) -> &'a mut [MaybeUninit<T>] {
        let bytes = (count * size_of::<T>()).next_multiple_of(ALIGN);
        let (mine, rest) = std::mem::take(&mut self.0).split_at_mut(bytes);
        self.0 = rest;
        const { assert!(align_of::<T>() <= ALIGN) };
        // SAFETY: aligned, long enough, and ours alone.
        unsafe { std::slice::from_raw_parts_mut(mine.as_mut_ptr().cast(), count) }
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

    /// Writes `count` places from `start` on.
    ///
    /// # Safety
    /// Nobody else uses them meanwhile.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn fill(&self, start: usize, count: usize, value: T) -> &'a mut [T] {
        assert!(start <= self.count && count <= self.count - start);
        unsafe {
            (start..start + count).for_each(|index| self.ptr.add(index).write(value));
            self.slice_mut(start, count)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_fit_what_was_added_up() {
        let size = Size::default().add::<f32>(5).add::<f64>(9).add::<f32>(0).bytes();
        assert_eq!(size, 64 + 128);
        let mut memory = vec![[MaybeUninit::<u8>::uninit(); 64]; 8];
        let start = memory.as_ptr().addr().next_multiple_of(64) - memory.as_ptr().addr();
        let mut work = Workspace::new(&mut memory.as_flattened_mut()[start..start + size as usize]);
        let (a, b, c) = (work.take::<f32>(5, 1.0), work.take::<f64>(9, 2.0), work.take::<f32>(0, 0.0));
        assert_eq!((a, b, c.len()), ([1.0f32; 5].as_mut_slice(), [2.0f64; 9].as_mut_slice(), 0));
    }
}
