//! What a voxel of a plane brings with it, by which of its eight neighbours have entered before. Most voxels
//! change nothing (their lower link is one arc), and are linked to a neighbour without a search.

use super::NONE;
use super::grid::Grid;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No neighbour has entered: a component is born.
    Peak,
    /// The neighbours that have entered make one arc: nothing changes.
    Regular,
    /// All eight have entered: a loop dies.
    Pit,
    /// Several arcs: components meet, or a loop is born.
    Saddle,
}

/// Directions and quadrants are counted clockwise: N E S W, and NE SE SW NW behind each.
#[derive(Clone, Copy)]
pub struct Star {
    pub kind: Kind,
    /// A direction with an earlier neighbour, if there is one.
    pub neighbour: u8,
    /// Bits of the quadrants whose squares enter with this voxel.
    pub squares: u8,
    /// Of a regular voxel: a quadrant beside its arc whose square enters later.
    pub beside: u8,
}

pub static STARS: [Star; 256] = {
    let mut stars = [Star { kind: Kind::Peak, neighbour: 0, squares: 0, beside: 0 }; 256];
    let mut mask = 1;
    while mask < 256 {
        stars[mask] = star(mask as u8);
        mask += 1;
    }
    stars
};

/// Bit 2 i: the neighbour in direction i; bit 2 i + 1: the one in quadrant i.
const fn star(mask: u8) -> Star {
    let mut star = Star { kind: Kind::Peak, neighbour: 0, squares: 0, beside: 0 };
    let (mut directions, mut squares, mut i) = (0, 0, 0);
    while i < 4 {
        let corners = 0b111u16 << (2 * i);
        let corners = (corners | corners >> 8) as u8;
        if mask & corners == corners {
            star.squares |= 1 << i;
            squares += 1;
        }
        if mask >> (2 * i) & 1 == 1 {
            star.neighbour = i;
            directions += 1;
            // Quadrant i - 1 is on the other side of direction i.
            let before = (i + 3) % 4;
            let corners = 0b111u16 << (2 * before);
            let corners = (corners | corners >> 8) as u8;
            if mask & corners != corners {
                star.beside = before;
            }
        }
        i += 1;
    }
    star.kind = match (directions, directions - squares) {
        (0, _) => Kind::Peak,
        (4, 0) => Kind::Pit,
        (_, 1) => Kind::Regular,
        _ => Kind::Saddle,
    };
    star
}

/// Steps from a voxel, by direction and by quadrant (to the lowest position of its square).
#[derive(Clone, Copy)]
pub struct Steps {
    pub directions: [i32; 4],
    pub squares: [i32; 4],
}

impl Steps {
    pub fn new(grid: &Grid) -> Steps {
        let row = grid.step[1] as i32;
        Steps { directions: [-row, 1, row, -1], squares: [-row, 0, -1, -row - 1] }
    }
}

/// The masks of all positions of a plane, from the voxels' ranks.
pub fn masks(grid: &Grid, rank: &[u32], into: &mut [u8]) {
    let row = grid.step[1];
    let width = grid.width();
    for start in grid.rows() {
        let line = |from: usize| &rank[from..from + width];
        let own = line(start);
        let around = [
            line(start - row),
            line(start - row + 1),
            line(start + 1),
            line(start + row + 1),
            line(start + row),
            line(start + row - 1),
            line(start - 1),
            line(start - row - 1),
        ];
        let into = &mut into[start..start + width];
        for x in 0..width {
            debug_assert_ne!(own[x], NONE);
            let mut mask = 0;
            for (bit, line) in around.iter().enumerate() {
                mask |= u8::from(line[x] < own[x]) << bit;
            }
            into[x] = mask;
        }
    }
}
