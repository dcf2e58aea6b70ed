//! rho = sum_i r_i d_i / sum_i h_i d_i^2, a Newton step along the new unit's output.

use crate::cpu::Cpu;
use crate::cpu::boosting::{Kind, Rows, Sink};
use crate::cpu::parallel::Blocks;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{line_ahead, load_typed, store_lanes};
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::entries::gradient_boosting_step::{Args, Call};
use crate::registry::{Floats, Result};
use std::ops::Range;

/// Most lanes of any instruction set.
const LANES: usize = 16;

/// Some rows, and what they add to both sums of each class.
struct Block<'a> {
    rows: Rows<'a>,
    direction: Floats<'a>,
    range: Range<usize>,
    slopes: &'a mut [f64],
    curvatures: &'a mut [f64],
}

struct RowSums<'a> {
    direction: Floats<'a>,
    r: usize,
    slopes: &'a mut [f64],
    curvatures: &'a mut [f64],
}

impl Sink for RowSums<'_> {
    const LOSS: bool = false;

    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, at: usize, lanes: usize, residual: S::F, hessian: S::F) {
        let (mut r, mut h, mut d) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        // SAFETY: a vector has at most LANES places; the direction has the row and the places.
        unsafe {
            let place = self.direction.row(self.r).add(at * self.direction.dtype.size());
            line_ahead(place);
            store_lanes(s, r.as_mut_ptr(), S::LANES, residual);
            store_lanes(s, h.as_mut_ptr(), S::LANES, hessian);
            store_lanes(s, d.as_mut_ptr(), S::LANES, load_typed(s, self.direction.dtype, place, lanes));
        }
        // Whole vectors, and apart from memory, so that the compiler makes some of it: the places beyond a row's end get
        // nothing.
        let (mut slopes, mut curvatures) = ([0.0; LANES], [0.0; LANES]);
        slopes[..S::LANES].copy_from_slice(&self.slopes[at..][..S::LANES]);
        curvatures[..S::LANES].copy_from_slice(&self.curvatures[at..][..S::LANES]);
        for j in 0..S::LANES {
            let d = f64::from(d[j]);
            slopes[j] += f64::from(r[j]) * d;
            curvatures[j] += f64::from(h[j]) * d * d;
        }
        self.slopes[at..][..S::LANES].copy_from_slice(&slopes[..S::LANES]);
        self.curvatures[at..][..S::LANES].copy_from_slice(&curvatures[..S::LANES]);
    }
}

/// Places for the sums of `k` classes: whole vectors.
fn padded(k: usize) -> usize {
    k.checked_next_multiple_of(LANES).unwrap_or(k)
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for r in self.range {
            let (slopes, curvatures) = (&mut *self.slopes, &mut *self.curvatures);
            let mut sums = RowSums { direction: self.direction, r, slopes, curvatures };
            // SAFETY: a row of the call.
            unsafe { self.rows.row(s, r, &mut sums) };
        }
    }
}

/// Enough rows to be worth their sums.
fn blocks(n: usize, k: usize) -> Blocks {
    Blocks::new(n, (16384 / k).max(64), 1)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let sums = 2 * blocks(a.n as usize, a.k as usize).count as u64;
    Size::default().add::<f64>(sums.saturating_mul(padded(a.k as usize) as u64)).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, k) = (call.n, call.k);
    let Some(rho) = call.rho.as_deref_mut() else { return Ok(()) };
    let rows = Rows { kind: Kind::from_code(call.opts.kind), pred: call.pred, target: call.target };
    let direction = call.direction;
    let blocks = blocks(n, k);
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let room = padded(k);
    let places: Places<f64> = work.take_places(2 * room * blocks.count);
    cpu.run(blocks.count, n * k * 16, &|block| {
        // SAFETY: this block's own.
        let sums = unsafe {
            (0..2 * room).for_each(|j| places.set(2 * room * block + j, 0.0));
            places.slice_mut(2 * room * block, 2 * room)
        };
        let (slopes, curvatures) = sums.split_at_mut(room);
        cpu.isa.dispatch(Block { rows, direction, range: blocks.range(block), slopes, curvatures });
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
