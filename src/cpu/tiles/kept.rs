//! Tiles that outlive a sweep: where S is small enough, a gradient sweep finds in them what the forward sweep left,
//! and saves a product.

use super::schedule::Schedule;
use crate::cpu::workspace::{Places, Size, Workspace};

/// Elements of all tiles at most: 16 MB.
const MOST: u64 = 4 << 20;

#[derive(Clone, Copy)]
pub struct Tiles<'a> {
    places: Places<'a, f32>,
    each: usize,
}

impl<'a> Tiles<'a> {
    /// Room for the tiles of a schedule, where they may be kept.
    pub(super) fn new(schedule: &Schedule, d: usize, work: &mut Workspace<'a>) -> Option<Tiles<'a>> {
        let elements = elements(schedule, d as u64)?;
        Some(Tiles { places: work.take_places(elements as usize), each: schedule.tile_room() })
    }

    pub(super) fn size(size: Size, schedule: &Schedule, d: u64) -> Size {
        elements(schedule, d).map_or(size, |elements| size.add::<f32>(elements))
    }

    pub(super) fn at(&self, place: usize) -> *mut f32 {
        self.places.at(place * self.each)
    }
}

/// S may have as many elements as the rows and their gradients, so that memory stays O(rows x d).
fn elements(schedule: &Schedule, d: u64) -> Option<u64> {
    let (rows, elements) = schedule.extent();
    if elements > MOST.min(rows.saturating_mul(2).saturating_mul(d)) {
        return None;
    }
    let with_edges = schedule.places() as u64 * schedule.tile_room() as u64;
    (with_edges <= MOST).then_some(with_edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_where_small() {
        let sides = |n, m, d| elements(&Schedule::of_sides(n, m), d);
        assert_eq!(sides(2048, 2048, 512), Some(MOST));
        assert_eq!(sides(2048, 2048, 500), None);
        assert_eq!(sides(2049, 2048, 4096), None);
        assert_eq!(sides(0, 100, 64), Some(0));
        assert_eq!(sides(1 << 20, 1, 64), None);
        assert_eq!(sides(1 << 40, 1 << 40, 1 << 40), None);
        assert!(elements(&Schedule::of_square(2048), 512).is_some_and(|e| e < MOST * 5 / 8));
    }
}
