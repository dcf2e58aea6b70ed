//! A k-d tree in the caller's memory: halves of the points along their widest dimension, down to leaves whose
//! points a few vectors hold.

use super::nearest::Nearest;
use super::{BLOCKS, Points};
use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::workspace::{Size, Workspace};
use std::cell::UnsafeCell;
use std::ops::Range;

/// Points of a leaf at most: whole vectors of every instruction set.
const LEAF: usize = 32;
/// Beyond, nearly all leaves are visited.
pub const MAX_DIMS: usize = 12;
/// Levels of a tree of 2^32 points.
const MAX_DEPTH: usize = 28;

/// From how many points on the tree is faster than all pairs: always in up to 6 dimensions, from 10 000 points
/// in 8, 40 000 in 10 (measured on normally distributed points with AVX-512, k = 5).
pub fn least_points(dims: usize) -> usize {
    if dims <= 6 { 0 } else { 5000 << (dims - 7) }
}

/// Levels above the leaves.
fn depth(n: usize) -> usize {
    n.div_ceil(LEAF).next_power_of_two().trailing_zeros() as usize
}

/// Plus the memory of [`Tree::build`].
pub fn workspace(size: Size, n: u64, dims: u64) -> Size {
    let leaves = 1 << depth(n as usize);
    size.add::<u32>(n).add::<Split>(leaves).add::<f32>((leaves * LEAF as u64).saturating_mul(dims))
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Split {
    dim: u32,
    value: f32,
}

/// Memory whose parts are written by different tasks, each part by one.
struct Shared<'a, T>(&'a [UnsafeCell<T>]);

// SAFETY: see `part`.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    fn new(slice: &'a mut [T]) -> Shared<'a, T> {
        // SAFETY: UnsafeCell<T> has the layout of T, and the slice is ours alone.
        Shared(unsafe { &*(std::ptr::from_mut(slice) as *const [UnsafeCell<T>]) })
    }

    /// # Safety
    /// No two tasks have overlapping parts.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        let part = &self.0[range];
        unsafe { std::slice::from_raw_parts_mut(part.as_ptr().cast_mut().cast(), part.len()) }
    }
}

pub struct Tree<'a> {
    n: usize,
    dims: usize,
    depth: usize,
    /// Points in the order of the leaves.
    order: &'a [u32],
    /// Inner nodes, level by level.
    splits: &'a [Split],
    /// Coordinates: `[leaf][dim][LEAF]`, infinite where a leaf has fewer points.
    leaves: &'a [f32],
}

/// The points of node `i` of a level: the range is halved on the way down.
fn range_of(n: usize, level: usize, i: usize) -> Range<usize> {
    let mut range = 0..n;
    for bit in (0..level).rev() {
        let middle = range.start + range.len() / 2;
        range = if i >> bit & 1 == 0 { range.start..middle } else { middle..range.end };
    }
    range
}

impl<'a> Tree<'a> {
    pub fn build(cpu: &Cpu, points: &Points, work: &mut Workspace<'a>) -> Tree<'a> {
        let &Points { values, n, dims, .. } = points;
        let depth = depth(n);
        let order = work.take(n, 0u32);
        let splits = work.take(1 << depth, Split::default());
        let leaves = work.take((dims * LEAF) << depth, f32::INFINITY);
        order.iter_mut().enumerate().for_each(|(i, place)| *place = i as u32);
        let (shared_order, shared_splits) = (Shared::new(order), Shared::new(splits));
        for level in 0..depth {
            let traffic = n * 4 * (dims + 8);
            cpu.run(1 << level, traffic, &|i| {
                // SAFETY: the nodes of a level have disjoint points.
                let (points, split) = unsafe {
                    let node = (1 << level) - 1 + i;
                    (shared_order.part(range_of(n, level, i)), shared_splits.part(node..node + 1))
                };
                split[0] = halve(values, dims, points);
            });
        }
        let shared_leaves = Shared::new(leaves);
        let order = &*order;
        let blocks = Blocks::new(1 << depth, 64, 1);
        cpu.run(blocks.count, n * dims * 8, &|block| {
            for leaf in blocks.range(block) {
                let size = dims * LEAF;
                // SAFETY: every leaf is in one block.
                let to = unsafe { shared_leaves.part(leaf * size..(leaf + 1) * size) };
                for (slot, &point) in order[range_of(n, depth, leaf)].iter().enumerate() {
                    let from = &values[point as usize * dims..][..dims];
                    from.iter().enumerate().for_each(|(dim, &v)| to[dim * LEAF + slot] = v);
                }
            }
        });
        Tree { n, dims, depth, order, splits, leaves }
    }

    pub fn kth_distances(&self, cpu: &Cpu, points: &Points, k: usize, room: Cells, out: Cells) {
        let blocks = Blocks::new(1 << self.depth, 1, 1);
        let work = self.n.saturating_mul(self.dims * 1000);
        cpu.run(blocks.count, work, &|block| {
            debug_assert!(block < BLOCKS);
            // SAFETY: `at` checks the end; a block alone uses its part.
            let room = unsafe {
                let last = room.at((block + 1) * k - 1);
                std::slice::from_raw_parts_mut(last.sub(k - 1), k)
            };
            cpu.isa.dispatch(Search { tree: self, points, leaves: blocks.range(block), room, out });
        });
    }
}

/// Moves the smaller half of the points, along the dimension in which they are spread widest, to the front.
fn halve(values: &[f32], dims: usize, points: &mut [u32]) -> Split {
    let at = |point: u32, dim: usize| values[point as usize * dims + dim];
    let (mut low, mut high) = ([f32::INFINITY; MAX_DIMS], [f32::NEG_INFINITY; MAX_DIMS]);
    for &point in points.iter() {
        let row = &values[point as usize * dims..][..dims];
        for ((low, high), &v) in low.iter_mut().zip(&mut high).zip(row) {
            *low = low.min(v);
            *high = high.max(v);
        }
    }
    let spread = |dim: usize| f64::from(high[dim]) - f64::from(low[dim]);
    let dim = (1..dims).fold(0, |best, dim| if spread(dim) > spread(best) { dim } else { best });
    let middle = points.len() / 2;
    points.select_nth_unstable_by(middle, |&p, &q| at(p, dim).total_cmp(&at(q, dim)));
    Split { dim: dim as u32, value: at(points[middle], dim) }
}

/// The searches for all points of some leaves.
struct Search<'a> {
    tree: &'a Tree<'a>,
    points: &'a Points<'a>,
    leaves: Range<usize>,
    room: &'a mut [f32],
    out: Cells<'a>,
}

/// A node yet to be visited.
#[derive(Clone, Copy)]
struct Pending {
    node: usize,
    /// Square of the distance to its cell, and the parts of it by dimension.
    square: f32,
    offsets: [f32; MAX_DIMS],
}

/// Bounds are sums of rounded squares: a cell is left out only if it is farther by more than that.
const MARGIN: f32 = 1.0 - 1e-5;

impl Kernel for Search<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let tree = self.tree;
        let dims = tree.dims;
        for leaf in self.leaves.clone() {
            for (slot, place) in range_of(tree.n, tree.depth, leaf).enumerate() {
                let mut query = [0.0; MAX_DIMS];
                for (dim, coordinate) in query[..dims].iter_mut().enumerate() {
                    *coordinate = tree.leaves[(leaf * dims + dim) * LEAF + slot];
                }
                let mut nearest = Nearest::new(self.room);
                search(s, tree, &query, (leaf, slot), &mut nearest);
                let square = nearest.farthest();
                let i = tree.order[place] as usize;
                self.out.set(i, self.points.distance(i, square, self.room));
            }
        }
    }
}

#[inline(always)]
fn search<S: Simd>(
    s: S,
    tree: &Tree,
    query: &[f32; MAX_DIMS],
    (own, slot): (usize, usize),
    nearest: &mut Nearest,
) {
    let first_leaf = (1usize << tree.depth) - 1;
    let mut pending = [Pending { node: 0, square: 0.0, offsets: [0.0; MAX_DIMS] }; MAX_DEPTH + 1];
    let mut count = 1;
    while count > 0 {
        count -= 1;
        let mut at = pending[count];
        // Ties do not matter: without this, points that all coincide would all be looked at.
        if at.square * MARGIN >= nearest.farthest() || nearest.farthest() == 0.0 {
            continue;
        }
        while at.node < first_leaf {
            let split = tree.splits[at.node];
            let dim = split.dim as usize;
            let distance = query[dim] - split.value;
            let (near, far) = if distance < 0.0 { (1, 2) } else { (2, 1) };
            let mut other = at;
            other.node = 2 * at.node + far;
            // The sum anew, not by difference: that could be too large.
            other.offsets[dim] = distance * distance;
            other.square = other.offsets[..tree.dims].iter().sum();
            if other.square * MARGIN < nearest.farthest() {
                pending[count] = other;
                count += 1;
            }
            at.node = 2 * at.node + near;
        }
        let leaf = at.node - first_leaf;
        let skip = if leaf == own { slot } else { LEAF };
        visit(s, tree, query, leaf, skip, nearest);
    }
}

#[inline(always)]
fn visit<S: Simd>(
    s: S,
    tree: &Tree,
    query: &[f32; MAX_DIMS],
    leaf: usize,
    skip: usize,
    nearest: &mut Nearest,
) {
    let size = tree.dims * LEAF;
    let points = &tree.leaves[leaf * size..(leaf + 1) * size];
    let mut squares = [0f32; LEAF];
    let mut i = 0;
    while i < LEAF {
        let mut sum = s.zero();
        for (dim, &coordinate) in query[..tree.dims].iter().enumerate() {
            // SAFETY: within the leaf.
            let d = unsafe { s.sub(s.splat(coordinate), s.load(points.as_ptr().add(dim * LEAF + i))) };
            sum = s.mul_add(d, d, sum);
        }
        let mut bits = s.mask_bits(s.lt(sum, s.splat(nearest.farthest())));
        if bits != 0 {
            // SAFETY: within the array.
            unsafe { s.store(squares.as_mut_ptr().add(i), sum) };
            while bits != 0 {
                let at = i + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if at != skip {
                    nearest.offer(squares[at]);
                }
            }
        }
        i += S::LANES;
    }
}
