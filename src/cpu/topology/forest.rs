//! Union-find; the components of the voxels that have entered.

use super::grid::{DIRECTIONS, Grid};
use super::order::Order;
use super::star::{Kind, STARS, Steps};

/// The root of `x`, halving the path to it.
pub fn find(parent: &mut [u32], mut x: u32) -> u32 {
    loop {
        let above = parent[x as usize];
        if above == x {
            return x;
        }
        let next = parent[above as usize];
        parent[x as usize] = next;
        x = next;
    }
}

/// An edge joined two components.
pub struct Merge {
    /// Roots: first voxels of the components, by rank. The elder one goes on.
    pub elder: u32,
    pub younger: u32,
    /// Rank of the edge's last voxel, and the direction from there.
    pub last: u32,
    pub code: u32,
}

/// Lets all voxels and edges enter in order and tells the edges that join components. `parent`: a place per
/// voxel. In a plane and unless `EVERY`, voxels that only join a component may not be told of.
pub fn components<const EVERY: bool>(
    grid: &Grid,
    order: &Order,
    parent: &mut [u32],
    mut merged: impl FnMut(Merge),
) {
    let steps = Steps::new(grid);
    let (directions, unused) = grid.directions();
    let directions = &directions[unused..DIRECTIONS - unused];
    for (last, &position) in order.at.iter().enumerate() {
        let last = last as u32;
        parent[last as usize] = last;
        if grid.axes == 2 {
            let star = &STARS[order.masks[position as usize] as usize];
            if star.kind == Kind::Peak {
                continue;
            }
            if star.kind != Kind::Saddle {
                let step = steps.directions[star.neighbour as usize];
                let mut other = order.rank[position.wrapping_add_signed(step) as usize];
                if EVERY {
                    other = find(parent, other);
                    merged(Merge { elder: other, younger: last, last, code: 0 });
                }
                parent[last as usize] = other;
                continue;
            }
        }
        let mut own = last;
        for &(code, step) in directions {
            let other = order.rank[position.wrapping_add_signed(step) as usize];
            if other >= last {
                continue;
            }
            let other = find(parent, other);
            if other != own {
                let (elder, younger) = (own.min(other), own.max(other));
                parent[younger as usize] = elder;
                own = elder;
                merged(Merge { elder, younger, last, code });
            }
        }
    }
}
