//! The columns of both inputs side by side, without their means, each input scaled by a power of two so that its
//! largest value is about 1: the alignment does not depend on scale, and squares of squares neither overflow nor vanish.

use crate::cpu::Cpu;
use crate::cpu::parallel::Blocks;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{load_lanes, load_some, store_lanes};
use crate::cpu::workspace::{Places, Size, Workspace};
use crate::registry::Floats;
use std::ops::Range;

/// Columns that one task sums up.
const STRIP: usize = 64;

/// Means times the scale as the sum of two f32: values next to them keep their digits.
pub struct Centred<'a> {
    inputs: [Floats<'a>; 2],
    scales: [f32; 2],
    high: &'a [f32],
    low: &'a [f32],
}

fn strips(columns: u64) -> u64 {
    columns.div_ceil(STRIP as u64)
}

pub fn size(size: Size, d: u64, k: u64) -> Size {
    let columns = d.saturating_add(k);
    size.add::<f64>(columns).add::<f32>(columns).add::<f32>(columns).add::<f32>(strips(d) + strips(k))
}

/// Sums of some columns, and the largest size among them.
struct Sums<'a> {
    from: Floats<'a>,
    columns: Range<usize>,
    rows: usize,
    to: &'a mut [f64],
}

impl Kernel for Sums<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut most = s.zero();
        let mut block = [0f32; STRIP];
        self.to.fill(0.0);
        for r in 0..self.rows {
            let mut j = 0;
            while j < self.columns.len() {
                let lanes = S::LANES.min(self.columns.len() - j);
                // SAFETY: within the row and the block.
                unsafe {
                    let from = self.from.row(r).add((self.columns.start + j) * self.from.dtype.size());
                    let x = load_some(s, self.from.dtype, from, lanes, 0.0);
                    most = s.max_nan(most, s.abs(x));
                    store_lanes(s, block.as_mut_ptr().add(j), lanes, x);
                }
                j += lanes;
            }
            self.to.iter_mut().zip(&block).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        s.reduce_max(most)
    }
}

/// The power of two that brings `largest` to [1/2, 1); 1 where there is none.
fn scale_of(largest: f32) -> f32 {
    if largest > 0.0 && largest.is_finite() {
        let exponent = (f64::from(largest).to_bits() >> 52) as i32 - 1022;
        f64::from_bits(((1023 - exponent.clamp(-126, 126)) as u64) << 52) as f32
    } else {
        1.0
    }
}

impl<'a> Centred<'a> {
    pub fn new(cpu: &Cpu, inputs: [Floats<'a>; 2], centred: bool, work: &mut Workspace<'a>) -> Centred<'a> {
        let [d, k] = inputs.map(|input| input.columns);
        let means = work.take(d + k, 0f64);
        let (high, low) = (work.take(d + k, 0f32), work.take(d + k, 0f32));
        let counts = inputs.map(|input| strips(input.columns as u64) as usize);
        let largest = work.take(counts[0] + counts[1], 0f32);
        let rows = inputs[0].len.checked_div(d).unwrap_or(0);
        let (means_at, largest_at) =
            (crate::cpu::parallel::Cells::new(means), crate::cpu::parallel::Cells::new(largest));
        cpu.run(counts[0] + counts[1], rows * (d + k) * 8, &|task| {
            let (side, strip) = if task < counts[0] { (0, task) } else { (1, task - counts[0]) };
            let from = inputs[side];
            let columns = strip * STRIP..((strip + 1) * STRIP).min(from.columns);
            let place = side * d + columns.start;
            // SAFETY: this task's own columns.
            let to = unsafe { std::slice::from_raw_parts_mut(means_at.at(place), columns.len()) };
            largest_at.set(task, cpu.isa.dispatch(Sums { from, columns, rows, to }));
        });
        let most = |values: &[f32]| values.iter().fold(0f32, |most, &x| if x > most { x } else { most });
        let scales = [scale_of(most(&largest[..counts[0]])), scale_of(most(&largest[counts[0]..]))];
        if centred && rows > 0 {
            for (j, mean) in means.iter().enumerate() {
                let mean = mean / rows as f64 * f64::from(scales[usize::from(j >= d)]);
                high[j] = mean as f32;
                low[j] = (mean - f64::from(high[j])) as f32;
            }
        }
        Centred { inputs, scales, high, low }
    }

    /// What columns of the second or the first input are multiplied by.
    pub fn scale(&self, second: bool) -> f64 {
        f64::from(self.scales[usize::from(second)])
    }

    /// Writes rows of [a b].
    pub fn fill(&self, cpu: &Cpu, rows: Range<usize>, to: Places<f32>) {
        let width = self.high.len();
        let blocks = Blocks::new(rows.len(), 16, 1);
        cpu.run(blocks.count, rows.len() * width * 8, &|block| {
            let range = blocks.range(block);
            let to = to.at(range.start * width);
            cpu.isa.dispatch(Fill { from: self, first: rows.start + range.start, count: range.len(), to });
        });
    }
}

struct Fill<'a> {
    from: &'a Centred<'a>,
    first: usize,
    count: usize,
    to: *mut f32,
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Centred { inputs, scales, high, low } = self.from;
        let width = high.len();
        for r in 0..self.count {
            let mut at = r * width;
            for side in 0..2 {
                let input = &inputs[side];
                let (scale, first) = (s.splat(scales[side]), side * inputs[0].columns);
                let mut j = 0;
                while j < input.columns {
                    let lanes = S::LANES.min(input.columns - j);
                    // SAFETY: within the row, the means and the places of these rows.
                    unsafe {
                        let from = input.row(self.first + r).add(j * input.dtype.size());
                        let x = load_some(s, input.dtype, from, lanes, 0.0);
                        let high = load_lanes(s, high.as_ptr().add(first + j), lanes);
                        let low = load_lanes(s, low.as_ptr().add(first + j), lanes);
                        store_lanes(s, self.to.add(at), lanes, s.sub(s.sub(s.mul(x, scale), high), low));
                    }
                    at += lanes;
                    j += lanes;
                }
            }
        }
    }
}
