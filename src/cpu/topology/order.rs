//! The order in which voxels enter: larger value first, then smaller index.

use super::arena::{Arena, bytes};
use super::grid::Grid;
use super::{NONE, star};
use crate::cpu::sort;

pub struct Order<'a> {
    /// Place in the order of the voxel at a position.
    pub rank: &'a [u32],
    /// Position of the voxel with a rank.
    pub at: &'a [u32],
    /// By rank; increases as values fall.
    keys: &'a [u32],
    /// Of a plane, by position: which neighbours enter before, see [`star`].
    pub masks: &'a [u8],
}

impl<'a> Order<'a> {
    pub fn bytes(grid: &Grid) -> usize {
        bytes::<u32>(grid.padded) + 2 * bytes::<u32>(grid.voxels) + bytes::<u8>(masks(grid))
    }

    /// What is needed beside the result while it is made.
    pub fn scratch_bytes(grid: &Grid) -> usize {
        2 * bytes::<u64>(grid.voxels)
    }

    /// Sorts by `value` of the flat index, none of them NaN: a radix sort of key and position together.
    pub fn new(
        grid: &Grid,
        value: impl Fn(usize) -> f32,
        room: &mut Arena<'a>,
        mut scratch: Arena,
    ) -> Order<'a> {
        let n = grid.voxels;
        let rank = room.take(grid.padded, NONE);
        let at = room.take(n, 0u32);
        let keys = room.take(n, 0u32);
        let masks = room.take(masks(grid), 0u8);
        let (pairs, other) = (scratch.take(n, 0u64), scratch.take(n, 0u64));
        let positions = grid.rows().flat_map(|row| row..row + grid.width());
        for (index, (pair, position)) in pairs.iter_mut().zip(positions).enumerate() {
            *pair = sort::pair(!sort::key(value(index)), position);
        }
        for (r, &pair) in sort::sort(None, pairs, other, 32).iter().enumerate() {
            let (key, position) = sort::parts(pair);
            at[r] = position as u32;
            keys[r] = key;
            rank[position] = r as u32;
        }
        if !masks.is_empty() {
            star::masks(grid, rank, masks);
        }
        Order { rank, at, keys, masks }
    }

    /// Whether the voxels with these ranks have different values.
    pub fn differ(&self, a: u32, b: u32) -> bool {
        self.keys[a as usize] != self.keys[b as usize]
    }

    pub fn value(&self, rank: u32) -> f32 {
        sort::value(!self.keys[rank as usize])
    }
}

fn masks(grid: &Grid) -> usize {
    if grid.axes == 2 { grid.padded } else { 0 }
}
