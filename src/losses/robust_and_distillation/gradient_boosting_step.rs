//! rho = sum_i r_i d_i / sum_i h_i d_i^2, a Newton step along the new unit's output.

use crate::cpu::Cpu;
use crate::cpu::boosting::{Kind, Rows, Sweep};
use crate::cpu::parallel::Blocks;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{line_ahead, load_lanes, load_typed};
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::gradient_boosting_step::{Args, Call};
use crate::registry::{Floats, Result};
use std::ops::Range;

/// Most lanes of any instruction set.
const LANES: usize = 16;

/// Adds some rows to both sums of each class.
struct Sums<'a> {
    direction: Floats<'a>,
    range: Range<usize>,
    /// Of these rows, one after the other.
    residuals: *const f32,
    hessian: *const f32,
    /// With room for whole vectors.
    slopes: &'a mut [f64],
    curvatures: &'a mut [f64],
}

/// Rows whose terms are added up in f32: so few that rounding does not count.
const FEW: usize = 8;

impl Sums<'_> {
    /// Vectors of row `i` of these: residuals, second derivatives and direction.
    ///
    /// # Safety
    /// They are within the row.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, s: S, i: usize, at: usize, lanes: usize) -> [S::F; 3] {
        let (k, direction) = (self.direction.columns, &self.direction);
        unsafe {
            let place = direction.row(self.range.start + i).add(at * direction.dtype.size());
            line_ahead(place);
            let r = load_lanes(s, self.residuals.add(i * k + at), lanes);
            let h = load_lanes(s, self.hessian.add(i * k + at), lanes);
            [r, h, load_typed(s, direction.dtype, place, lanes)]
        }
    }
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (k, rows) = (self.direction.columns, self.range.len());
        assert!(self.slopes.len().min(self.curvatures.len()) >= k.next_multiple_of(S::LANES));
        for at in (0..k).step_by(S::LANES) {
            let lanes = S::LANES.min(k - at);
            let (mut slopes, mut curvatures) = (s.d_zero(), s.d_zero());
            for first in (0..rows).step_by(FEW) {
                let few = first..rows.min(first + FEW);
                let (mut slope, mut curvature) = (s.zero(), s.zero());
                for i in few.clone() {
                    // SAFETY: within the rows.
                    let [r, h, d] = unsafe { self.load(s, i, at, lanes) };
                    slope = s.mul_add(r, d, slope);
                    curvature = s.mul_add(s.mul(h, d), d, curvature);
                }
                // Far from the ends of f32 nothing that matters was lost there.
                let largest = s.splat(1e30);
                let inside = s.and(s.lt(s.splat(1e-20), curvature), s.lt(curvature, largest));
                let inside = s.and(inside, s.lt(s.abs(slope), largest));
                if s.mask_bits(s.or(inside, s.not(s.first_n(lanes)))) == s.mask_bits(s.first_n(S::LANES)) {
                    slopes = s.d_add(slopes, slope);
                    curvatures = s.d_add(curvatures, curvature);
                    continue;
                }
                for i in few {
                    // SAFETY: as above.
                    let [r, h, d] = unsafe { self.load(s, i, at, lanes) };
                    slopes = s.d_mul_add(slopes, r, d);
                    curvatures = s.d_mul_add(curvatures, s.mul(h, d), d);
                }
            }
            // SAFETY: room for whole vectors.
            unsafe {
                s.d_add_to(self.slopes.as_mut_ptr().add(at), slopes);
                s.d_add_to(self.curvatures.as_mut_ptr().add(at), curvatures);
            }
        }
    }
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
    let (blocks, together) = (blocks(n, k), together(k));
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let room = padded(k);
    let places: Places<f64> = work.take_places(2 * room * blocks.count);
    let found: Places<f32> = work.take_places(2 * together * k * blocks.count);
    cpu.run(blocks.count, n * k * 16, &|block| {
        // SAFETY: this block's own.
        let sums = unsafe { places.fill(2 * room * block, 2 * room, 0.0) };
        let to = [0, 1].map(|i| found.at((2 * block + i) * together * k));
        let (slopes, curvatures) = sums.split_at_mut(room);
        let all = blocks.range(block);
        for first in all.clone().step_by(together) {
            let range = first..all.end.min(first + together);
            cpu.isa.dispatch(Sweep { rows, range: range.clone(), to, losses: None });
            let [residuals, hessian] = to.map(<*mut f32>::cast_const);
            cpu.isa.dispatch(Sums { direction, range, residuals, hessian, slopes, curvatures });
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
