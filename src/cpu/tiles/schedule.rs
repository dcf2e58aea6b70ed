//! The order of tiles: phases of tasks, no two of which share rows or columns. So every task may add to the
//! statistics and gradients of its rows and of its columns, and the order of the additions to each is fixed,
//! whatever the number of threads.

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
        let mut seen = HashSet::new();
        for phase in 0..schedule.phases {
            let mut busy = HashSet::new();
            for (rows, columns) in (0..schedule.tasks).filter_map(|task| schedule.tile(phase, task)) {
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
