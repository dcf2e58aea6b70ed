//! One row of logits: sweeps over it in blocks of f32, and the values kept between two sweeps.

use crate::cpu::later::{self, Later, Pending};
use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, BLOCK, ahead};
use crate::registry::{DType, Floats, FloatsMut};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

/// One row in memory, swept as often as a loss likes.
pub struct Row {
    ptr: *const u8,
    dtype: DType,
    pub len: usize,
    scratch: *mut f32,
    /// Room for what the first sweep computed of each element, null where the second will not need it or
    /// the row is too long.
    pub cache: *mut Cache,
    /// Which part of the cache: rows of a group have one each, and so have two rows in succession.
    first: usize,
    first_block: usize,
    later: *const Later,
    /// Set by the first sweep when it has filled the cache.
    pub cached: Cell<bool>,
}

/// Rows up to this length are done in groups, sweep by sweep, rather than one by one: each sweep is a chain of
/// dependent steps, and short chains of several rows run side by side in the processor.
const NARROW: usize = 128;
/// Rows of a group.
pub const GROUP: usize = 32;

/// How many rows of `len` values are done together.
pub fn group_size(len: usize) -> usize {
    if len <= NARROW { GROUP } else { 1 }
}

/// Longest row whose values are kept between the sweeps; half a second-level cache.
const CACHED: usize = 64 << 10;
/// Longest row that leaves room for another.
pub const HALF: usize = CACHED / 2;

/// One value per element of a row, and one per block.
#[repr(C, align(64))]
pub struct Cache {
    pub values: [f32; CACHED],
    pub blocks: [f32; CACHED / BLOCK],
}

thread_local! {
    /// Of fixed size, and not on the stack of the caller's thread.
    static CACHE: Box<MaybeUninit<UnsafeCell<Cache>>> = Box::new_uninit();
}

impl Cache {
    /// This thread's, for rows of `len` values, if they fit.
    pub fn of_thread(len: usize) -> *mut Cache {
        if len > CACHED {
            return std::ptr::null_mut();
        }
        CACHE.with(|cache| UnsafeCell::raw_get(cache.as_ptr()))
    }
}

/// Where the gradient of a row goes.
pub struct RowOut {
    ptr: *mut u8,
    dtype: DType,
    scratch: *mut f32,
    later: *const Later,
    /// Whether zeros go around the cache; the writer ends with a fence then.
    stream: bool,
}

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

    /// At most `most` values from `at` on.
    pub fn part(&self, at: usize, most: usize) -> Block {
        assert!(at <= self.len);
        let ptr = self.ptr.wrapping_add(at * self.dtype.size());
        Block { ptr, len: most.min(self.len - at), ..*self }
    }

    /// Folds the block four vectors at a time; element `skip`, if it is one, and lanes beyond the end show as `fill`.
    /// `between()` is called for every four whole vectors.
    #[inline(always)]
    pub fn fold_without<S: Simd, A: Copy>(
        &self,
        s: S,
        skip: usize,
        fill: f32,
        mut acc: [A; 4],
        mut between: impl FnMut(),
        step: impl Fn([A; 4], [S::F; 4], usize) -> [A; 4],
    ) -> [A; 4] {
        let &Block { dtype, ptr, len } = self;
        let size = dtype.size();
        let fill_in = s.splat(fill);
        let mut k = 0;
        while k < len {
            let mut z = [fill_in; 4];
            // SAFETY: all reads are within the block.
            unsafe {
                let from = ptr.add(k * size);
                if k + 4 * S::LANES <= len {
                    for v in 0..4 {
                        let from = from.add(v * S::LANES * size);
                        if v % 2 == 0 || size == 4 {
                            storage::line_ahead(from);
                        }
                        z[v] = storage::load_typed(s, dtype, from, S::LANES);
                    }
                    between();
                } else {
                    for v in 0..(len - k).div_ceil(S::LANES) {
                        let lanes = S::LANES.min(len - k - v * S::LANES);
                        z[v] = storage::load_some(s, dtype, from.add(v * S::LANES * size), lanes, fill);
                    }
                }
            }
            if skip.wrapping_sub(k) < 4 * S::LANES {
                for v in 0..4 {
                    let own = lane(s, skip.wrapping_sub(k + v * S::LANES));
                    z[v] = s.select(own, fill_in, z[v]);
                }
            }
            acc = step(acc, z, k);
            k += 4 * S::LANES;
        }
        acc
    }
}

/// Lane `k` alone; none beyond the last.
#[inline(always)]
pub fn lane<S: Simd>(s: S, k: usize) -> S::M {
    s.and(s.first_n(k.wrapping_add(1)), s.not(s.first_n(k)))
}

impl Row {
    /// # Safety
    /// `r` is a row of `from`; `scratch` has room for a block; `cache` is null or this thread's; `slot` is 0,
    /// or the row's place in its group.
    #[inline(always)]
    pub unsafe fn new(from: &Floats, r: usize, scratch: *mut f32, cache: *mut Cache, slot: usize) -> Row {
        Row::at(unsafe { from.row(r) }, from.dtype, from.columns, scratch, cache, slot)
    }

    #[inline(always)]
    fn at(
        ptr: *const u8,
        dtype: DType,
        len: usize,
        scratch: *mut f32,
        cache: *mut Cache,
        slot: usize,
    ) -> Row {
        Row {
            ptr,
            dtype,
            len,
            scratch,
            cache,
            first: slot * NARROW,
            first_block: slot,
            later: std::ptr::null(),
            cached: Cell::new(false),
        }
    }

    /// Has the first sweep write what waits in `later`.
    ///
    /// # Safety
    /// `later` outlives the row, which is no longer than [`HALF`].
    pub unsafe fn meanwhile(self, later: &Later) -> Row {
        let half = later.half();
        Row { first: half * HALF, first_block: half * (HALF / BLOCK), later, ..self }
    }

    /// What waits to be written during the first sweep.
    #[inline(always)]
    pub fn later(&self) -> Option<&Later> {
        // SAFETY: null or valid, see `meanwhile`.
        unsafe { self.later.as_ref() }
    }

    /// A row of f32 that is not part of a call's buffers.
    ///
    /// # Safety
    /// `ptr` holds `len` values; `scratch` has room for as many, in whole vectors.
    #[inline(always)]
    pub unsafe fn of_floats(ptr: *const f32, len: usize, scratch: *mut f32) -> Row {
        Row::at(ptr.cast(), DType::F32, len, scratch, std::ptr::null_mut(), 0)
    }

    #[inline(always)]
    pub fn get(&self, k: usize) -> f32 {
        assert!(k < self.len);
        // SAFETY: within the row.
        unsafe { storage::read_one(self.dtype, self.ptr.add(k * self.dtype.size())) }
    }

    /// Where the cache holds the values from `start` on, a multiple of [`BLOCK`].
    #[inline(always)]
    pub fn cache_at(&self, start: usize) -> *mut f32 {
        let at = self.first + start;
        assert!(!self.cache.is_null() && at < CACHED);
        // SAFETY: within the cache.
        unsafe { (&raw mut (*self.cache).values).cast::<f32>().add(at) }
    }

    /// Keeps one value for the block that begins at `start`.
    #[inline(always)]
    pub fn set_block_value(&self, start: usize, value: f32) {
        assert!(!self.cache.is_null());
        // SAFETY: this thread alone has the cache; the index is checked.
        unsafe { (&mut (*self.cache).blocks)[self.first_block + start / BLOCK] = value }
    }

    #[inline(always)]
    pub fn block_value(&self, start: usize) -> f32 {
        assert!(!self.cache.is_null());
        // SAFETY: as above.
        unsafe { (&(*self.cache).blocks)[self.first_block + start / BLOCK] }
    }

    /// As [`Row::blocks`], of the type in memory.
    #[inline(always)]
    pub fn typed_blocks(&self, mut sweep: impl FnMut(usize, Block)) {
        let mut start = 0;
        while start < self.len {
            let len = BLOCK.min(self.len - start);
            // SAFETY: within the row.
            sweep(start, unsafe { Block::new(self.dtype, self.ptr.add(start * self.dtype.size()), len) });
            start += len;
        }
    }

    /// Calls `sweep(start, block)` for consecutive blocks of at most [`BLOCK`] values.
    #[inline(always)]
    pub fn blocks<S: Simd>(&self, s: S, mut sweep: impl FnMut(usize, &[f32])) {
        let mut start = 0;
        while start < self.len {
            let n = BLOCK.min(self.len - start);
            // SAFETY: within the row; the slice ends before anything is written to the row.
            let block = unsafe {
                let src = self.ptr.add(start * self.dtype.size());
                ahead(src, n * self.dtype.size());
                std::slice::from_raw_parts(storage::read(s, self.dtype, src, n, self.scratch), n)
            };
            sweep(start, block);
            start += n;
        }
    }

    /// As [`Row::blocks`], on values that `map` changed first.
    #[inline(always)]
    pub fn mapped_blocks<S: Simd>(
        &self,
        s: S,
        map: impl Fn(S::F) -> S::F,
        mut sweep: impl FnMut(usize, &[f32]),
    ) {
        let scratch = self.scratch;
        self.blocks(
            s,
            #[inline(always)]
            |start, block| {
                let n = block.len();
                // SAFETY: `block` is the row or the scratch itself, read one vector before it is written.
                unsafe {
                    map_into(
                        s,
                        block.as_ptr(),
                        scratch,
                        n,
                        #[inline(always)]
                        |z, _| map(z),
                    );
                    sweep(start, std::slice::from_raw_parts(scratch, n));
                }
            },
        );
    }

    /// Stores `map(z, start of the vector)` for every element of the row. `map` sees a value of 0 beyond the
    /// end.
    #[inline(always)]
    pub fn map_to<S: Simd>(&self, s: S, out: &RowOut, map: impl Fn(S::F, usize) -> S::F) {
        out.blocks(
            s,
            self.len,
            #[inline(always)]
            |start, n, target| {
                // SAFETY: within the row; each vector is read before it is written, so `out` may be the row.
                unsafe {
                    let src = self.ptr.add(start * self.dtype.size());
                    let src = storage::read(s, self.dtype, src, n, self.scratch);
                    map_into(
                        s,
                        src,
                        target,
                        n,
                        #[inline(always)]
                        |z, k| map(z, start + k),
                    );
                }
            },
        );
    }
}

impl RowOut {
    /// # Safety
    /// `r` is a row of `to`, which nobody else writes; `scratch` has room for a block.
    #[inline(always)]
    pub unsafe fn new(to: &FloatsMut, r: usize, scratch: *mut f32) -> RowOut {
        let (ptr, later) = (unsafe { to.row(r) }, std::ptr::null());
        RowOut { ptr, dtype: to.dtype, scratch, later, stream: false }
    }

    /// Lets a loss leave its gradient to `later`.
    ///
    /// # Safety
    /// `later` outlives this.
    pub unsafe fn or(self, later: &Later) -> RowOut {
        RowOut { later, ..self }
    }

    /// Has zeros go around the cache.
    pub fn streamed(self, stream: bool) -> RowOut {
        RowOut { stream, ..self }
    }

    /// Leaves `weight exp(z_k - top)` of a cached row to the next row's first sweep; false if that cannot be.
    pub fn postpone(&self, row: &Row, top: f32, weight: f32) -> bool {
        // SAFETY: null or valid, see `or`.
        let later = unsafe { self.later.as_ref() };
        let Some(later) = later.filter(|_| row.cached.get()) else { return false };
        later.put(Pending {
            terms: row.cache_at(0),
            // SAFETY: within the cache, which outlives a call.
            about: unsafe { (&raw const (*row.cache).blocks).cast::<f32>().add(row.first_block) },
            top,
            weight,
            out: self.ptr,
            dtype: self.dtype,
            len: row.len,
            own: (later::NONE, 0.0),
        });
        true
    }

    /// See [`Row::of_floats`].
    ///
    /// # Safety
    /// There is room for what is written.
    #[inline(always)]
    pub unsafe fn of_floats(ptr: *mut f32) -> RowOut {
        let (scratch, later) = (std::ptr::null_mut(), std::ptr::null());
        RowOut { ptr: ptr.cast(), dtype: DType::F32, scratch, later, stream: false }
    }

    /// Has `fill(start, n, target)` write each block of the row as f32.
    #[inline(always)]
    pub fn blocks<S: Simd>(&self, s: S, len: usize, fill: impl Fn(usize, usize, *mut f32)) {
        let direct = self.dtype == DType::F32;
        let mut start = 0;
        while start < len {
            let n = BLOCK.min(len - start);
            // SAFETY: within the row.
            unsafe {
                let dst = self.ptr.add(start * self.dtype.size());
                ahead(dst, n * self.dtype.size());
                fill(start, n, if direct { dst.cast() } else { self.scratch });
                if !direct {
                    storage::write(s, self.dtype, self.scratch, dst, n, false);
                }
            }
            start += n;
        }
    }

    /// Overrides element `k`, always the same one of a row; after [`Row::map_to`].
    #[inline(always)]
    pub fn set(&self, k: usize, value: f32) {
        // SAFETY: null or valid, see `or`.
        if unsafe { self.later.as_ref() }.is_some_and(|later| later.set(self.ptr, k, value)) {
            return;
        }
        // SAFETY: labels are checked to lie within the row.
        unsafe { storage::write_one(self.dtype, value, self.ptr.add(k * self.dtype.size())) }
    }

    pub fn fill_zero(&self, len: usize) {
        // SAFETY: the row has `len` elements; zero bytes are 0.0 in every type.
        unsafe {
            if self.stream {
                storage::stream_zeros(self.ptr, len * self.dtype.size());
            } else {
                std::ptr::write_bytes(self.ptr, 0, len * self.dtype.size());
            }
        }
    }
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

/// As [`fold`], but element `skip` shows as `fill`; a `skip` beyond the block skips nothing.
#[inline(always)]
#[allow(clippy::redundant_closure)] // a reference to `step` would not be inlined
pub fn fold_without<S: Simd, A: Copy>(
    s: S,
    block: &[f32],
    skip: usize,
    fill: f32,
    acc: [A; 4],
    step: impl Fn(A, S::F, usize) -> A,
) -> [A; 4] {
    // Up to the vector with the element, that vector, and what follows.
    let first = if skip < block.len() { skip / S::LANES * S::LANES } else { block.len() };
    let mut acc = fold(
        s,
        &block[..first],
        fill,
        acc,
        #[inline(always)]
        |acc, z, k| step(acc, z, k),
    );
    if first == block.len() {
        return acc;
    }
    let lanes = S::LANES.min(block.len() - first);
    // SAFETY: the vector lies within the block.
    let z = unsafe { s.load_partial(block.as_ptr().add(first), lanes, fill) };
    let (below, upto) = (s.first_n(skip - first), s.first_n(skip - first + 1));
    let z = s.select(below, z, s.select(upto, s.splat(fill), z));
    acc[3] = step(acc[3], z, first);
    if first + lanes == block.len() {
        return acc;
    }
    fold(
        s,
        &block[first + lanes..],
        fill,
        acc,
        #[inline(always)]
        |acc, z, k| step(acc, z, first + lanes + k),
    )
}

#[inline(always)]
pub fn total<S: Simd>(s: S, acc: [S::D; 4]) -> f64 {
    s.d_sum(s.d_merge(s.d_merge(acc[0], acc[1]), s.d_merge(acc[2], acc[3])))
}

/// Calls `sweep(start, blocks)` for consecutive blocks of several rows of the same length. They are short enough for
/// f32 sums of [`fold_blocks`] to be accurate.
#[inline(always)]
pub fn blocks_of<S: Simd, const I: usize>(s: S, rows: &[Row; I], mut sweep: impl FnMut(usize, [&[f32]; I])) {
    let (len, mut start) = (rows[0].len, 0);
    while start < len {
        let n = BLOCK.min(64 * S::LANES).min(len - start);
        let mut blocks: [&[f32]; I] = [&[]; I];
        for (block, row) in blocks.iter_mut().zip(rows) {
            // SAFETY: within the row; the slice ends before anything is written to the row.
            unsafe {
                let src = row.ptr.add(start * row.dtype.size());
                ahead(src, n * row.dtype.size());
                *block = std::slice::from_raw_parts(storage::read(s, row.dtype, src, n, row.scratch), n);
            }
        }
        sweep(start, blocks);
        start += n;
    }
}

/// Stores the vectors `map(values of the rows, start of the vector)` where they are wanted. All values of a place
/// are read before any is written there: an output may be its row. `map` sees values of 0 beyond the end.
#[inline(always)]
pub fn map_rows<S: Simd, const I: usize, const G: usize>(
    s: S,
    rows: &[Row; I],
    out: [Option<&RowOut>; G],
    map: impl Fn([S::F; I], usize) -> [S::F; G],
) {
    let (len, mut start) = (rows[0].len, 0);
    while start < len {
        let n = BLOCK.min(len - start);
        // SAFETY: within the rows; see above.
        unsafe {
            let mut src = [std::ptr::null(); I];
            for (src, row) in src.iter_mut().zip(rows) {
                let from = row.ptr.add(start * row.dtype.size());
                *src = storage::read(s, row.dtype, from, n, row.scratch);
            }
            let mut dst = [std::ptr::null_mut::<f32>(); G];
            for (dst, to) in dst.iter_mut().zip(out).filter_map(|(dst, to)| Some((dst, to?))) {
                *dst = if to.dtype == DType::F32 { to.ptr.cast::<f32>().add(start) } else { to.scratch };
            }
            let mut k = 0;
            while k < n {
                let lanes = S::LANES.min(n - k);
                let mut x = [s.zero(); I];
                for (x, src) in x.iter_mut().zip(src) {
                    *x = storage::load_lanes(s, src.add(k), lanes);
                }
                let g = map(x, start + k);
                for i in 0..G {
                    if !dst[i].is_null() {
                        storage::store_lanes(s, dst[i].add(k), lanes, g[i]);
                    }
                }
                k += S::LANES;
            }
            for to in out.iter().flatten() {
                if to.dtype != DType::F32 {
                    let at = to.ptr.add(start * to.dtype.size());
                    storage::write(s, to.dtype, to.scratch, at, n, false);
                }
            }
        }
        start += n;
    }
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
