//! One row of logits: sweeps over it in blocks of f32, and the values kept between two sweeps.

mod maps;

pub use crate::cpu::blocks::{Block, fold, fold_blocks, fold_without, map_into, short, total};
use crate::cpu::later::{self, Later, Pending};
use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, BLOCK, ahead};
use crate::registry::{DType, Floats, FloatsMut};
pub use maps::{blocks_of, map_row_blocks, map_rows, map_rows_by_four, store_wanted};
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

/// How many are done together where each writes what another left: so many that their values and those of as many
/// more stay in the first-level cache.
pub fn pending_group_size(len: usize) -> usize {
    (PENDING / len.max(1)).clamp(1, MOST_PENDING)
}

const PENDING: usize = 1024;
pub const MOST_PENDING: usize = 8;

/// Where row `slot` of such a group keeps its values and blocks, one time and the next.
pub fn pending_places(len: usize, slot: usize) -> [(usize, usize); 2] {
    let (values, blocks) = match pending_group_size(len) {
        1 => (HALF, HALF / BLOCK),
        // A line apart from a power of two: their lines would be of the same set.
        _ => (len.next_multiple_of(64) + 16, len.div_ceil(BLOCK)),
    };
    [2 * slot, 2 * slot + 1].map(|i| (i * values, i * blocks))
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

impl Row {
    /// # Safety
    /// `r` is a row of `from`; `scratch` has room for a block; `cache` is null or this thread's; `slot` is 0,
    /// or the row's place in its group.
    #[inline(always)]
    pub unsafe fn new(from: &Floats, r: usize, scratch: *mut f32, cache: *mut Cache, slot: usize) -> Row {
        Row::new_at(unsafe { from.row(r) }, from.dtype, from.columns, scratch, cache, slot)
    }

    #[inline(always)]
    fn new_at(
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

    /// Keeps what it has in half `i` of the cache.
    pub fn in_half(self, i: usize) -> Row {
        Row { first: i * HALF, first_block: i * (HALF / BLOCK), ..self }
    }

    /// Has the first sweep write what waits in `later`.
    ///
    /// # Safety
    /// `later` outlives the row, for which it has room.
    pub unsafe fn meanwhile(self, later: &Later) -> Row {
        let (first, first_block) = later.place();
        Row { later, first, first_block, ..self }
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
        Row::new_at(ptr.cast(), DType::F32, len, scratch, std::ptr::null_mut(), 0)
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

    /// Where value `k` is.
    ///
    /// # Safety
    /// It is one of the row.
    unsafe fn at(&self, k: usize) -> *const u8 {
        unsafe { self.ptr.add(k * self.dtype.size()) }
    }

    /// The block that begins at `start`.
    #[inline(always)]
    pub fn block(&self, start: usize) -> Block {
        assert!(start < self.len);
        // SAFETY: within the row.
        unsafe { Block::new(self.dtype, self.at(start), BLOCK.min(self.len - start)) }
    }

    /// The same as f32: in memory, or in the scratch. Loops over several rows take these, for there would be one for
    /// each combination of types.
    #[inline(always)]
    pub fn f32_block<S: Simd>(&self, s: S, start: usize) -> Block {
        let n = BLOCK.min(self.len - start);
        // SAFETY: within the row.
        unsafe {
            let from = self.at(start);
            if self.dtype != DType::F32 {
                ahead(from, n * self.dtype.size());
            }
            Block::new(DType::F32, storage::read(s, self.dtype, from, n, self.scratch).cast(), n)
        }
    }

    /// As [`Row::blocks`], of the type in memory.
    #[inline(always)]
    pub fn typed_blocks(&self, mut sweep: impl FnMut(usize, Block)) {
        for start in (0..self.len).step_by(BLOCK) {
            sweep(start, self.block(start));
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
        map_rows(
            s,
            std::slice::from_ref(self).first_chunk().expect("one row"),
            [Some(out)],
            #[inline(always)]
            |[z], k| [map(z, k)],
        );
    }

    /// As [`Row::map_to`], four vectors at a time.
    #[inline(always)]
    pub fn map_to_by_four<S: Simd>(&self, s: S, out: &RowOut, map: impl Fn([S::F; 4], usize) -> [S::F; 4]) {
        map_rows_by_four(
            s,
            std::slice::from_ref(self).first_chunk().expect("one row"),
            [Some(out)],
            #[inline(always)]
            |[z], k| [map(z, k)],
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
