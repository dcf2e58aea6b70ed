//! The order of tiles: phases of tasks, no two of which share rows or columns. So every task may add to the
//! statistics and gradients of its rows and of its columns, and the order of the additions to each is fixed,
//! whatever the number of threads.

use super::{HEIGHT, WIDTH};
use std::ops::Range;

/// `total` rows in stripes of equal size but the last.
#[derive(Clone, Copy)]
pub struct Stripes {
    total: usize,
    each: usize,
    pub count: usize,
}

impl Stripes {
    /// At most `largest` rows each, fewer where there would be less than 16 stripes for threads to share; but
    /// not so few that a product of matrices runs badly.
    pub fn new(total: usize, largest: usize) -> Stripes {
        let each = total.div_ceil(16).next_multiple_of(32).clamp(64, largest);
        Stripes { total, each, count: total.div_ceil(each) }
    }

    fn range(&self, stripe: usize) -> Range<usize> {
        stripe * self.each..self.total.min((stripe + 1) * self.each)
    }
}

pub struct Schedule {
    rows: Stripes,
    columns: Stripes,
    pub symmetric: bool,
    pub phases: usize,
    /// Of a phase, at most.
    pub tasks: usize,
}

impl Schedule {
    /// Of a matrix with so many rows and columns.
    pub fn of_sides(rows: usize, columns: usize) -> Schedule {
        Schedule::full(Stripes::new(rows, HEIGHT), Stripes::new(columns, WIDTH))
    }

    /// Of a symmetric matrix.
    pub fn of_square(rows: usize) -> Schedule {
        Schedule::symmetric(Stripes::new(rows, HEIGHT.min(WIDTH)))
    }

    /// A Latin rectangle: in phase p the k-th stripe of the shorter side meets number k + p of the longer one.
    pub fn full(rows: Stripes, columns: Stripes) -> Schedule {
        let (less, more) = (rows.count.min(columns.count), rows.count.max(columns.count));
        Schedule { rows, columns, symmetric: false, phases: if less == 0 { 0 } else { more }, tasks: less }
    }

    /// First the diagonal, then a tournament in which every stripe meets every other one.
    pub fn symmetric(stripes: Stripes) -> Schedule {
        let players = stripes.count.next_multiple_of(2);
        let phases = if stripes.count == 0 { 0 } else { players };
        Schedule { rows: stripes, columns: stripes, symmetric: true, phases, tasks: stripes.count }
    }

    /// Rows of A and B, and elements of S that belong to a tile.
    pub fn extent(&self) -> (u64, u64) {
        let (n, m) = (self.rows.total as u64, self.columns.total as u64);
        if self.symmetric { (n, n.saturating_mul(n) / 2) } else { (n.saturating_add(m), n.saturating_mul(m)) }
    }

    /// From row to row of a tile that is kept.
    pub fn stride(&self) -> usize {
        self.columns.each.min(self.columns.total).next_multiple_of(16)
    }

    /// Room for a tile that is kept.
    pub fn tile_room(&self) -> usize {
        self.rows.each.min(self.rows.total) * self.stride()
    }

    /// Tiles, some of which may be missing; see [`Schedule::place`].
    pub fn places(&self) -> usize {
        if self.phases == 0 { 0 } else { self.place(self.phases, 0) }
    }

    /// Number of a tile.
    pub fn place(&self, phase: usize, task: usize) -> usize {
        match (self.symmetric, phase) {
            (false, _) => phase * self.tasks + task,
            (true, 0) => task,
            (true, _) => self.tasks + (phase - 1) * (self.phases / 2) + task,
        }
    }

    pub fn tile_size(&self) -> usize {
        self.rows.each.min(self.rows.total) * self.columns.each.min(self.columns.total)
    }

    pub fn tile(&self, phase: usize, task: usize) -> Option<(Range<usize>, Range<usize>)> {
        let (row, column) = if self.symmetric {
            self.meeting(phase, task)?
        } else if self.rows.count <= self.columns.count {
            (task, (task + phase) % self.columns.count)
        } else {
            ((task + phase) % self.rows.count, task)
        };
        Some((self.rows.range(row), self.columns.range(column)))
    }

    fn meeting(&self, phase: usize, task: usize) -> Option<(usize, usize)> {
        if phase == 0 {
            return Some((task, task));
        }
        // The circle method: the last player stays, the others move on by one; with an odd number of them the
        // last one is nobody.
        let circle = self.phases - 1;
        let turn = phase - 1;
        let (one, two) = match task {
            0 => (circle, turn),
            _ if task < self.phases / 2 => ((turn + task) % circle, (turn + circle - task) % circle),
            _ => return None,
        };
        let (low, high) = (one.min(two), one.max(two));
        (high < self.rows.count).then_some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check(schedule: &Schedule, expected: usize) {
        let (mut seen, mut places) = (HashSet::new(), HashSet::new());
        for phase in 0..schedule.phases {
            let mut busy = HashSet::new();
            for task in 0..schedule.tasks {
                let Some((rows, columns)) = schedule.tile(phase, task) else { continue };
                let place = schedule.place(phase, task);
                assert!(place < schedule.places() && places.insert(place));
                assert!(!rows.is_empty() && !columns.is_empty());
                if schedule.symmetric {
                    assert!(rows.start <= columns.start);
                    assert!(busy.insert(rows.start));
                    assert!(rows == columns || busy.insert(columns.start));
                } else {
                    assert!(busy.insert(2 * rows.start));
                    assert!(busy.insert(2 * columns.start + 1));
                }
                assert!(seen.insert((rows.start, columns.start)), "twice the same tile");
            }
        }
        assert_eq!(seen.len(), expected);
    }

    #[test]
    fn every_tile_once_and_none_beside_a_relative() {
        let sizes = [0, 1, 63, 64, 65, 130, 200, 1000, 5000, 20_000];
        for n in sizes {
            for m in sizes {
                let (rows, columns) = (Stripes::new(n, 256), Stripes::new(m, 512));
                check(&Schedule::full(rows, columns), rows.count * columns.count);
            }
            let stripes = Stripes::new(n, 512);
            check(&Schedule::symmetric(stripes), stripes.count * (stripes.count + 1) / 2);
        }
    }
}
