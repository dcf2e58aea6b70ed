//! Skeleton "windows": losses on the local means and variances of two images under a Gaussian window.
//!
//! A tile of an image is swept from top to bottom, row by row: filtered horizontally into a ring of as many
//! rows as the window has, vertically from the ring; where a gradient is wanted, the slopes of the loss go
//! through a second ring the same way. Nothing of the size of the image is stored. The images enter as sum and
//! difference, each about its mean in the tile: four maps then say all, and nothing that matters cancels.

mod filter;
mod tile;

use crate::cpu::Cpu;
use crate::cpu::parallel::Cells;
use crate::cpu::simd::Simd;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::{Floats, FloatsMut};
use std::ops::Range;

/// A vector of positions: means and variances of x + y and x - y in the window.
pub struct Moments<S: Simd> {
    pub mean_sum: S::F,
    pub mean_difference: S::F,
    pub variance_sum: S::F,
    pub variance_difference: S::F,
}

pub trait WindowLoss: Sync {
    fn value<S: Simd>(&self, s: S, m: &Moments<S>) -> S::F;

    /// The derivatives by the moments.
    fn slopes<S: Simd>(&self, s: S, m: &Moments<S>) -> Moments<S>;
}

/// Two images of one size, plane by plane.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    pub planes: usize,
    pub height: usize,
    pub width: usize,
    /// Side of the window, odd; no longer than the image's sides.
    pub window: usize,
    pub sigma: f64,
    pub pred: Floats<'a>,
    pub target: Floats<'a>,
}

/// Gradient of one of the images.
#[derive(Clone, Copy)]
pub struct Gradient<'a> {
    pub to: FloatsMut<'a>,
    /// 1 for pred, -1 for target.
    sign: f32,
}

/// Pixels of a tile along each side, at most: so many that the borders tiles share cost little, and few enough
/// that a tile's rings stay in the second-level cache and its mean is near its pixels.
const SIDE: usize = 256;
/// Tiles that may be under way at once.
const LANES: usize = 32;

/// How planes are cut, by sizes alone.
#[derive(Clone, Copy)]
struct Grid {
    height: usize,
    width: usize,
    rows: usize,
    columns: usize,
}

impl Grid {
    fn new(height: usize, width: usize) -> Grid {
        Grid { height, width, rows: height.div_ceil(SIDE), columns: width.div_ceil(SIDE) }
    }

    fn per_plane(&self) -> usize {
        self.rows * self.columns
    }

    /// Rows and columns of a tile.
    fn tile(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let cut = |length: usize, parts: usize, i: usize| i * length / parts..(i + 1) * length / parts;
        (
            cut(self.height, self.rows, index / self.columns),
            cut(self.width, self.columns, index % self.columns),
        )
    }
}

pub fn workspace_size(planes: u64, height: u64, width: u64, window: u64) -> u64 {
    let grid = Grid::new(height as usize, width as usize);
    let tiles = planes.saturating_mul(grid.per_plane() as u64);
    let slots = tile::slot_len(window as usize, width as usize).saturating_mul(tiles.min(LANES as u64));
    Size::default().add::<f32>(2 * window).add::<f64>(tiles).add::<f32>(slots).bytes()
}

impl Images<'_> {
    /// Positions of the window in a plane.
    pub fn positions(&self) -> usize {
        (self.height - self.window + 1) * (self.width - self.window + 1)
    }

    /// The window's weights, twice one after the other.
    fn weights(&self, to: &mut [f32]) {
        let center = (self.window / 2) as f64;
        let weight = |i: usize| {
            let distance = (i as f64 - center) / self.sigma;
            (-0.5 * distance * distance).exp()
        };
        let total: f64 = (0..self.window).map(weight).sum();
        for (i, place) in to.iter_mut().enumerate() {
            *place = (weight(i % self.window) / total) as f32;
        }
    }
}

/// Sums of the loss over the positions of each plane, as `(plane, sum)` in order; and the gradients, `factor` of
/// the plane times the slope.
pub fn run<L: WindowLoss>(
    cpu: &Cpu,
    loss: &L,
    images: &Images,
    workspace: Workspace,
    gradients: [Option<FloatsMut>; 2],
    factor: &(dyn Fn(usize) -> f32 + Sync),
    mut each: impl FnMut(usize, f64),
) {
    let mut workspace = workspace;
    let grid = Grid::new(images.height, images.width);
    let count = images.planes * grid.per_plane();
    let weights = workspace.take(2 * images.window, 0.0f32);
    images.weights(weights);
    let sums = workspace.take(count, 0.0f64);
    let lanes = count.min(LANES);
    let slot = tile::slot_len(images.window, images.width) as usize;
    let slots = workspace.take_blank::<f32>(slot * lanes);
    let room = Cells::new(slots);
    let cells = Cells::new(sums);
    let [pred, target] = gradients;
    let gradients = [pred.map(|to| Gradient { to, sign: 1.0 }), target.map(|to| Gradient { to, sign: -1.0 })];
    let traffic = 4 * images.pred.len * 16;
    cpu.run(lanes, traffic, &|lane| {
        let job = tile::Lane {
            loss,
            images,
            grid,
            weights,
            slot: room.at(lane * slot).cast(),
            tiles: (lane..count).step_by(LANES),
            gradients,
            factor,
            sums: cells,
        };
        cpu.isa.dispatch(job);
    });
    for (plane, sums) in sums.chunks_exact(grid.per_plane()).enumerate() {
        each(plane, sums.iter().sum());
    }
}
