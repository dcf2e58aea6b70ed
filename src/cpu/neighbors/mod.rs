//! Skeleton "neighbours": Euclidean distances of points to their k-th nearest other point.
//!
//! A k-d tree where dimensions are few, otherwise all pairs in tiles; both compare sums of squares of f32
//! differences, so points that coincide have distance 0 wherever they lie. A distance whose square may have
//! left the range of f32 is computed again in f64. The result does not depend on the order of the points
//! or on threads: ties have the same distance, whoever is chosen.

mod all_pairs;
mod nearest;
mod tree;

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::workspace::{Size, Workspace};
use nearest::Nearest;

/// `n` points of `dims` coordinates, one per row.
#[derive(Clone, Copy)]
pub struct Points<'a> {
    values: &'a [f32],
    pub n: usize,
    pub dims: usize,
    /// No difference of two coordinates is so small that its square is not a normal f32.
    squares_are_normal: bool,
}

/// Coordinates of at least this size or 0 differ by at least 2^-62, or not at all.
const SMALLEST: f32 = 1.0 / (1u64 << 38) as f32;

impl<'a> Points<'a> {
    /// `None` if a coordinate is infinite or NaN.
    pub fn new(cpu: &Cpu, values: &'a [f32], n: usize, dims: usize) -> Option<Points<'a>> {
        let blocks = Blocks::new(values.len(), 1 << 16, 1);
        // 1 for a block with a tiny coordinate, 1000 for one with a coordinate that is not finite.
        let found = cpu.sum(blocks.count, values.len() * 4, &|block| {
            let block = &values[blocks.range(block)];
            let finite = block.iter().fold(true, |all, v| all & v.is_finite());
            let normal = block.iter().fold(true, |all, v| all & (v.abs() >= SMALLEST || *v == 0.0));
            f64::from(u8::from(!normal)) + if finite { 0.0 } else { 1000.0 }
        });
        (found < 1000.0).then_some(Points { values, n, dims, squares_are_normal: found == 0.0 })
    }

    fn row(&self, i: usize) -> &'a [f32] {
        &self.values[i * self.dims..(i + 1) * self.dims]
    }

    /// The distance of point `i`, from the square that the search found; `room` for `k` values.
    fn distance(&self, i: usize, square: f32, room: &mut [f32]) -> f32 {
        let exact =
            if self.squares_are_normal { square.is_finite() } else { 1e-30 < square && square < 1e30 };
        if exact {
            return square.sqrt();
        }
        let mut nearest = Nearest::new(room);
        let here = self.row(i);
        for j in (0..self.n).filter(|&j| j != i) {
            let d = here.iter().zip(self.row(j)).map(|(&a, &b)| f64::from(a) - f64::from(b));
            nearest.offer(d.map(|d| d * d).sum::<f64>().sqrt() as f32);
        }
        nearest.farthest()
    }
}

/// Blocks of queries, each with room for its candidates.
const BLOCKS: usize = 256;

fn uses_tree(n: usize, dims: usize) -> bool {
    // Places in the tree are 32 bits wide.
    n <= u32::MAX as usize && dims <= tree::MAX_DIMS && n >= tree::least_points(dims)
}

/// Workspace of [`kth_distances`].
pub fn workspace(size: Size, n: u64, dims: u64, k: u64) -> Size {
    if uses_tree(n as usize, dims as usize) {
        tree::workspace(size, n, dims).add::<f32>(k.saturating_mul(BLOCKS as u64))
    } else {
        size.add::<f32>(all_pairs::candidates(n, k))
    }
}

/// Distance of every point to its `k`-th nearest other one, `1 <= k < n`.
pub fn kth_distances(cpu: &Cpu, points: &Points, k: usize, work: &mut Workspace, out: &mut [f32]) {
    if uses_tree(points.n, points.dims) {
        by_tree(cpu, points, k, work, out);
    } else {
        by_all_pairs(cpu, points, k, work, out);
    }
}

fn by_tree(cpu: &Cpu, points: &Points, k: usize, work: &mut Workspace, out: &mut [f32]) {
    let tree = tree::Tree::build(cpu, points, work);
    let room = work.take(k * BLOCKS, 0f32);
    tree.kth_distances(cpu, points, k, Cells::new(room), Cells::new(out));
}

fn by_all_pairs(cpu: &Cpu, points: &Points, k: usize, work: &mut Workspace, out: &mut [f32]) {
    let room = work.take(all_pairs::candidates(points.n as u64, k as u64) as usize, 0f32);
    all_pairs::kth_distances(cpu, points, k, Cells::new(room), Cells::new(out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    /// Points of which many coincide or lie at equal distances.
    fn sample(n: usize, dims: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let mut values: Vec<f32> = (0..n * dims).map(|_| next() + next() - next()).collect();
        values[..n / 4 * dims].iter_mut().for_each(|v| *v = (4.0 * *v).round() / 4.0);
        values
    }

    #[test]
    fn tree_and_all_pairs_agree_to_the_bit() {
        for threads in [1, 3] {
            let cpu = Cpu::new(threads);
            for dims in 1..=tree::MAX_DIMS {
                for (n, k) in [(2, 1), (33, 5), (1500, 1), (1501, 7), (1030, 40), (70, 69)] {
                    let values = sample(n, dims);
                    let points = Points::new(&cpu, &values, n, dims).unwrap();
                    let mut memory = vec![[MaybeUninit::<u8>::uninit(); 64]; 20_000];
                    let memory = memory.as_flattened_mut();
                    let start = memory.as_ptr().align_offset(64);
                    let (mut one, mut two) = (vec![0.0; n], vec![0.0; n]);
                    by_tree(&cpu, &points, k, &mut Workspace::new(&mut memory[start..]), &mut one);
                    by_all_pairs(&cpu, &points, k, &mut Workspace::new(&mut memory[start..]), &mut two);
                    assert_eq!(one, two, "{n} points, {dims} dimensions, k = {k}");
                }
            }
        }
    }
}
