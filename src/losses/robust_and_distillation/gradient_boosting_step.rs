//! rho = sum_i r_i d_i / sum_i h_i d_i^2, a Newton step along the new unit's output.

use crate::cpu::Cpu;
use crate::cpu::boosting::{Kind, Rows, Softmax, Sweep};
use crate::cpu::narrow;
use crate::cpu::parallel::Blocks;
use crate::cpu::row::{Block, Cache, HALF};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::softmax::NO_LABEL;
use crate::cpu::storage::{BLOCK, fetch, line_ahead, load_lanes, load_typed};
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::gradient_boosting_step::{Args, Call};
use crate::registry::{DType, Floats, Result};
use std::ops::Range;

/// Most lanes of any instruction set.
const LANES: usize = 16;

/// Adds some rows to both sums of each class.
struct Sums<'a> {
    rows: Rows<'a>,
    direction: Floats<'a>,
    range: Range<usize>,
    /// Residuals and second derivatives of these rows, one after the other; none if they are to be found on the way.
    found: Option<[*const f32; 2]>,
    /// With room for whole vectors.
    slopes: &'a mut [f64],
    curvatures: &'a mut [f64],
}

/// Rows whose terms are added up in f32: so few that rounding does not count.
const FEW: usize = 8;
/// Rows of a softmax whose exponentials are kept at a time.
const TOGETHER: usize = 16;

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (k, direction, first) = (self.direction.columns, self.direction, self.range.start);
        assert!(self.slopes.len().min(self.curvatures.len()) >= k.next_multiple_of(S::LANES));
        if let Some([residuals, hessian]) = self.found {
            self.add(
                s,
                #[inline(always)]
                |i, at| {
                    let lanes = S::LANES.min(k - at);
                    // SAFETY: within the rows.
                    unsafe {
                        let place = direction.row(first + i).add(at * direction.dtype.size());
                        line_ahead(place);
                        let r = load_lanes(s, residuals.add(i * k + at), lanes);
                        let h = load_lanes(s, hessian.add(i * k + at), lanes);
                        [[r], [h], [load_typed(s, direction.dtype, place, lanes)]]
                    }
                },
            );
            return;
        }
        let (room, cache) = (kept(k), Cache::of_thread(k).cast::<f32>());
        let mut softmax = [None::<Softmax<S>>; TOGETHER];
        let target = self.rows.target;
        assert!(self.range.len() <= TOGETHER && self.range.len() * room <= HALF);
        for (i, r) in self.range.clone().enumerate() {
            // SAFETY: a row of the buffers.
            let row = unsafe { block_of(&self.rows.pred, r) };
            let mut next = 0;
            softmax[i] = Some(Softmax::new(
                s,
                k,
                #[inline(always)]
                |start| row.part(start, BLOCK),
                cache.wrapping_add(i * room),
                // What is read then, for memory to keep up.
                #[inline(always)]
                || {
                    for from in [&target, &direction] {
                        // SAFETY: as above.
                        let row = unsafe { from.row(r) }.cast::<f32>();
                        fetch(row.wrapping_add(next).cast(), 4 * S::LANES * size_of::<f32>());
                    }
                    next += 4 * S::LANES;
                },
            ));
        }
        self.add(
            s,
            #[inline(always)]
            |i, at| {
                let softmax = softmax[i].as_ref().expect("one for each");
                // SAFETY: within the rows; the exponentials are in groups of four vectors.
                unsafe {
                    let r = first + i;
                    let t = block_of(&target, r).part(at, 4 * S::LANES).four(s, 0, NO_LABEL, 0.0);
                    let d = block_of(&direction, r).part(at, 4 * S::LANES).four(s, 0, NO_LABEL, 0.0);
                    let mut e = t;
                    for v in 0..4 {
                        e[v] = s.load(cache.add(i * room + at + v * S::LANES));
                    }
                    let [r, h] = softmax.slopes(s, e, t, softmax.sure.wrapping_sub(at));
                    [r, h, d]
                }
            },
        );
    }
}

/// The row of a buffer of type f32.
///
/// # Safety
/// It has one.
unsafe fn block_of(from: &Floats, r: usize) -> Block {
    unsafe { Block::new(DType::F32, from.row(r), from.columns) }
}

impl Sums<'_> {
    /// `load(i, at)` gives vectors of row `i` of these from element `at` on: residuals, second derivatives and
    /// direction, the last 0 beyond the end.
    #[inline(always)]
    fn add<S: Simd, const N: usize>(&mut self, s: S, load: impl Fn(usize, usize) -> [[S::F; N]; 3]) {
        let (k, rows) = (self.direction.columns, self.range.len());
        for at in (0..k).step_by(N * S::LANES) {
            let (mut slopes, mut curvatures) = ([s.d_zero(); N], [s.d_zero(); N]);
            for first in (0..rows).step_by(FEW) {
                let few = first..rows.min(first + FEW);
                let (mut slope, mut curvature) = ([s.zero(); N], [s.zero(); N]);
                for i in few.clone() {
                    let [r, h, d] = load(i, at);
                    for v in 0..N {
                        slope[v] = s.mul_add(r[v], d[v], slope[v]);
                        curvature[v] = s.mul_add(s.mul(h[v], d[v]), d[v], curvature[v]);
                    }
                }
                // Far from the ends of f32 nothing that matters was lost there.
                let largest = s.splat(1e30);
                let mut inside = s.first_n(S::LANES);
                for v in 0..N {
                    let here = s.and(s.lt(s.splat(1e-20), curvature[v]), s.lt(curvature[v], largest));
                    let here = s.and(here, s.lt(s.abs(slope[v]), largest));
                    let beyond = s.not(s.first_n(k.saturating_sub(at + v * S::LANES)));
                    inside = s.and(inside, s.or(here, beyond));
                }
                if s.mask_bits(inside) == s.mask_bits(s.first_n(S::LANES)) {
                    for v in 0..N {
                        slopes[v] = s.d_add(slopes[v], slope[v]);
                        curvatures[v] = s.d_add(curvatures[v], curvature[v]);
                    }
                    continue;
                }
                for i in few {
                    let [r, h, d] = load(i, at);
                    for v in 0..N {
                        slopes[v] = s.d_mul_add(slopes[v], r[v], d[v]);
                        curvatures[v] = s.d_mul_add(curvatures[v], s.mul(h[v], d[v]), d[v]);
                    }
                }
            }
            for v in 0..N {
                let at = at + v * S::LANES;
                if at < k {
                    // SAFETY: room for whole vectors.
                    unsafe {
                        s.d_add_to(self.slopes.as_mut_ptr().add(at), slopes[v]);
                        s.d_add_to(self.curvatures.as_mut_ptr().add(at), curvatures[v]);
                    }
                }
            }
        }
    }
}

/// Room for the exponentials of a row, in groups of four vectors.
fn kept(k: usize) -> usize {
    k.next_multiple_of(4 * LANES)
}

/// Places for the sums of `k` classes: whole vectors.
fn padded(k: usize) -> usize {
    k.checked_next_multiple_of(LANES).unwrap_or(k)
}

/// Enough rows to be worth their sums.
fn blocks(n: usize, k: usize) -> Blocks {
    Blocks::new(n, (16384 / k).max(64), 1)
}

/// Rows whose residuals are found before they are added up: what is found stays in the first-level cache.
fn together(k: usize) -> usize {
    (4096 / k).clamp(1, 64)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let (k, blocks) = (a.k as usize, blocks(a.n as usize, a.k as usize).count as u64);
    let found = (2 * together(k) as u64).saturating_mul(a.k);
    let sums = 2 * padded(k) as u64;
    Size::default().add::<f64>(blocks.saturating_mul(sums)).add::<f32>(blocks.saturating_mul(found)).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, k) = (call.n, call.k);
    let Some(rho) = call.rho.as_deref_mut() else { return Ok(()) };
    let rows = Rows { kind: Kind::from_code(call.opts.kind), pred: call.pred, target: call.target };
    let direction = call.direction;
    let (blocks, room) = (blocks(n, k), padded(k));
    // Of a softmax of long rows in f32, only exponentials are kept.
    let f32s = [rows.pred, rows.target, direction].iter().all(|from| from.dtype == DType::F32);
    let direct = rows.kind == Kind::Softmax && f32s && k > narrow::LONGEST && k <= HALF / 2;
    let together = if direct { (HALF / kept(k)).min(TOGETHER) } else { together(k) };
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let places: Places<f64> = work.take_places(2 * room * blocks.count);
    let wanted = if direct { 0 } else { 2 * together * k };
    let found: Places<f32> = work.take_places(wanted * blocks.count);
    cpu.run(blocks.count, n * k * 16, &|block| {
        // SAFETY: this block's own.
        let sums = unsafe { places.fill(2 * room * block, 2 * room, 0.0) };
        let to = [0, 1]
            .map(|i| if direct { std::ptr::null_mut() } else { found.at((2 * block + i) * together * k) });
        let (slopes, curvatures) = sums.split_at_mut(room);
        let all = blocks.range(block);
        for first in all.clone().step_by(together) {
            let range = first..all.end.min(first + together);
            let found = (!direct).then_some(to.map(<*mut f32>::cast_const));
            if !direct {
                cpu.isa.dispatch(Sweep { rows, range: range.clone(), to, losses: None });
            }
            cpu.isa.dispatch(Sums { rows, direction, range, found, slopes, curvatures });
        }
    });
    // SAFETY: all written.
    let sums = unsafe { places.slice(0, 2 * room * blocks.count) };
    let total = |j: usize| sums.iter().skip(j).step_by(2 * room).sum::<f64>();
    if call.opts.per_class != 0 {
        rho.iter_mut().enumerate().for_each(|(j, rho)| *rho = quotient(total(j), total(room + j)));
    } else {
        let all = |first: usize| (first..first + k).map(total).sum::<f64>();
        rho[0] = quotient(all(0), all(room));
    }
    Ok(())
}

fn quotient(slope: f64, curvature: f64) -> f32 {
    if curvature == 0.0 { 0.0 } else { (slope / curvature) as f32 }
}

/// Columns of a block of threads, which takes several rows at a time.
#[cfg(gpu)]
const COLUMNS: u64 = 32;

/// Parts that the samples are cut into.
#[cfg(gpu)]
fn splits(a: &Args) -> u64 {
    let blocks = a.k.div_ceil(COLUMNS);
    (512 / blocks.min(512)).clamp(1, a.n.div_ceil(256).max(1))
}

#[cfg(gpu)]
fn statistics_bytes(a: &Args) -> u64 {
    if Kind::from_code(a.opts.kind) == Kind::Softmax {
        crate::cuda::align_up(a.n.saturating_mul(8))
    } else {
        0
    }
}

/// Maximum and the rest of the sum of each row of a softmax, then the sums of each part.
#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    statistics_bytes(a).saturating_add(splits(a).saturating_mul(a.k).saturating_mul(16))
}

#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct StepArgs {
    call: Args,
    statistics: *mut f32,
    sums: *mut f64,
    splits: u64,
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    if a.rho.is_null() {
        return Ok(());
    }
    let args = StepArgs {
        call: *a,
        statistics: a.workspace.cast(),
        sums: a.workspace.wrapping_byte_add(statistics_bytes(a) as usize).cast(),
        splits: splits(a),
    };
    // SAFETY: a struct of integers, floats and pointers.
    let bytes = unsafe { crate::cuda::bytes_of(&args) };
    if a.n > 0 && Kind::from_code(a.opts.kind) == Kind::Softmax {
        let (grid, block) = crate::cuda::rows::shape(a.n, a.k);
        device.launch("gradient_boosting_statistics", grid, block, 0, bytes)?;
    }
    let width = a.k.next_power_of_two().min(COLUMNS) as u32;
    let grid = [a.k.div_ceil(COLUMNS) as u32, args.splits as u32, 1];
    device.launch("gradient_boosting_sums", grid, [width, 256 / width, 1], 0, bytes)?;
    let blocks = if a.opts.per_class != 0 { a.k.div_ceil(256) as u32 } else { 1 };
    Ok(device.launch("gradient_boosting_step", [blocks, 1, 1], [256, 1, 1], 0, bytes)?)
}
