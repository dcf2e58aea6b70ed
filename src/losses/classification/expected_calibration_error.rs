//! How far confidences are from accuracies, bin by bin.

use crate::cpu::parallel::Cells;
use crate::cpu::sort;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::Result;
use crate::registry::entries::expected_calibration_error::{Args, Call};

#[derive(Clone, Copy, Default)]
struct Bin {
    count: u64,
    confidence: f64,
    correct: u64,
}

impl Bin {
    fn add(&mut self, confidence: f32, correct: u8) {
        self.count += 1;
        self.confidence += f64::from(confidence);
        self.correct += u64::from(correct != 0);
    }

    fn merge(&mut self, other: &Bin) {
        self.count += other.count;
        self.confidence += other.confidence;
        self.correct += other.correct;
    }

    fn gap(&self) -> f64 {
        match self.count {
            0 => 0.0,
            n => ((self.confidence - self.correct as f64) / n as f64).abs(),
        }
    }
}

/// `norm`.
#[derive(Clone, Copy, PartialEq)]
enum Norm {
    L1,
    L2,
    Max,
}

pub fn check(a: &Args) -> Result<()> {
    match a.opts.equal_mass {
        0 => Ok(()),
        _ => sort::check("expected_calibration_error", a.n, " with equal_mass"),
    }
}

/// How many parts of the samples have bins of their own: by sizes alone, as sums depend on it.
fn parts(n: u64, bins: i64) -> u64 {
    if bins > 1024 { 1 } else { (n >> 15).clamp(1, 16) }
}

/// Adding it rounds a number below 2^51 to an integer, which is left in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// Which of the bins of equal width; a NaN goes to any.
fn place(confidence: f32, bins: usize) -> usize {
    // The product is exact, so that this is its ceiling less 1.
    let product = f64::from(confidence) * bins as f64;
    let rounded = product + ROUND;
    let whole = (rounded.to_bits() & ((1 << 51) - 1)) as usize;
    (whole + usize::from(rounded - ROUND < product)).saturating_sub(1).min(bins - 1)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    match a.opts.equal_mass {
        0 => Size::default().add::<Bin>((a.opts.bins as u64).saturating_mul(parts(a.n, a.opts.bins))).bytes(),
        _ => Size::default().add::<u64>(a.n).add::<u64>(a.n).bytes(),
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let (n, bins) = (call.n, call.opts.bins as usize);
    let norm = [Norm::L1, Norm::L2, Norm::Max][call.opts.norm as usize];
    let (confidence, correct) = (call.confidence, call.correct);
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let mut total = 0.0f64;
    let mut take = |bin: &Bin| {
        let (gap, share) = (bin.gap(), bin.count as f64 / n as f64);
        let term = match norm {
            Norm::L1 => share * gap,
            Norm::L2 => share * gap * gap,
            Norm::Max => gap,
        };
        // Not max, which drops a NaN.
        let larger = term > total || term.is_nan();
        total = if norm != Norm::Max {
            total + term
        } else if larger {
            term
        } else {
            total
        };
    };
    if n == 0 {
    } else if call.opts.equal_mass == 0 {
        let parts = parts(n as u64, call.opts.bins) as usize;
        let all = room.take(parts * bins, Bin::default());
        let places = Cells::new(all);
        cpu.run(parts, n * 5, &|part| {
            let range = n * part / parts..n * (part + 1) / parts;
            for (&c, &right) in confidence[range.clone()].iter().zip(&correct[range]) {
                let at = part * bins + place(c, bins);
                let mut bin = places.get(at);
                bin.add(c, right);
                places.set(at, bin);
            }
        });
        let (all, others) = all.split_at_mut(bins);
        for (i, other) in others.iter().enumerate() {
            all[i % bins].merge(other);
        }
        all.iter().for_each(&mut take);
    } else {
        let (pairs, other) = (room.take(n, 0u64), room.take(n, 0u64));
        for (i, pair) in pairs.iter_mut().enumerate() {
            *pair = sort::pair(sort::key(confidence[i]), i);
        }
        let sorted = sort::sort(pairs, other);
        let mut start = 0;
        // Bins beyond the samples' number are empty but for some: those are found by their samples.
        while start < n {
            let bin = ((start as u128 + 1) * bins as u128).div_ceil(n as u128) - 1;
            let end = ((bin + 1) * n as u128 / bins as u128) as usize;
            let mut sum = Bin::default();
            for &pair in &sorted[start..end] {
                let (_, i) = sort::parts(pair);
                sum.add(confidence[i], correct[i]);
            }
            take(&sum);
            start = end;
        }
    }
    if let Some(value) = &mut call.value {
        value[0] = if norm == Norm::L2 { total.sqrt() } else { total } as f32;
    }
    Ok(())
}

/// Counts, sums of confidences in fixed point, numbers of correct ones, of each bin; the number of NaNs.
#[cfg(gpu)]
fn bins_bytes(a: &Args) -> u64 {
    (3 * a.opts.bins as u64 + 1).saturating_mul(8).div_ceil(256) * 256
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::{bytes_of, sort as device_sort};
    if a.value.is_null() {
        return Ok(());
    }
    let launch = |kernel: &str, blocks: u64| {
        let grid = [blocks.clamp(1, 4096) as u32, 1, 1];
        device.launch(kernel, grid, [256, 1, 1], 0, unsafe { bytes_of(a) })
    };
    let bins = a.opts.bins as u64;
    launch("expected_calibration_error_clear", bins.div_ceil(256))?;
    if a.opts.equal_mass == 0 {
        launch("expected_calibration_error_count", a.n.div_ceil(2048))?;
    } else {
        let pairs = a.workspace.wrapping_byte_add(bins_bytes(a) as usize).cast();
        launch("expected_calibration_error_keys", device_sort::padded(a.n).div_ceil(2048))?;
        device_sort::run(device, pairs, a.n)?;
        launch("expected_calibration_error_ranges", bins)?;
    }
    Ok(launch("expected_calibration_error", 1)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let pairs = if a.opts.equal_mass == 0 { 0 } else { crate::cuda::sort::padded(a.n).saturating_mul(8) };
    bins_bytes(a).saturating_add(pairs)
}
