//! How many rows and classes a tile has.

use super::UNIT;
use std::ops::Range;

/// Rows and classes of a tile at most, of those that pass.
const ROWS: usize = 1024;
const CLASSES: usize = 2048;
/// Logits of a tile that is kept, 16 MB of them: enough rows of 65536 classes for products to run well.
const KEPT: usize = 4 << 20;
/// With fewer rows at a time, reading weight and its gradient for each tile costs more than making logits again.
const FEWEST: usize = 64;
/// Numbers of statistics that belong to a row of a tile that passes.
const PARTS: usize = CLASSES / UNIT;

/// Some rows at a time, and some classes.
#[derive(Clone, Copy)]
pub struct Tiling {
    pub rows: usize,
    pub classes: usize,
    /// Of a row's parts, the statistics of one unit of classes, or of several.
    pub slots: usize,
}

/// Part of the logits.
#[derive(Clone)]
pub struct Tile {
    pub rows: Range<usize>,
    pub classes: Range<usize>,
    /// From row to row.
    pub stride: usize,
    pub slots: usize,
}

impl Tiling {
    fn new(rows: usize, classes: usize, slots: usize) -> Tiling {
        Tiling { rows, classes, slots }
    }

    fn stride(&self) -> usize {
        stride(self.classes)
    }

    pub fn rows(&self, len: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        pieces(len, self.rows)
    }

    pub fn classes(&self, len: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        pieces(len, self.classes)
    }

    pub fn tile(&self, rows: Range<usize>, classes: Range<usize>) -> Tile {
        Tile { rows, classes, stride: self.stride(), slots: self.slots }
    }

    /// The slots of a row that are merged one after the other. Of all classes as of tiles that pass, to the bit.
    pub fn chains(&self) -> [std::iter::StepBy<Range<usize>>; PARTS] {
        std::array::from_fn(|first| (first..self.slots.max(first)).step_by(PARTS))
    }
}

fn pieces(len: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(each.max(1)).map(move |first| first..len.min(first + each))
}

/// An odd number of cache lines, so that the rows of a tile spread over the sets of a cache.
fn stride(classes: usize) -> usize {
    (classes.saturating_add(15) / 16 * 16) | 16
}

/// The tilings of a call.
#[derive(Clone, Copy)]
pub struct Tilings {
    /// A tile of some classes, forgotten when the next one is made. Class tiles are the outer loop of backward, so
    /// that the gradient of weight needs f32 memory for one of them only.
    pub passing: Tiling,
    /// A tile of all classes, from which forward's statistics and then backward's gradients are made: one product
    /// less. The gradient of weight is complete when all rows have passed.
    pub kept: Option<Tiling>,
}

/// What tiles take in the workspace.
pub struct Room {
    pub rows: usize,
    pub classes: usize,
    pub parts: usize,
    pub logits: usize,
}

impl Tilings {
    pub fn new(rows: usize, classes: usize, is_f32: bool) -> Tilings {
        let passing = Tiling::new(rows.min(ROWS), classes.min(CLASSES), PARTS);
        // Sums of 16-bit gradients of weight are of one tile that passes.
        let holds = is_f32 || classes <= CLASSES;
        let most = (KEPT / stride(classes)).min(ROWS);
        let kept = (holds && most >= FEWEST.min(rows.max(1))).then(|| {
            let tiles = rows.div_ceil(most).max(1);
            Tiling::new(rows.div_ceil(tiles), classes, classes.div_ceil(UNIT))
        });
        Tilings { passing, kept }
    }

    pub fn room(&self) -> Room {
        let all = [Some(self.passing), self.kept];
        let largest = |of: fn(&Tiling) -> usize| all.iter().flatten().map(of).max().unwrap_or(0);
        Room {
            rows: largest(|t| t.rows),
            classes: largest(|t| t.classes),
            parts: largest(|t| t.rows * t.slots),
            logits: largest(|t| t.rows * t.stride()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded() {
        for rows in [0, 1, 63, 64, 65, 1000, 1 << 20] {
            for classes in [1, 512, 1000, 2048, 2049, 32_000, 65_000, 200_000, 1 << 22, 1 << 30] {
                for is_f32 in [false, true] {
                    let tilings = Tilings::new(rows, classes, is_f32);
                    assert!(tilings.room().logits <= KEPT);
                    let Some(kept) = tilings.kept else { continue };
                    assert!(kept.rows <= rows && (kept.rows >= rows.min(FEWEST / 2)));
                    assert_eq!(kept.rows(rows).map(|r| r.len()).sum::<usize>(), rows);
                    let mut slots: Vec<usize> = kept.chains().into_iter().flatten().collect();
                    slots.sort_unstable();
                    assert!(slots.into_iter().eq(0..classes.div_ceil(UNIT)));
                }
            }
        }
    }

    #[test]
    fn common_sizes_are_kept() {
        let rows = |rows, classes, is_f32| Tilings::new(rows, classes, is_f32).kept.map(|t| t.rows);
        assert_eq!(rows(1024, 32_000, true), Some(128));
        assert_eq!(rows(1024, 32_000, false), None);
        assert_eq!(rows(4096, 1000, false), Some(1024));
        assert_eq!(rows(4096, 128_000, true), None);
    }
}
