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
    Size::default().add::<u64>(a.n).add::<u64>(a.n).bytes()
}

pub fn cpu(_: &Cpu, call: &mut Call) -> Result<()> {
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
    let (pairs, other) = (room.take(n, 0u64), room.take(n, 0u64));
    let mut nan = false;
    for (i, pair) in pairs.iter_mut().enumerate() {
        // SAFETY: sample i is within the checked buffer.
        let score = unsafe { read_one(call.scores.dtype, call.scores.at(i)) };
        nan |= score.is_nan();
        *pair = sort::pair(sort::key(score), usize::from(call.labels[i] != 0));
    }
    if nan {
        value[0] = f32::NAN;
        return Ok(());
    }
    // Twice the pairs in the right order, and once those of equal scores: below 2^63.
    let (mut halves, mut below) = (0, 0);
    for group in sort::sort(pairs, other).chunk_by(|&a, &b| a >> 32 == b >> 32) {
        let above = group.iter().map(|&pair| pair & 1).sum::<u64>();
        let equal = group.len() as u64 - above;
        halves += above * (2 * below + equal);
        below += equal;
    }
    value[0] = (halves as f64 / (2.0 * positives as f64 * below as f64)) as f32;
    Ok(())
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
    device_sort::run(device, a.workspace.wrapping_byte_add(COUNTS as usize).cast(), a.n)?;
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
