//! Pieces of a workspace.

use bytemuck::Pod;
use std::mem::MaybeUninit;

const ALIGN: usize = 64;

/// The part of a workspace that is left. Pieces begin at multiples of 64 bytes, as the workspace does.
pub struct Arena<'a>(&'a mut [MaybeUninit<u8>]);

/// More than any memory has; such sums of them do not overflow.
const TOO_MANY: usize = usize::MAX >> 8;

/// Room that [`Arena::take`] needs.
pub fn bytes<T>(len: usize) -> usize {
    len.saturating_mul(size_of::<T>()).min(TOO_MANY).next_multiple_of(ALIGN)
}

impl<'a> Arena<'a> {
    pub fn new(room: &'a mut [MaybeUninit<u8>]) -> Arena<'a> {
        assert!(room.as_ptr().addr().is_multiple_of(ALIGN) || room.is_empty());
        Arena(room)
    }

    /// `len` places, all with `value`.
    pub fn take<T: Pod>(&mut self, len: usize, value: T) -> &'a mut [T] {
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(bytes::<T>(len));
        self.0 = rest;
        let first = piece.as_mut_ptr().cast::<T>();
        // SAFETY: the piece is aligned, long enough, ours alone, and every place is written before it is seen.
        unsafe {
            (0..len).for_each(|i| first.add(i).write(value));
            std::slice::from_raw_parts_mut(first, len)
        }
    }

    /// An arena of its own with room of [`bytes`] in all.
    pub fn part(&mut self, size: usize) -> Arena<'a> {
        let (piece, rest) = std::mem::take(&mut self.0).split_at_mut(size);
        self.0 = rest;
        Arena(piece)
    }

    /// The same room once more, for what is needed in turn.
    pub fn again(&mut self) -> Arena<'_> {
        Arena(&mut *self.0)
    }
}
