//! Room for rows in lanes, and their way in and out of it.

use super::classes::Classes;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, Scratch, load_typed};
use crate::registry::{DType, Floats, FloatsMut};
use std::ops::Range;

/// Lanes of the widest vectors side by side.
pub const WIDEST: usize = 32;

/// Longest row that goes into lanes: one much longer fills vectors of its own, and an f32 sum has no use for more
/// terms.
pub const LONGEST: usize = 64;

/// Whether rows of `n` logits go into lanes.
pub fn fits<S: Simd>(n: usize) -> bool {
    S::LANES > 1 && n <= LONGEST
}

/// Values of `LANES` rows, one row after the other or one class after the other.
type Tile = Scratch<{ (LONGEST + 1) * WIDEST }>;

/// Room for rows and what is made of them.
pub struct Tiles {
    rows: Tile,
    classes: Tile,
}

impl Tiles {
    pub const fn new() -> Tiles {
        Tiles { rows: Tile::new(), classes: Tile::new() }
    }

    /// Room for `rows`, which [`Classes::read`] is to fill.
    pub fn classes<S: Simd>(&mut self, len: usize, rows: Range<usize>, label: S::F) -> Classes<S> {
        assert!(fits::<S>(len) && rows.len() <= S::LANES);
        Classes::new(self.classes.ptr(), self.rows.ptr(), len, label, rows)
    }
}

/// One value per row, and how a vector reads and writes them.
#[repr(C, align(64))]
pub struct Lanes(pub [f32; WIDEST]);

impl Lanes {
    /// Zeros where there are less values.
    #[inline(always)]
    pub(super) fn collect(values: impl Iterator<Item = f32>) -> Lanes {
        let mut lanes = Lanes([0.0; WIDEST]);
        lanes.0.iter_mut().zip(values).for_each(|(lane, value)| *lane = value);
        lanes
    }

    #[inline(always)]
    pub fn vector<S: Simd>(&self, s: S) -> S::F {
        const { assert!(S::LANES <= WIDEST) };
        // SAFETY: there is room for a vector.
        unsafe { s.load(self.0.as_ptr()) }
    }

    #[inline(always)]
    pub fn of<S: Simd>(s: S, v: S::F) -> Lanes {
        const { assert!(S::LANES <= WIDEST) };
        let mut lanes = Lanes([0.0; WIDEST]);
        // SAFETY: there is room for a vector.
        unsafe { s.store(lanes.0.as_mut_ptr(), v) };
        lanes
    }
}

/// Reads rows and transposes them; they and their room as the caller says.
pub struct Read<'a> {
    pub from: &'a Floats<'a>,
    pub first: usize,
    pub count: usize,
    /// Whether the next row may be read, too.
    pub followed: bool,
    pub lanes: usize,
    pub n: usize,
    /// Room of a tile.
    pub rows: *mut f32,
    pub values: *mut f32,
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Read { from, first, count, followed, lanes, n, rows: room, values } = self;
        // SAFETY: a vector that begins in a row ends in the next. Tiles have room for the longest.
        unsafe {
            let mut rows = room.cast_const();
            if from.dtype == DType::F32 && from.stride == n && count == lanes && followed && n >= S::LANES {
                rows = from.row(first).cast();
            } else {
                gather(s, from, first, count, room);
                room.add(count * n).write_bytes(0, (lanes - count) * n);
                s.store(room.add(lanes * n), s.zero());
            }
            for row in (0..lanes).step_by(S::LANES) {
                for k in (0..n).step_by(S::LANES) {
                    let from = rows.add(row * n + k);
                    s.transpose_from(from, n, values.add(k * lanes + row), lanes, S::LANES.min(n - k));
                }
            }
            for at in (n * lanes..n.next_multiple_of(2) * lanes).step_by(S::LANES) {
                s.store(values.add(at), s.splat(f32::NEG_INFINITY));
            }
        }
    }
}

/// Rows one after the other as f32.
///
/// # Safety
/// They are within `from`; `to` has room for them, and a vector more.
#[inline(always)]
unsafe fn gather<S: Simd>(s: S, from: &Floats, first: usize, count: usize, to: *mut f32) {
    let n = from.columns;
    // What is written beyond a row's end is the next one's.
    let (runs, len) = if from.stride == n { (1, count * n) } else { (count, n) };
    for i in 0..runs {
        for k in (0..len).step_by(S::LANES) {
            // SAFETY: as the caller says.
            unsafe {
                let (dtype, from) = (from.dtype, from.row(first + i).add(k * from.dtype.size()));
                s.store(to.add(i * n + k), load_typed(s, dtype, from, S::LANES.min(len - k)));
            }
        }
    }
}

/// Transposes the values back, and writes them to the rows `done`.
pub struct Write<'a> {
    /// Or to the room alone.
    pub to: Option<&'a FloatsMut<'a>>,
    pub first: usize,
    pub count: usize,
    pub done: u32,
    pub lanes: usize,
    pub n: usize,
    pub rows: *mut f32,
    pub values: *const f32,
}

impl Kernel for Write<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Write { to, first, count, done, lanes, n, rows, values } = self;
        let all = done.count_ones() as usize == count;
        // SAFETY: as the caller says.
        unsafe {
            let (mut place, mut stride) = (rows, n);
            let direct = to.filter(|to| all && count == lanes && to.dtype == DType::F32);
            if let Some(to) = direct {
                (place, stride) = (to.row(first).cast(), to.stride);
            }
            for row in (0..lanes).step_by(S::LANES) {
                for k in (0..n).step_by(S::LANES) {
                    let to = place.add(row * stride + k);
                    s.transpose_to(values.add(k * lanes + row), lanes, to, stride, S::LANES.min(n - k));
                }
            }
            let Some(to) = to.filter(|_| direct.is_none()) else { return };
            let whole = all && to.stride == n;
            let (runs, len) = if whole { (1, count * n) } else { (count, n) };
            for i in (0..runs).filter(|i| whole || done >> *i & 1 == 1) {
                storage::write(s, to.dtype, rows.add(i * n), to.row(first + i), len, false);
            }
        }
    }
}
