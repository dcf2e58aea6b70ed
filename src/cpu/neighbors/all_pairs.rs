//! Neighbours by all distances, in the tiles of the Gram skeleton.

use super::nearest::Nearest;
use super::{BLOCKS, Points};
use crate::cpu::Cpu;
use crate::cpu::gram::{self, Pairs, ROWS, RowSum, Space};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::Simd;
use crate::registry::Floats;

/// Values that queries under way keep: k each.
pub fn candidates(n: u64, k: u64) -> u64 {
    n.next_multiple_of(ROWS as u64).min((BLOCKS * ROWS) as u64).saturating_mul(k)
}

pub fn kth_distances(cpu: &Cpu, points: &Points, k: usize, room: Cells, out: Cells) {
    let values = Floats::rows(points.values, points.dims);
    let spaces = [Space { x: values, y: values, scale: 1.0 }];
    let pairs = Pairs { rows: points.n, columns: points.n, spaces: &spaces, skip_self: true, exact: true };
    let blocks = points.n.div_ceil(ROWS);
    // In rounds of as many blocks as there is room for.
    for first in (0..blocks).step_by(BLOCKS) {
        let rows = first * ROWS..points.n.min((first + BLOCKS) * ROWS);
        gram::row_sums_of(cpu, &pairs, rows.clone(), &KSmallest { points, k, first: rows.start, room, out });
    }
}

struct KSmallest<'a> {
    points: &'a Points<'a>,
    k: usize,
    /// Row that the room begins with.
    first: usize,
    room: Cells<'a>,
    out: Cells<'a>,
}

struct State {
    first: usize,
    farthest: [f32; ROWS],
}

impl KSmallest<'_> {
    /// The candidates of row `i`.
    #[allow(clippy::mut_from_ref)]
    fn candidates(&self, i: usize) -> &mut [f32] {
        // SAFETY: `at` checks the end; a row's block alone uses its part.
        unsafe {
            let last = self.room.at((i - self.first + 1) * self.k - 1);
            std::slice::from_raw_parts_mut(last.sub(self.k - 1), self.k)
        }
    }
}

impl RowSum for KSmallest<'_> {
    type State = State;

    fn start(&self, rows: std::ops::Range<usize>) -> State {
        rows.clone().for_each(|i| self.candidates(i).fill(f32::INFINITY));
        State { first: rows.start, farthest: [f32::INFINITY; ROWS] }
    }

    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, state: &mut State, tile: *const f32, rows: usize, columns: usize) {
        for j in 0..columns {
            let mut i = 0;
            while i < rows {
                // SAFETY: within the tile.
                let closer =
                    unsafe { s.lt(s.load(tile.add(j * ROWS + i)), s.load(state.farthest.as_ptr().add(i))) };
                let mut bits = s.mask_bits(closer);
                while bits != 0 {
                    let slot = i + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    if slot < rows {
                        let mut nearest = Nearest::resume(self.candidates(state.first + slot));
                        nearest.offer(unsafe { *tile.add(j * ROWS + slot) });
                        state.farthest[slot] = nearest.farthest();
                    }
                }
                i += S::LANES;
            }
        }
    }

    fn finish(&self, state: &State, slot: usize, i: usize) {
        self.out.set(i, self.points.distance(i, state.farthest[slot], self.candidates(i)));
    }
}
