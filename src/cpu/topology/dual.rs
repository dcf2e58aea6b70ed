//! The top dimension: from the end of the order on, top cells and the outside are joined by the cells of one
//! dimension less between them. What such a cell joins, the earlier of the two, is what kills the class that
//! it gives birth to.

use super::NONE;
use super::cells::SQUARES;
use super::forest::find;
use super::grid::{Grid, direction};
use super::order::Order;
use super::star::{Kind, STARS, Steps};

/// Ranks of the last voxels of the top cells, by their lowest position; the place behind the last stands for
/// the outside, as do all cells that reach out of the image.
pub fn last_voxels(grid: &Grid, order: &Order, into: &mut [u32]) {
    let cells = grid.padded;
    into[..cells].copy_from_slice(order.rank);
    into[cells] = NONE;
    for axis in 3 - grid.axes..3 {
        let step = grid.step[axis];
        for m in 0..cells - step {
            into[m] = into[m].max(into[m + step]);
        }
        into[cells - step..cells].fill(NONE);
    }
}

/// Whether top cell `a` enters before `b`.
pub fn before(last: &[u32], a: u32, b: u32) -> bool {
    (last[a as usize], a) < (last[b as usize], b)
}

/// A cell of one dimension less than the top that has voxel `rank` as its last, and its place among these.
pub struct Joining {
    pub rank: u32,
    pub code: u32,
    /// The top cells at the roots of what it joins, if it joins anything. The later one, `elder` in this order,
    /// goes on.
    pub roots: Option<[u32; 2]>,
}

/// Tells the cells of one dimension less from the last to the first. `last`: see [`last_voxels`]; `parent`: as
/// long. In a plane, cells that join nothing may not be told of, and unless `EVERY` neither those that join what
/// enters with the same voxel.
pub fn components<const EVERY: bool>(
    grid: &Grid,
    order: &Order,
    last: &[u32],
    parent: &mut [u32],
    mut met: impl FnMut(Joining),
) {
    let outside = grid.padded as u32;
    for (cell, parent) in parent.iter_mut().enumerate() {
        *parent = if last[cell] == NONE { outside } else { cell as u32 };
    }
    let (facets, count) = facets(grid);
    // An edge has one other voxel, a square three.
    let others = if grid.axes == 2 { 1 } else { 3 };
    let steps = Steps::new(grid);
    for (rank, &position) in order.at.iter().enumerate().rev() {
        if grid.axes == 2 {
            let star = &STARS[order.masks[position as usize] as usize];
            let root = match star.kind {
                Kind::Peak => continue,
                // Beside the arc all is one: the edges to later voxels have joined it.
                Kind::Regular => position.wrapping_add_signed(steps.squares[star.beside as usize]),
                Kind::Pit => position,
                Kind::Saddle => NONE,
            };
            if root != NONE {
                // The squares of a pit are joined to the last of them.
                let mut left = star.squares & if star.kind == Kind::Pit { 0b1101 } else { 0b1111 };
                let root = if EVERY && left != 0 { find(parent, root) } else { root };
                while left != 0 {
                    let square = steps.squares[left.trailing_zeros() as usize];
                    let square = position.wrapping_add_signed(square);
                    left &= left - 1;
                    parent[square as usize] = root;
                    if EVERY {
                        met(Joining { rank: rank as u32, code: 0, roots: Some([root, square]) });
                    }
                }
                continue;
            }
        }
        for facet in facets[..count].iter().rev() {
            let rank = rank as u32;
            let corner = |step: i32| order.rank[position.wrapping_add_signed(step) as usize];
            if !facet.others[..others].iter().all(|&step| corner(step) < rank) {
                continue;
            }
            let cell = position.wrapping_add_signed(facet.base);
            let [a, b] = [cell, cell - facet.back].map(|c| find(parent, c));
            let roots = (a != b).then(|| if before(last, a, b) { [b, a] } else { [a, b] });
            if let Some([elder, younger]) = roots {
                parent[younger as usize] = elder;
            }
            met(Joining { rank, code: facet.code, roots });
        }
    }
}

/// A cell of one dimension less than the top, seen from its last voxel.
#[derive(Clone, Copy, Default)]
struct Facet {
    code: u32,
    /// Steps to its other voxels.
    others: [i32; 3],
    /// Step to its lowest position; the top cell there is on one side ...
    base: i32,
    /// ... and the one so far below on the other.
    back: u32,
}

/// In the order they enter, and how many there are: four edges of a plane, twelve squares of a volume.
fn facets(grid: &Grid) -> ([Facet; 12], usize) {
    let step = grid.step.map(|s| s as i32);
    let mut facets = [Facet::default(); 12];
    if grid.axes == 2 {
        for (facet, code) in facets.iter_mut().zip(1..5) {
            let (axis, sign) = direction(code);
            let other = sign * step[axis];
            *facet = Facet { code, others: [other; 3], base: other.min(0), back: step[3 - axis] as u32 };
        }
        return (facets, 4);
    }
    for (code, &([a, b], [low, high])) in SQUARES.iter().enumerate() {
        let (low, high) = (low * step[a], high * step[b]);
        facets[code] = Facet {
            code: code as u32,
            others: [low, high, low + high],
            base: low.min(0) + high.min(0),
            back: step[3 - a - b] as u32,
        };
    }
    (facets, 12)
}
