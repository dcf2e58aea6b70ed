//! Blocks of values: folds into four accumulators, and maps. Those by four vectors are for functions that do several
//! at a time; the others take one after the other.

use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, ahead};
use crate::registry::DType;

/// Values of a row in memory.
#[derive(Clone, Copy)]
pub struct Block {
    dtype: DType,
    ptr: *const u8,
    len: usize,
}

impl Block {
    /// # Safety
    /// `ptr` holds `len` elements of `dtype` as long as the block is in use.
    pub unsafe fn new(dtype: DType, ptr: *const u8, len: usize) -> Block {
        Block { dtype, ptr, len }
    }

    pub fn of(values: &[f32]) -> Block {
        Block { dtype: DType::F32, ptr: values.as_ptr().cast(), len: values.len() }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Where its values are, of type f32.
    pub fn floats(&self) -> *const f32 {
        assert!(self.dtype == DType::F32);
        self.ptr.cast()
    }

    /// Four vectors of values of f32 from `k` on; asks for those some way beyond.
    ///
    /// # Safety
    /// There are so many.
    #[inline(always)]
    pub unsafe fn floats_at<S: Simd>(&self, s: S, k: usize) -> [S::F; 4] {
        let from = self.ptr.cast::<f32>().wrapping_add(k);
        self.group_ahead::<S>(k);
        let mut z = [s.zero(); 4];
        for v in 0..4 {
            z[v] = unsafe { s.load(from.add(v * S::LANES)) };
        }
        z
    }

    /// Asks for what lies some way beyond four vectors from `k` on.
    #[inline(always)]
    pub fn group_ahead<S: Simd>(&self, k: usize) {
        let size = self.dtype.size();
        ahead(self.ptr.wrapping_add(k * size), 4 * S::LANES * size);
    }

    /// At most `most` values from `at` on.
    pub fn part(&self, at: usize, most: usize) -> Block {
        assert!(at <= self.len);
        let ptr = self.ptr.wrapping_add(at * self.dtype.size());
        Block { ptr, len: most.min(self.len - at), ..*self }
    }

    /// Four vectors of values from `k` on; element `skip`, if it is one, and lanes beyond the end show as `fill`.
    #[inline(always)]
    pub fn four<S: Simd>(&self, s: S, k: usize, skip: usize, fill: f32) -> [S::F; 4] {
        let (size, fill_in) = (self.dtype.size(), s.splat(fill));
        let left = self.len - k;
        let mut z = [fill_in; 4];
        // SAFETY: all reads are within the block.
        unsafe {
            let from = self.ptr.add(k * size);
            if left >= 4 * S::LANES {
                for v in 0..4 {
                    z[v] = storage::load_typed(s, self.dtype, from.add(v * S::LANES * size), S::LANES);
                }
            } else {
                // Not as many rounds as are needed: an index that is not constant would put the vectors in memory.
                for v in 0..4 {
                    let lanes = left.saturating_sub(v * S::LANES);
                    if lanes > 0 {
                        let from = from.add(v * S::LANES * size);
                        z[v] = storage::load_some(s, self.dtype, from, lanes.min(S::LANES), fill);
                    }
                }
            }
        }
        if skip.wrapping_sub(k) < 4 * S::LANES {
            for v in 0..4 {
                let own = lane(s, skip.wrapping_sub(k + v * S::LANES));
                z[v] = s.select(own, fill_in, z[v]);
            }
        }
        z
    }

    /// Folds the block, four vectors at a time; element `skip`, if it is one, and lanes beyond the end show as `fill`.
    /// `between()` is called for every four whole vectors.
    #[inline(always)]
    pub fn fold_without<S: Simd, A: Copy>(
        &self,
        s: S,
        skip: usize,
        fill: f32,
        mut acc: A,
        mut between: impl FnMut(),
        step: impl Fn(A, [S::F; 4], usize) -> A,
    ) -> A {
        let (mut k, group) = (0, 4 * S::LANES);
        while k < self.len {
            for _ in 0..self.plain::<S>(k, skip) {
                between();
                // SAFETY: as was asked.
                acc = step(acc, unsafe { self.floats_at(s, k) }, k);
                k += group;
            }
            if k < self.len {
                if k + group <= self.len {
                    self.group_ahead::<S>(k);
                    between();
                }
                acc = step(acc, self.four(s, k, skip, fill), k);
                k += group;
            }
        }
        acc
    }

    /// How often four vectors of values of f32 follow from `k` on, all of them whole and without element `skip`: a loop
    /// over these is spared half of the instructions.
    #[inline(always)]
    pub fn plain<S: Simd>(&self, k: usize, skip: usize) -> usize {
        let end = if skip < k { self.len } else { skip.min(self.len) };
        if self.dtype == DType::F32 { (end - k) / (4 * S::LANES) } else { 0 }
    }
}

/// Values, of a block, so few that sums of f32 are accurate.
pub const fn short<S: Simd>() -> usize {
    if storage::BLOCK < 64 * S::LANES { storage::BLOCK } else { 64 * S::LANES }
}

/// No element of a block.
pub const NO_ELEMENT: usize = usize::MAX;

/// Lane `k` alone; none beyond the last.
#[inline(always)]
pub fn lane<S: Simd>(s: S, k: usize) -> S::M {
    s.and(s.first_n(k.wrapping_add(1)), s.not(s.first_n(k)))
}

/// Stores `map(z, k)` for `n` values.
///
/// # Safety
/// Both hold `n` values; they may be the same.
#[inline(always)]
pub unsafe fn map_into<S: Simd>(
    s: S,
    src: *const f32,
    dst: *mut f32,
    n: usize,
    map: impl Fn(S::F, usize) -> S::F,
) {
    unsafe {
        let mut k = 0;
        while k + S::LANES <= n {
            s.store(dst.add(k), map(s.load(src.add(k)), k));
            k += S::LANES;
        }
        if k < n {
            let z = s.load_partial(src.add(k), n - k, 0.0);
            s.store_partial(dst.add(k), n - k, map(z, k));
        }
    }
}

/// Folds a block into four independent accumulators, to hide the latency of a step; lanes beyond the end
/// see `fill`.
#[inline(always)]
pub fn fold<S: Simd, A: Copy>(
    s: S,
    block: &[f32],
    fill: f32,
    mut acc: [A; 4],
    step: impl Fn(A, S::F, usize) -> A,
) -> [A; 4] {
    let (ptr, n, mut k) = (block.as_ptr(), block.len(), 0);
    // SAFETY: all reads are within the block.
    unsafe {
        while k + 4 * S::LANES <= n {
            acc[0] = step(acc[0], s.load(ptr.add(k)), k);
            acc[1] = step(acc[1], s.load(ptr.add(k + S::LANES)), k + S::LANES);
            acc[2] = step(acc[2], s.load(ptr.add(k + 2 * S::LANES)), k + 2 * S::LANES);
            acc[3] = step(acc[3], s.load(ptr.add(k + 3 * S::LANES)), k + 3 * S::LANES);
            k += 4 * S::LANES;
        }
        while k + S::LANES <= n {
            acc[0] = step(acc[0], s.load(ptr.add(k)), k);
            k += S::LANES;
        }
        if k < n {
            acc[1] = step(acc[1], s.load_partial(ptr.add(k), n - k, fill), k);
        }
    }
    acc
}

/// As [`Block::fold_without`], a vector at a time.
#[inline(always)]
pub fn fold_without<S: Simd, A: Copy>(
    s: S,
    block: &[f32],
    skip: usize,
    fill: f32,
    acc: [A; 4],
    step: impl Fn(A, S::F) -> A,
) -> [A; 4] {
    Block::of(block).fold_without(
        s,
        skip,
        fill,
        acc,
        #[inline(always)]
        || (),
        #[inline(always)]
        |mut acc, z, _| {
            for v in 0..4 {
                acc[v] = step(acc[v], z[v]);
            }
            acc
        },
    )
}

#[inline(always)]
pub fn total<S: Simd>(s: S, acc: [S::D; 4]) -> f64 {
    s.d_sum(s.d_merge(s.d_merge(acc[0], acc[1]), s.d_merge(acc[2], acc[3])))
}

/// Folds blocks of several rows into four independent accumulators; lanes beyond the end see `fill`.
#[inline(always)]
pub fn fold_blocks<S: Simd, A: Copy, const I: usize>(
    s: S,
    blocks: [&[f32]; I],
    fill: f32,
    mut acc: [A; 4],
    step: impl Fn(A, [S::F; I], usize) -> A,
) -> [A; 4] {
    let (n, mut k) = (blocks[0].len(), 0);
    while k + 4 * S::LANES <= n {
        for acc in &mut acc {
            *acc = step(*acc, load_of(s, blocks, k, S::LANES, fill), k);
            k += S::LANES;
        }
    }
    while k < n {
        acc[0] = step(acc[0], load_of(s, blocks, k, S::LANES.min(n - k), fill), k);
        k += S::LANES;
    }
    acc
}

/// The vectors of blocks of the same length from element `k` on, of which `lanes` are left.
#[inline(always)]
fn load_of<S: Simd, const I: usize>(
    s: S,
    blocks: [&[f32]; I],
    k: usize,
    lanes: usize,
    fill: f32,
) -> [S::F; I] {
    let mut x = [s.zero(); I];
    for (x, block) in x.iter_mut().zip(blocks) {
        // SAFETY: within the blocks.
        unsafe {
            let p = block.as_ptr().add(k);
            *x = if lanes == S::LANES { s.load(p) } else { s.load_partial(p, lanes, fill) };
        }
    }
    x
}

/// Four vectors of the `left` values at `from`, with `fill` beyond them.
///
/// # Safety
/// There are as many values.
#[inline(always)]
pub unsafe fn load_four<S: Simd>(s: S, from: *const f32, left: usize, fill: f32) -> [S::F; 4] {
    unsafe { Block::new(DType::F32, from.cast(), left) }.four(s, 0, NO_ELEMENT, fill)
}

/// Stores as many of the values in four vectors as are `left`.
///
/// # Safety
/// There is room for so many.
#[inline(always)]
pub unsafe fn store_four<S: Simd>(s: S, to: *mut f32, left: usize, x: [S::F; 4]) {
    unsafe {
        if left >= 4 * S::LANES {
            for v in 0..4 {
                s.store(to.add(v * S::LANES), x[v]);
            }
        } else {
            for v in 0..4 {
                let lanes = left.saturating_sub(v * S::LANES);
                if lanes > 0 {
                    s.store_partial(to.add(v * S::LANES), lanes.min(S::LANES), x[v]);
                }
            }
        }
    }
}
