//! Dimension 1 of a volume: the boundaries of squares reduced in their order, with the latest edge as pivot.
//!
//! Only squares are reduced that give birth to nothing (the dual forest knows them), so no column ends empty.
//! Edges that join components are never pivots and are left out of the columns. Most squares make an apparent
//! pair: the square is the first of its latest edge; such a column needs no reduction and is not stored, since
//! it can be seen from the edge. Rows and columns may be in the orders of two images, the one of the rows in
//! all voxels at most the one of the columns: that is image persistence.

use super::arena::{Arena, bytes};
use super::cells::{Cell, Cells, number};
use super::tree::Tree;
use super::{NONE, OutOfMemory};

pub struct Problem<'a> {
    /// Order of the edges, by which pivots are the latest.
    pub rows: Cells<'a>,
    /// By rank in `rows`: bits of the directions whose edges join components.
    pub joining: &'a [u8],
    /// Order of the squares.
    pub columns: Cells<'a>,
    /// By rank in `columns`: bits of the squares to reduce.
    pub squares: &'a [u16],
}

pub fn scratch_bytes(grid: &super::Grid) -> usize {
    bytes::<u32>(3 * grid.padded) + Tree::bytes(8 * grid.voxels)
}

/// Reduced columns without their pivots.
#[derive(Default)]
struct Stored {
    keys: Vec<u32>,
    ends: Vec<usize>,
}

impl Stored {
    fn column(&self, i: u32) -> &[u32] {
        let i = i as usize;
        &self.keys[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]]
    }

    fn push(&mut self, key: u32) -> Result<(), OutOfMemory> {
        self.keys.try_reserve(1)?;
        self.keys.push(key);
        Ok(())
    }

    fn end(&mut self) -> Result<u32, OutOfMemory> {
        self.ends.try_reserve(1)?;
        self.ends.push(self.keys.len());
        Ok(self.ends.len() as u32 - 1)
    }
}

impl Problem<'_> {
    /// Tells each pair: key of the edge in `rows`, of the square in `columns`.
    pub fn reduce(
        &self,
        grid: &super::Grid,
        mut room: Arena,
        mut paired: impl FnMut(u32, u32),
    ) -> Result<(), OutOfMemory> {
        let owners = room.take(3 * grid.padded, NONE);
        let mut column = Tree::new(8 * grid.voxels, &mut room);
        let mut stored = Stored::default();
        for (rank, &squares) in self.squares.iter().enumerate() {
            let mut left = squares;
            while left != 0 {
                let key = (rank as u32) << 4 | left.trailing_zeros();
                left &= left - 1;
                let square = self.columns.square(key);
                let (latest, edge) = self.latest(square);
                if self.columns.first_square(edge) == key {
                    paired(latest, key);
                    continue;
                }
                self.add(square, &mut column);
                // Of a square that gives birth to nothing a pivot is left.
                while let Some(pivot) = column.largest() {
                    let edge = self.rows.edge(pivot);
                    let owner = owners[number(edge)];
                    if owner != NONE {
                        column.flip(pivot);
                        stored.column(owner).iter().for_each(|&key| column.flip(key));
                        continue;
                    }
                    let first = self.columns.first_square(edge);
                    let apparent = self.columns.square(first);
                    if self.latest(apparent).0 == pivot {
                        self.add(apparent, &mut column);
                        continue;
                    }
                    paired(pivot, key);
                    column.flip(pivot);
                    while let Some(other) = column.largest() {
                        column.flip(other);
                        stored.push(other)?;
                    }
                    owners[number(edge)] = stored.end()?;
                }
            }
        }
        Ok(())
    }

    /// The latest edge of a square. It closes a cycle, so it joins no components.
    fn latest(&self, square: Cell) -> (u32, Cell) {
        let edges = self.rows.edges(square).map(|edge| (self.rows.edge_key(edge), edge));
        edges.into_iter().max().unwrap_or_default()
    }

    fn add(&self, square: Cell, column: &mut Tree) {
        for edge in self.rows.edges(square) {
            let key = self.rows.edge_key(edge);
            if self.joining[(key >> 3) as usize] >> (key & 7) & 1 == 0 {
                column.flip(key);
            }
        }
    }
}
