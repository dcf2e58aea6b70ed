//! Edges and squares of a volume, by base (lowest position) and axis (an edge's own, a square's normal), and
//! their keys in an order: rank of the last voxel, then place among its cells of the same dimension.

use super::NONE;
use super::grid::{Grid, direction};

/// A cell: base and axis.
pub type Cell = (u32, usize);

/// Squares seen from their last voxel, in the order they enter: axes and signs of their sides.
pub const SQUARES: [([usize; 2], [i32; 2]); 12] = [
    ([0, 1], [-1, -1]),
    ([0, 2], [-1, -1]),
    ([0, 2], [-1, 1]),
    ([0, 1], [-1, 1]),
    ([1, 2], [-1, -1]),
    ([1, 2], [-1, 1]),
    ([1, 2], [1, -1]),
    ([1, 2], [1, 1]),
    ([0, 1], [1, -1]),
    ([0, 2], [1, -1]),
    ([0, 2], [1, 1]),
    ([0, 1], [1, 1]),
];

/// Place in [`SQUARES`] by normal and by the two corner bits of the last voxel (1 = upper side).
const PLACES: [[u32; 4]; 3] = [[7, 6, 5, 4], [10, 9, 2, 1], [11, 8, 3, 0]];

/// Sides of a square by its normal.
const SIDES: [[usize; 2]; 3] = [[1, 2], [0, 2], [0, 1]];

/// Number of a cell below 3 times the number of positions.
pub fn number((base, axis): Cell) -> usize {
    3 * base as usize + axis
}

pub fn from_number(number: u32) -> Cell {
    (number / 3, number as usize % 3)
}

/// The cells of a grid in one order.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    pub step: [u32; 3],
    pub rank: &'a [u32],
    pub at: &'a [u32],
}

impl<'a> Cells<'a> {
    pub fn new(grid: &Grid, order: &super::order::Order<'a>) -> Cells<'a> {
        Cells { step: grid.step.map(|s| s as u32), rank: order.rank, at: order.at }
    }

    fn rank(&self, position: u32) -> u32 {
        self.rank[position as usize]
    }

    pub fn edge_key(&self, (base, axis): Cell) -> u32 {
        let (low, high) = (self.rank(base), self.rank(base + self.step[axis]));
        if low > high { low << 3 | (5 - axis as u32) } else { high << 3 | axis as u32 }
    }

    pub fn edge(&self, key: u32) -> Cell {
        let last = self.at[(key >> 3) as usize];
        let (axis, sign) = direction(key & 7);
        (if sign < 0 { last - self.step[axis] } else { last }, axis)
    }

    /// [`NONE`] for a square that reaches out of the image.
    pub fn square_key(&self, (base, normal): Cell) -> u32 {
        let [a, b] = SIDES[normal].map(|axis| self.step[axis]);
        let corners = [base, base + b, base + a, base + a + b].map(|p| self.rank(p));
        let (mut corner, mut last) = (0, corners[0]);
        for (i, &rank) in corners.iter().enumerate().skip(1) {
            if rank > last {
                (corner, last) = (i, rank);
            }
        }
        if last == NONE { NONE } else { last << 4 | PLACES[normal][corner] }
    }

    pub fn square(&self, key: u32) -> Cell {
        let ([a, b], [low, high]) = SQUARES[(key & 15) as usize];
        let mut base = self.at[(key >> 4) as usize];
        for (axis, sign) in [(a, low), (b, high)] {
            if sign < 0 {
                base -= self.step[axis];
            }
        }
        (base, 3 - a - b)
    }

    /// The edges of a square.
    pub fn edges(&self, (base, normal): Cell) -> [Cell; 4] {
        let [a, b] = SIDES[normal];
        [(base, a), (base, b), (base + self.step[a], b), (base + self.step[b], a)]
    }

    /// Key of the first square with this edge.
    pub fn first_square(&self, (base, axis): Cell) -> u32 {
        let [a, b] = SIDES[axis];
        // A square beside the edge along a has the normal b.
        let beside = [(base, b), (base - self.step[a], b), (base, a), (base - self.step[b], a)];
        beside.map(|square| self.square_key(square)).into_iter().min().unwrap_or(NONE)
    }
}
