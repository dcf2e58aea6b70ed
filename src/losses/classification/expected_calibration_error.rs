//! How far confidences are from accuracies, bin by bin.

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
    #[inline(always)]
    fn add(&mut self, confidence: f32, correct: bool) {
        self.count += 1;
        self.confidence += f64::from(confidence);
        self.correct += u64::from(correct);
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

/// Adds samples to bins of equal width, neighbours to different ones of the `N` that each bin has: a sample waits for
/// the one before in the same.
fn fill<const N: usize>(bins: &mut [Bin], confidence: &[f32], correct: &[u8]) {
    let (bins, _) = bins.as_chunks_mut::<N>();
    let width = bins.len() as f64;
    for (confidence, correct) in confidence.chunks(N).zip(correct.chunks(N)) {
        for (i, (&c, &right)) in confidence.iter().zip(correct).enumerate() {
            bins[place(c, width)][i].add(c, right != 0);
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

/// How many bins there are for each, where they are few.
const SEVERAL: usize = 8;

/// How many parts of the samples have bins of their own, and how many for each: by sizes alone, as sums depend on it.
fn parts(n: u64, bins: i64) -> (u64, u64) {
    if bins > 1024 { (1, 1) } else { ((n >> 15).clamp(1, 16), SEVERAL as u64) }
}

/// Which of the bins of equal width; a NaN goes to any.
#[inline(always)]
fn place(confidence: f32, bins: f64) -> usize {
    // The product is exact; the number before it has its ceiling less 1 as its whole part.
    let product = f64::from(confidence) * bins;
    let product = if product > 1e-300 { product } else { 1e-300 };
    let before = f64::from_bits(product.to_bits() - 1);
    // SAFETY: not NaN, and at most 2^32.
    unsafe { (if before < bins { before } else { 0.0 }).to_int_unchecked::<i64>() as usize }
}

pub fn cpu_workspace(a: &Args) -> u64 {
    match a.opts.equal_mass {
        0 => {
            let (parts, each) = parts(a.n, a.opts.bins);
            Size::default().add::<Bin>((a.opts.bins as u64).saturating_mul(parts * each)).bytes()
        }
        _ => Size::default().add::<u32>(a.n).add::<u32>(a.n).bytes(),
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
        let (parts, each) = parts(n as u64, call.opts.bins);
        let (parts, all) = (parts as usize, bins * each as usize);
        let places = room.take_places(parts * all);
        cpu.run(parts, n * 5, &|part| {
            let range = n * part / parts..n * (part + 1) / parts;
            // SAFETY: this part alone uses them.
            let mine = unsafe { places.fill(part * all, all, Bin::default()) };
            let fill = if each == 1 { fill::<1> } else { fill::<SEVERAL> };
            fill(mine, &confidence[range.clone()], &correct[range]);
        });
        for bin in 0..bins {
            let mut sum = Bin::default();
            for part in 0..parts {
                // SAFETY: all parts are done.
                let of_part = unsafe { places.slice(part * all + bin * each as usize, each as usize) };
                of_part.iter().for_each(|other| sum.merge(other));
            }
            take(&sum);
        }
    } else {
        let (items, other) = (room.take(n, 0u32), room.take(n, 0u32));
        for (item, (&c, &right)) in items.iter_mut().zip(confidence.iter().zip(correct)) {
            // Confidences are not negative, so that the keys have the same first bit.
            *item = sort::key(c) << 1 | u32::from(right != 0);
        }
        let sorted = sort::sort(Some(cpu), items, other, 1);
        let mut start = 0;
        // Bins beyond the samples' number are empty but for some: those are found by their samples.
        while start < n {
            let bin = ((start as u128 + 1) * bins as u128).div_ceil(n as u128) - 1;
            let end = ((bin + 1) * n as u128 / bins as u128) as usize;
            let mut sum = Bin::default();
            for &item in &sorted[start..end] {
                sum.add(sort::value(item >> 1 | 1 << 31), item & 1 == 1);
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
        device_sort::run(device, pairs, a.n, 1)?;
        launch("expected_calibration_error_ranges", bins)?;
    }
    Ok(launch("expected_calibration_error", 1)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let pairs = if a.opts.equal_mass == 0 { 0 } else { crate::cuda::sort::padded(a.n).saturating_mul(8) };
    bins_bytes(a).saturating_add(pairs)
}
