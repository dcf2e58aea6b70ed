//! Skeleton "similarity tiles": losses on the matrix S = alpha A B' of the similarities of rows, of which only
//! a tile at a time exists.
//!
//! A loss is a [`Visit`]: what happens to a tile of S. In a forward sweep it takes the tile's statistics
//! ([`LogSums`] has those of a softmax); in a gradient sweep, with the statistics of all of S at hand, it turns
//! S_ij into W_ij = dloss/dS_ij ([`softmax_weights`]), and the skeleton adds W B to the gradient of A and W' A
//! to that of B. [`Embeddings`] are the rows, normalised where the loss wants it, with the way back of their
//! gradients. [`Contrast`] puts these together for losses with one positive a row.
//!
//! Operations: one product of matrices (2 n m d) for the statistics, one to have S again unless it is small enough
//! to be [kept](Tiles), one for each gradient.
//! A [symmetric](Similarities::symmetric) matrix takes half of each. Everything else is O(n m): some 10 vector
//! instructions for the exponential of an element beside d multiply-adds. Memory: rows and gradients as f32.

mod contrast;
mod embeddings;
mod kept;
mod log_sums;
mod schedule;
#[cfg(test)]
mod tests;
mod weights;

pub use contrast::{Contrast, Directions, Smoothing, contrast_size};
pub use embeddings::Embeddings;
pub use kept::Tiles;
pub use log_sums::LogSums;
pub use weights::{Side, softmax_weights};

use crate::cpu::Cpu;
use crate::cpu::matmul::{Matrix, MatrixMut, multiply};
use crate::cpu::parallel::Cells;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::DType;
use schedule::Schedule;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows and columns of a tile at most; see [`schedule::Stripes`].
pub const HEIGHT: usize = 512;
pub const WIDTH: usize = 512;

/// What is done with a tile. No other tile that shares rows or columns with it (in a symmetric matrix: either)
/// is at work meanwhile, and tiles with common rows or columns come in an order that depends on sizes alone.
pub trait Visit: Sync {
    fn visit<S: Simd>(&self, s: S, tile: &Tile);
}

/// Part of S.
pub struct Tile {
    ptr: *mut f32,
    /// From row to row.
    stride: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Tile {
    /// The values of a row of S; those beyond the tile's columns, up to the next multiple of 16, are -inf.
    #[inline(always)]
    pub fn row(&self, row: usize) -> *mut f32 {
        debug_assert!(self.rows.contains(&row));
        self.ptr.wrapping_add((row - self.rows.start) * self.stride)
    }

    /// Columns rounded up to whole vectors.
    #[inline(always)]
    pub fn width<S: Simd>(&self, _s: S) -> usize {
        self.columns.len().next_multiple_of(S::LANES)
    }

    #[inline(always)]
    pub fn has(&self, row: usize, column: usize) -> bool {
        self.rows.contains(&row) && self.columns.contains(&column)
    }

    /// Replaces the value at a place of the tile; returns the old one.
    #[inline(always)]
    pub fn replace(&self, row: usize, column: usize, value: f32) -> f32 {
        assert!(self.has(row, column));
        // SAFETY: within the tile, which this thread alone has.
        unsafe { std::mem::replace(&mut *self.row(row).add(column - self.columns.start), value) }
    }
}

/// S = alpha A B'.
pub struct Similarities<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    alpha: f32,
    schedule: Schedule,
}

impl<'a> Similarities<'a> {
    pub fn new(a: Matrix<'a>, b: Matrix<'a>, alpha: f32) -> Similarities<'a> {
        Similarities { a, b, alpha, schedule: Schedule::of_sides(a.rows, b.rows) }
    }

    /// S = alpha A A'. Of every pair of tiles that mirror each other only the upper one is visited; tiles on the
    /// diagonal are square and whole.
    pub fn symmetric(a: Matrix<'a>, alpha: f32) -> Similarities<'a> {
        Similarities { a, b: a, alpha, schedule: Schedule::of_square(a.rows) }
    }

    /// Room for all tiles, where these are few enough.
    pub fn tiles<'b>(&self, work: &mut Workspace<'b>) -> Option<Tiles<'b>> {
        Tiles::new(&self.schedule, self.a.columns, work)
    }

    /// What [`Similarities::tiles`] takes of n rows and m, or of n with themselves.
    pub fn tiles_size(size: Size, n: u64, m: Option<u64>, d: u64) -> Size {
        let schedule = match m {
            Some(m) => Schedule::of_sides(n as usize, m as usize),
            None => Schedule::of_square(n as usize),
        };
        Tiles::size(size, &schedule, d)
    }

    /// What the visit makes of the tiles stays in `keep`.
    pub fn sweep(&self, cpu: &Cpu, keep: Option<Tiles>, visit: &impl Visit) {
        self.run(cpu, keep.map(|tiles| (tiles, false)), visit, None, None);
    }

    /// Adds to the gradients of A and B, but for the factor alpha; the visit leaves W in the tile. In a symmetric
    /// matrix W is to be symmetric, too, and all goes to `grad_a`. Where a sweep has kept its tiles, the visit finds
    /// these instead of S.
    pub fn gradients(
        &self,
        cpu: &Cpu,
        kept: Option<Tiles>,
        visit: &impl Visit,
        grad_a: Option<&mut [f32]>,
        grad_b: Option<&mut [f32]>,
    ) {
        let d = self.a.columns;
        assert!(grad_a.as_ref().is_none_or(|g| g.len() == self.a.rows * d));
        assert!(grad_b.as_ref().is_none_or(|g| g.len() == self.b.rows * d));
        let a = grad_a.map(Cells::new);
        let b = if self.schedule.symmetric { a } else { grad_b.map(Cells::new) };
        self.run(cpu, kept.map(|tiles| (tiles, true)), visit, a, b);
    }

    /// With tiles that are kept, and whether they are there already.
    fn run(
        &self,
        cpu: &Cpu,
        kept: Option<(Tiles, bool)>,
        visit: &impl Visit,
        grad_a: Option<Cells>,
        grad_b: Option<Cells>,
    ) {
        let d = self.a.columns;
        for phase in 0..self.schedule.phases {
            // Some bytes of traffic take as long as this many operations.
            let work = self.schedule.tasks * self.schedule.tile_size() * (d + 8) / 8;
            cpu.run(self.schedule.tasks, work, &|task| {
                let Some((rows, columns)) = self.schedule.tile(phase, task) else { return };
                let work = |ptr: *mut f32, stride: usize, there: bool| {
                    let tile = Tile { ptr, stride, rows: rows.clone(), columns: columns.clone() };
                    let (a, b) = (self.a.block(rows.clone(), 0..d), self.b.block(columns.clone(), 0..d));
                    if !there {
                        // SAFETY: room for a tile, and ours for as long as this runs.
                        let out = unsafe { MatrixMut::new(ptr, a.rows, b.rows, stride) };
                        multiply(cpu.isa, self.alpha, a, b.t(), 0.0, out);
                    }
                    cpu.isa.dispatch(Visited { tile: &tile, visit });
                    // SAFETY: written above; read only from here on.
                    let w = unsafe { Matrix::new(ptr.cast(), DType::F32, a.rows, b.rows, stride, 1) };
                    let add = |gradients: Option<Cells>, w: Matrix, other: Matrix, first: usize| {
                        let Some(gradients) = gradients else { return };
                        // SAFETY: no other task of the phase has these rows.
                        let to = unsafe { MatrixMut::new(gradients.at(first * d), w.rows, d, d) };
                        multiply(cpu.isa, 1.0, w, other, 1.0, to);
                    };
                    add(grad_a, w, b, tile.rows.start);
                    if !(self.schedule.symmetric && tile.rows == tile.columns) {
                        add(grad_b, w.t(), a, tile.columns.start);
                    }
                };
                match kept {
                    Some((tiles, there)) => {
                        work(tiles.at(self.schedule.place(phase, task)), self.schedule.stride(), there);
                    }
                    None => with_scratch(|ptr| work(ptr, WIDTH, false)),
                }
            });
        }
    }
}

struct Visited<'a, V> {
    tile: &'a Tile,
    visit: &'a V,
}

impl<V: Visit> Kernel for Visited<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.tile.columns.len();
        for row in self.tile.rows.clone() {
            let values = self.tile.row(row);
            // SAFETY: strides are multiples of 16, so these are places of the row.
            (n..n.next_multiple_of(16)).for_each(|j| unsafe { *values.add(j) = f32::NEG_INFINITY });
        }
        self.visit.visit(s, self.tile);
    }
}

#[repr(C, align(64))]
struct Scratch([MaybeUninit<f32>; HEIGHT * WIDTH]);

/// Runs `work` with the thread's room for a tile: 1 MB, allocated by the thread's first tile.
fn with_scratch(work: impl FnOnce(*mut f32)) {
    thread_local!(static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) });
    let kept = SCRATCH.try_with(Cell::take).ok().flatten();
    // SAFETY: consists of MaybeUninit.
    let mut scratch = kept.unwrap_or_else(|| unsafe { Box::new_uninit().assume_init() });
    work(scratch.0.as_mut_ptr().cast());
    let _ = SCRATCH.try_with(|place| place.set(Some(scratch)));
}
