//! Exact squared Euclidean distances to the nearest zero of a mask, axis by axis.

use crate::cpu::Cpu;
use crate::cpu::topology::arena::{Arena, bytes};
use std::mem::MaybeUninit;

#[derive(Clone, Copy)]
pub struct Volume {
    pub images: usize,
    pub depth: usize,
    pub height: usize,
    pub width: usize,
}

/// Neighbouring lines that are read together: a cache line of 32-bit values.
const TILE: usize = 16;
/// Parts that lines are dealt out to; each has scratch of its own.
const SLOTS: usize = 32;

impl Volume {
    fn voxels(&self) -> usize {
        self.images * self.depth * self.height * self.width
    }

    fn longest(&self) -> usize {
        self.depth.max(self.height)
    }

    /// Whether squared distances fit 32 bits, with one value left for infinity.
    fn narrow(&self) -> bool {
        let square = |extent: usize| (extent as u64) * (extent as u64);
        square(self.depth) + square(self.height) + square(self.width) < u64::from(u32::MAX)
    }
}

fn slot_bytes(volume: &Volume) -> usize {
    let length = volume.longest();
    bytes::<u64>(TILE * length) + 2 * bytes::<u32>(length)
}

pub fn workspace_bytes(volume: &Volume) -> usize {
    let squares = if volume.narrow() { 0 } else { bytes::<u64>(volume.voxels()) };
    squares.saturating_add(SLOTS.saturating_mul(slot_bytes(volume)))
}

/// Squared distances as they are stored between passes.
trait Square: Copy + Send + Sync {
    const INFINITE: Self;
    fn stored(value: u64) -> Self;
    fn get(self) -> u64;
}

const INFINITE: u64 = u64::MAX;

impl Square for u32 {
    const INFINITE: u32 = u32::MAX;

    fn stored(value: u64) -> u32 {
        // Squares are below 2^32 - 1 here.
        if value == INFINITE { u32::MAX } else { value as u32 }
    }

    fn get(self) -> u64 {
        if self == u32::MAX { INFINITE } else { u64::from(self) }
    }
}

impl Square for u64 {
    const INFINITE: u64 = INFINITE;

    fn stored(value: u64) -> u64 {
        value
    }

    fn get(self) -> u64 {
        self
    }
}

pub fn transform(
    cpu: &Cpu,
    volume: &Volume,
    mask: &[u8],
    distance: &mut [f32],
    workspace: &mut [MaybeUninit<u8>],
) {
    let n = volume.voxels();
    if n == 0 {
        return;
    }
    let squares = if volume.narrow() { 0 } else { bytes::<u64>(n) };
    let (wide, scratch) = workspace.split_at_mut(squares);
    let pass = Pass { cpu, volume, mask, distance: distance.as_mut_ptr(), scratch: scratch.as_mut_ptr() };
    match volume.narrow() {
        // f32 and u32 have one size: the squares stand where their roots will be.
        true => pass.run::<u32>(distance.as_mut_ptr().cast()),
        false => pass.run::<u64>(wide.as_mut_ptr().cast()),
    }
}

struct Pass<'a> {
    cpu: &'a Cpu,
    volume: &'a Volume,
    mask: &'a [u8],
    distance: *mut f32,
    scratch: *mut MaybeUninit<u8>,
}

// SAFETY: slots write disjoint lines and scratch.
unsafe impl Sync for Pass<'_> {}

/// A buffer shared by slots.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// # Safety
    /// Nobody else has this range at the time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn range(&self, start: usize, length: usize) -> &mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), length) }
    }

    fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

impl Pass<'_> {
    /// `to` has a place per voxel, the same as `distance` or other memory.
    fn run<T: Square>(&self, to: *mut T) {
        let Volume { images, depth, height, width } = *self.volume;
        let to = Shared(to);
        let rows = images * depth * height;
        self.deal(rows, &|row, _| {
            // SAFETY: rows are disjoint.
            let to = unsafe { to.range(row * width, width) };
            row_squares(&self.mask[row * width..(row + 1) * width], to);
        });
        for (length, step, lines) in
            [(height, width, images * depth * width), (depth, height * width, images * height * width)]
        {
            if length > 1 {
                self.columns(to, length, step, lines);
            }
        }
        self.deal(rows, &|row, _| {
            for i in row * width..(row + 1) * width {
                // SAFETY: this row's places; read before they are written.
                unsafe {
                    let square = (*to.at(i)).get();
                    let root = if square == INFINITE { f32::INFINITY } else { (square as f64).sqrt() as f32 };
                    *self.distance.add(i) = root;
                }
            }
        });
    }

    /// Envelopes of the lines of `length` voxels `step` apart.
    fn columns<T: Square>(&self, to: Shared<T>, length: usize, step: usize, lines: usize) {
        let tiles = step.div_ceil(TILE);
        self.deal(lines / step * tiles, &|tile, room| {
            let (block, first) = (tile / tiles, tile % tiles * TILE);
            let width = TILE.min(step - first);
            let base = block * length * step + first;
            let mut room = Arena::new(room);
            let values = room.take(width * length, 0u64);
            let sites = room.take(length, 0u32);
            let starts = room.take(length, 0u32);
            for u in 0..length {
                for x in 0..width {
                    // SAFETY: this tile's voxels.
                    values[x * length + u] = unsafe { *to.at(base + u * step + x) }.get();
                }
            }
            for (x, values) in values.chunks_exact(length).enumerate() {
                let put = |u: usize, value: u64| unsafe { *to.at(base + u * step + x) = T::stored(value) };
                envelope(values, sites, starts, put);
            }
        });
    }

    /// Calls `work` for all items, each with the scratch of its slot.
    fn deal(&self, items: usize, work: &(dyn Fn(usize, &mut [MaybeUninit<u8>]) + Sync)) {
        let slots = SLOTS.min(items);
        self.cpu.run(slots, 8 * self.volume.voxels(), &|slot| {
            let each = slot_bytes(self.volume);
            // SAFETY: this slot's part.
            let room = unsafe { std::slice::from_raw_parts_mut(self.scratch.add(slot * each), each) };
            for item in (slot * items / slots)..((slot + 1) * items / slots) {
                work(item, room);
            }
        });
    }
}

/// Squared distances within a row.
fn row_squares<T: Square>(mask: &[u8], to: &mut [T]) {
    let mut zero = None;
    for (i, &m) in mask.iter().enumerate() {
        if m == 0 {
            zero = Some(i);
        }
        to[i] = zero.map_or(T::INFINITE, |z| square(i - z));
    }
    let mut zero = None;
    for (i, &m) in mask.iter().enumerate().rev() {
        if m == 0 {
            zero = Some(i);
        }
        if let Some(z) = zero {
            let after = (z - i) as u64 * (z - i) as u64;
            if after < to[i].get() {
                to[i] = T::stored(after);
            }
        }
    }
}

fn square<T: Square>(distance: usize) -> T {
    T::stored(distance as u64 * distance as u64)
}

/// Tells min over i of (u - i)^2 + values[i] for every u, from the last to the first. `sites`, `starts`: scratch.
fn envelope(values: &[u64], sites: &mut [u32], starts: &mut [u32], mut put: impl FnMut(usize, u64)) {
    // Below 2^62 all of them: see the entry's check.
    let at = |x: usize, site: usize| {
        let d = x as i64 - site as i64;
        d * d + values[site] as i64
    };
    let mut count = 0;
    for u in (0..values.len()).filter(|&u| values[u] != INFINITE) {
        while count > 0 {
            let start = starts[count - 1] as usize;
            if at(start, sites[count - 1] as usize) <= at(start, u) {
                break;
            }
            count -= 1;
        }
        let start = match count {
            0 => 0,
            _ => {
                // The last place where the parabola before is not above this one, which is not negative.
                let i = sites[count - 1] as usize;
                let (a, b) = (i as i64, u as i64);
                let gain = b * b - a * a + values[u] as i64 - values[i] as i64;
                (gain / (2 * (b - a))) as usize + 1
            }
        };
        if start < values.len() {
            sites[count] = u as u32;
            starts[count] = start as u32;
            count += 1;
        }
    }
    if count == 0 {
        (0..values.len()).rev().for_each(|u| put(u, INFINITE));
        return;
    }
    for u in (0..values.len()).rev() {
        put(u, at(u, sites[count - 1] as usize) as u64);
        if starts[count - 1] as usize == u && count > 1 {
            count -= 1;
        }
    }
}
