//! Sweeps over several rows of the same length, block by block.

use super::{Row, RowOut};
use crate::cpu::blocks::{Block, NO_ELEMENT, short, store_four};
use crate::cpu::simd::Simd;
use crate::cpu::storage::{self, BLOCK, ahead};
use crate::registry::DType;

/// Calls `sweep(start, blocks)` for consecutive blocks of several rows of the same length. They are short enough for
/// f32 sums of [`fold_blocks`] to be accurate.
#[inline(always)]
pub fn blocks_of<S: Simd, const I: usize>(s: S, rows: &[Row; I], mut sweep: impl FnMut(usize, [&[f32]; I])) {
    let (len, mut start) = (rows[0].len, 0);
    while start < len {
        let n = short::<S>().min(len - start);
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
    map_row_blocks(
        s,
        rows[0].len,
        out,
        #[inline(always)]
        |start, n, to| {
            // SAFETY: within the rows and the blocks to write.
            unsafe {
                let mut from = [std::ptr::null(); I];
                for i in 0..I {
                    from[i] = storage::read(s, rows[i].dtype, rows[i].at(start), n, rows[i].scratch);
                }
                for k in (0..n).step_by(S::LANES) {
                    let lanes = S::LANES.min(n - k);
                    let mut x = [s.zero(); I];
                    for i in 0..I {
                        x[i] = storage::load_lanes(s, from[i].add(k), lanes);
                    }
                    let g = map(x, start + k);
                    for i in 0..G {
                        if !to[i].is_null() {
                            storage::store_lanes(s, to[i].add(k), lanes, g[i]);
                        }
                    }
                }
            }
        },
    );
}

/// As [`map_rows`], four vectors at a time, of which the last may lie beyond the end.
#[inline(always)]
pub fn map_rows_by_four<S: Simd, const I: usize, const G: usize>(
    s: S,
    rows: &[Row; I],
    out: [Option<&RowOut>; G],
    map: impl Fn([[S::F; 4]; I], usize) -> [[S::F; 4]; G],
) {
    map_row_blocks(
        s,
        rows[0].len,
        out,
        #[inline(always)]
        |start, n, to| {
            let mut blocks = [Block::of(&[]); I];
            for i in 0..I {
                blocks[i] = rows[i].f32_block(s, start);
            }
            for k in (0..n).step_by(4 * S::LANES) {
                let mut x = [[s.zero(); 4]; I];
                for i in 0..I {
                    x[i] = blocks[i].four(s, k, NO_ELEMENT, 0.0);
                }
                // SAFETY: within the blocks to write.
                unsafe { store_wanted(s, to, k, n, map(x, start + k)) };
            }
        },
    );
}

/// Calls `map(start, n, to)` for consecutive blocks of `len` elements, to write the blocks as f32 at `to`, which is
/// null where an output is not wanted. An output may be what `map` reads.
#[inline(always)]
pub fn map_row_blocks<S: Simd, const G: usize>(
    s: S,
    len: usize,
    out: [Option<&RowOut>; G],
    map: impl Fn(usize, usize, [*mut f32; G]),
) {
    for start in (0..len).step_by(BLOCK) {
        let n = BLOCK.min(len - start);
        let mut to = [std::ptr::null_mut::<f32>(); G];
        for (to, out) in to.iter_mut().zip(out).filter_map(|(to, out)| Some((to, out?))) {
            // SAFETY: within the row.
            *to = if out.dtype == DType::F32 {
                unsafe { out.ptr.cast::<f32>().add(start) }
            } else {
                out.scratch
            };
        }
        map(start, n, to);
        for out in out.iter().flatten().filter(|out| out.dtype != DType::F32) {
            // SAFETY: within the row.
            unsafe {
                let at = out.ptr.add(start * out.dtype.size());
                storage::write(s, out.dtype, out.scratch, at, n, false);
            }
        }
    }
}

/// Stores four vectors from element `k` on in each block of `n` that is wanted.
///
/// # Safety
/// Each `to` is null or has room for `n` values.
#[inline(always)]
pub unsafe fn store_wanted<S: Simd, const G: usize>(
    s: S,
    to: [*mut f32; G],
    k: usize,
    n: usize,
    values: [[S::F; 4]; G],
) {
    for i in 0..G {
        if !to[i].is_null() {
            unsafe { store_four(s, to[i].add(k), n - k, values[i]) };
        }
    }
}
