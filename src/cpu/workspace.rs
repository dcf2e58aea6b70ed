//! The caller's workspace, cut into arrays.

use bytemuck::Pod;
use std::mem::MaybeUninit;

/// Arrays start at multiples of this.
const ALIGN: usize = 64;

/// Adds up what [`Workspace::take`] will hand out, in any order.
#[derive(Clone, Copy, Default)]
pub struct Size(u64);

impl Size {
    /// Room for `count` values more.
    pub fn add<T: Pod>(self, count: u64) -> Size {
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
    pub fn take<T: Pod>(&mut self, count: usize, fill: T) -> &'a mut [T] {
        let array = self.take_blank(count);
        array.iter_mut().for_each(|place| _ = place.write(fill));
        // SAFETY: just initialised.
        unsafe { &mut *(std::ptr::from_mut(array) as *mut [T]) }
    }

    /// An array that is yet to be written.
    pub fn take_blank<T: Pod>(&mut self, count: usize) -> &'a mut [MaybeUninit<T>] {
        let bytes = (count * size_of::<T>()).next_multiple_of(ALIGN);
        let (mine, rest) = std::mem::take(&mut self.0).split_at_mut(bytes);
        self.0 = rest;
        // SAFETY: aligned, long enough, and ours alone.
        unsafe { std::slice::from_raw_parts_mut(mine.as_mut_ptr().cast(), count) }
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
