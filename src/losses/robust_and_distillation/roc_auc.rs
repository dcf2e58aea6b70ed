//! The share of pairs of a positive and a negative that scores put in the right order: in whole numbers, by one sort.

use crate::cpu::Cpu;
use crate::cpu::sort;
use crate::cpu::storage::read_one;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::roc_auc::{Args, Call};
use crate::registry::{Error, Result};

pub fn check(a: &Args) -> Result<()> {
    sort::check("roc_auc", a.n, "")
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<u32>(a.n).add::<u32>(a.n).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    let positives = call.labels.iter().filter(|&&label| label != 0).count();
    if positives == 0 || positives == n {
        let missing = if positives == 0 { "positive" } else { "negative" };
        return Err(Error::argument(format!(
            "roc_auc: argument 'labels' has no {missing} among its {n} samples, expected both classes"
        )));
    }
    let Some(value) = call.value.as_deref_mut() else { return Ok(()) };
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let (keys, other) = (room.take(n, 0u32), room.take(n, 0u32));
    let (mut nan, mut found) = (false, 0);
    for (i, &label) in call.labels.iter().enumerate() {
        // SAFETY: sample i is within the checked buffer.
        let score = unsafe { read_one(call.scores.dtype, call.scores.at(i)) };
        nan |= score.is_nan();
        // The positive ones first.
        keys[if label != 0 { found } else { positives + i - found }] = sort::key(score);
        found += usize::from(label != 0);
    }
    if nan {
        value[0] = f32::NAN;
        return Ok(());
    }
    let (positive, negative) = keys.split_at_mut(positives);
    let (room_positive, room_negative) = other.split_at_mut(positives);
    let positive = &*sort::sort(Some(cpu), positive, room_positive, 0);
    let negative = &*sort::sort(Some(cpu), negative, room_negative, 0);
    // A pair of equal scores counts once, one in the right order twice: below 2^63.
    let (less, more) = cpu.join(
        n * 16,
        || pairs(positive, negative, |negative, positive| negative < positive),
        || pairs(positive, negative, |negative, positive| negative <= positive),
    );
    value[0] = ((less + more) as f64 / (2.0 * positives as f64 * negative.len() as f64)) as f32;
    Ok(())
}

/// How many pairs of sorted keys are in order.
#[inline(always)]
fn pairs(positive: &[u32], negative: &[u32], in_order: impl Fn(u32, u32) -> bool) -> u64 {
    let (mut i, mut j, mut sum) = (0, 0, 0);
    while i < positive.len() && j < negative.len() {
        // Without a branch, which would be as hard to predict as the labels.
        let below = in_order(negative[j], positive[i]);
        sum += if below { 0 } else { j as u64 };
        j += usize::from(below);
        i += usize::from(!below);
    }
    sum + (positive.len() - i) as u64 * j as u64
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
    launch("roc_auc_clear", 1)?;
    launch("roc_auc_keys", device_sort::padded(a.n).div_ceil(2048))?;
    device_sort::run(device, a.workspace.wrapping_byte_add(COUNTS as usize).cast(), a.n, 1)?;
    launch("roc_auc_ranks", a.n.div_ceil(2048))?;
    Ok(launch("roc_auc", 1)?)
}

/// Bytes of the counts, before the pairs.
#[cfg(gpu)]
const COUNTS: u64 = 256;

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    crate::cuda::sort::padded(a.n).saturating_mul(8).saturating_add(COUNTS)
}
