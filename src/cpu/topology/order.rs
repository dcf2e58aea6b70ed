//! The order in which voxels enter: larger value first, then smaller index.

use super::arena::{Arena, bytes};
use super::grid::Grid;
use super::{NONE, star};

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

const DIGITS: [(u32, usize); 3] = [(32, 11), (43, 11), (54, 10)];

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
        let mut from = scratch.take(n, 0u64);
        let mut to = scratch.take(n, 0u64);
        let mut counts = [[0u32; 1 << 11]; 3];
        let mut index = 0;
        // Equal values are often neighbours, and counting one by one would wait for the count before.
        let (mut run, mut of) = (0u32, 0u64);
        let mut count = |pair: u64, run: u32| {
            for (count, digit) in counts.iter_mut().zip(DIGITS) {
                count[place(pair, digit)] += run;
            }
        };
        for row in grid.rows() {
            for position in row..row + grid.width() {
                let pair = u64::from(key(value(index))) << 32 | position as u64;
                from[index] = pair;
                index += 1;
                if (pair ^ of) >> 32 == 0 {
                    run += 1;
                } else {
                    count(of, run);
                    (run, of) = (1, pair);
                }
            }
        }
        count(of, run);
        for (count, digit) in counts.iter_mut().zip(DIGITS) {
            if n == 0 || count[place(from[0], digit)] as usize == n {
                continue;
            }
            let mut start = 0;
            for c in count.iter_mut() {
                (*c, start) = (start, start + *c);
            }
            for &pair in from.iter() {
                let c = &mut count[place(pair, digit)];
                to[*c as usize] = pair;
                *c += 1;
            }
            std::mem::swap(&mut from, &mut to);
        }
        for (r, &pair) in from.iter().enumerate() {
            at[r] = pair as u32;
            keys[r] = (pair >> 32) as u32;
            rank[pair as u32 as usize] = r as u32;
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
        let bits = !self.keys[rank as usize];
        f32::from_bits(if bits >> 31 == 1 { bits & 0x7fff_ffff } else { !bits })
    }
}

fn masks(grid: &Grid) -> usize {
    if grid.axes == 2 { grid.padded } else { 0 }
}

fn place(pair: u64, (shift, width): (u32, usize)) -> usize {
    (pair >> shift) as usize & ((1 << width) - 1)
}

/// Integers in the reverse order of the floats; both zeros are one.
fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    !(if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 })
}
