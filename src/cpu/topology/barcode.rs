//! All bars of an image.

use super::arena::{Arena, bytes};
use super::cells::Cells;
use super::grid::Grid;
use super::middle::Problem;
use super::order::Order;
use super::{NONE, OutOfMemory, dual, forest, middle};

/// Bars in order of dimension, birth, birth voxel, death voxel.
pub struct Barcode<'a> {
    order: Order<'a>,
    bars: &'a [u64],
    /// Where each dimension ends.
    ends: [usize; 3],
}

pub struct Bar {
    pub dimension: i64,
    pub birth: f32,
    pub death: f32,
    pub birth_voxel: i64,
    /// -1 for the bar that never dies.
    pub death_voxel: i64,
}

/// More bars than an image of so many voxels can have. A voxel enters with its lower link L, a subcomplex of
/// the octahedron: bars = #(L empty) + sum of b1(L). The first are no neighbours, so at most (n + 1) / 2. For
/// every such complex b1 <= 7/12 (edges - 3/2 triangles), edges of L are squares of the grid and triangles
/// cubes, and squares - 3/2 cubes <= 3/2 n: the second are at most 7/8 n.
pub fn most_bars(voxels: usize) -> usize {
    voxels + voxels.div_ceil(8) * 3 + 1
}

pub fn workspace_bytes(grid: &Grid) -> usize {
    let n = grid.voxels;
    let masks = if grid.axes == 3 { bytes::<u8>(n) + bytes::<u16>(n) } else { 0 };
    let middle = if grid.axes == 3 { middle::scratch_bytes(grid) } else { 0 };
    let scratch =
        Order::scratch_bytes(grid).max(bytes::<u32>(n)).max(2 * bytes::<u32>(grid.padded + 1)).max(middle);
    Order::bytes(grid) + bytes::<u64>(most_bars(n)) + masks + scratch
}

struct Bars<'a> {
    room: &'a mut [u64],
    count: usize,
}

impl Bars<'_> {
    fn push(&mut self, birth: u32, death: u32) {
        self.room[self.count] = u64::from(birth) << 32 | u64::from(death);
        self.count += 1;
    }

    /// Ends a dimension whose bars began at `start`.
    fn end(&mut self, start: usize) -> usize {
        self.room[start..self.count].sort_unstable();
        self.count
    }
}

/// The bars of an image with no NaN; `value` by flat index.
pub fn barcode<'a>(
    grid: &Grid,
    value: impl Fn(usize) -> f32,
    mut room: Arena<'a>,
) -> Result<Barcode<'a>, OutOfMemory> {
    let n = grid.voxels;
    let mut bars = Bars { room: room.take(most_bars(n), 0), count: 0 };
    let masks = if grid.axes == 3 { n } else { 0 };
    let joining = room.take(masks, 0u8);
    let squares = room.take(masks, 0u16);
    let order = Order::new(grid, value, &mut room.part(Order::bytes(grid)), room.again());
    let dead = |rank: u32| grid.index(order.at[rank as usize]) as u32;
    let mut ends = [0; 3];

    if n > 0 {
        bars.push(0, NONE);
    }
    forest::components::<false>(grid, &order, room.again().take(n, 0), |merge| {
        if order.differ(merge.younger, merge.last) {
            bars.push(merge.younger, dead(merge.last));
        }
        if let Some(mask) = joining.get_mut(merge.last as usize) {
            *mask |= 1 << merge.code;
        }
    });
    ends[0] = bars.end(0);

    let mut middle = ends[0]..ends[0];
    if grid.axes >= 2 {
        let mut scratch = room.again();
        let last = scratch.take(grid.padded + 1, NONE);
        dual::last_voxels(grid, &order, last);
        dual::components::<false>(grid, &order, last, scratch.take(grid.padded + 1, 0), |joining| {
            match joining.roots {
                Some([_, younger]) => {
                    let death = last[younger as usize];
                    if order.differ(joining.rank, death) {
                        bars.push(joining.rank, dead(death));
                    }
                }
                None => {
                    if let Some(mask) = squares.get_mut(joining.rank as usize) {
                        *mask |= 1 << joining.code;
                    }
                }
            }
        });
        middle.end = bars.end(ends[0]);
    }
    ends[1] = middle.end;
    if grid.axes == 3 {
        let cells = Cells::new(grid, &order);
        let problem = Problem { rows: cells, joining, columns: cells, squares };
        problem.reduce(grid, room, |edge, square| {
            if order.differ(edge >> 3, square >> 4) {
                bars.push(edge >> 3, dead(square >> 4));
            }
        })?;
        // The top dimension came first.
        ends[2] = bars.end(middle.end);
        let top = middle.len();
        bars.room[middle.start..ends[2]].rotate_left(top);
        ends[1] = ends[2] - top;
    }
    ends[2] = bars.count;
    Ok(Barcode { bars: &bars.room[..bars.count], order, ends })
}

impl Barcode<'_> {
    pub fn len(&self) -> usize {
        self.bars.len()
    }

    fn value(&self, grid: &Grid, index: u32) -> f32 {
        self.order.value(self.order.rank[grid.position(index as usize)])
    }

    pub fn bars<'b>(&'b self, grid: &'b Grid) -> impl Iterator<Item = Bar> + 'b {
        self.bars.iter().enumerate().map(move |(i, &bar)| {
            let (birth, death) = ((bar >> 32) as u32, bar as u32);
            let position = self.order.at[birth as usize];
            Bar {
                dimension: self.ends.iter().filter(|&&end| i >= end).count() as i64,
                birth: self.order.value(birth),
                death: if death == NONE { f32::NEG_INFINITY } else { self.value(grid, death) },
                birth_voxel: grid.index(position) as i64,
                death_voxel: if death == NONE { -1 } else { i64::from(death) },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    /// The inequality behind [`super::most_bars`], for every subcomplex of the octahedron: 12 b1 <= 7 E - 10.5 T.
    #[test]
    fn lower_links_have_few_loops() {
        // Vertices 0 to 5; i and 5 - i are opposite.
        let edges: Vec<[usize; 2]> =
            (0..6).flat_map(|i| (i + 1..6).map(move |j| [i, j])).filter(|[i, j]| i + j != 5).collect();
        let has =
            |set: usize, edge: [usize; 2]| set >> edges.iter().position(|e| *e == edge).unwrap() & 1 == 1;
        assert_eq!(edges.len(), 12);
        for set in 0..1 << 12 {
            let mut parent: [usize; 6] = std::array::from_fn(|i| i);
            let mut rank = 0;
            for (_, [i, j]) in edges.iter().enumerate().filter(|(e, _)| set >> e & 1 == 1) {
                if parent[*i] != parent[*j] {
                    let (old, new) = (parent[*i], parent[*j]);
                    parent.iter_mut().filter(|p| **p == old).for_each(|p| *p = new);
                    rank += 1;
                }
            }
            let count = (set as u32).count_ones() as usize;
            // Triangles have one vertex of each opposite pair.
            let triangles = (0..8usize)
                .filter(|corner| {
                    let mut v: [usize; 3] =
                        std::array::from_fn(|i| if corner >> i & 1 == 1 { 5 - i } else { i });
                    v.sort();
                    [[v[0], v[1]], [v[0], v[2]], [v[1], v[2]]].iter().all(|e| has(set, *e))
                })
                .count();
            // Triangles fill loops; all eight of them are dependent once. Most triangles, fewest loops, but
            // the right side falls by 10.5 with each and the left one by 12, until the last.
            for filled in 0..=triangles {
                let loops = count - rank - filled + usize::from(filled == 8);
                assert!(24 * loops <= 14 * count - 21 * filled, "{set:b} {filled}");
            }
        }
    }
}
