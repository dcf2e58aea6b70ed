//! Each network's mean loss over the samples that the other one finds easy: src/cpu/select.rs.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::select::{Cut, Keys, Order};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::{self, BLOCK, Scratch};
#[cfg(gpu)]
use crate::registry::entries::co_teaching::Args;
use crate::registry::entries::co_teaching::Call;
use crate::registry::{Floats, FloatsMut, Result};

/// How many are taken.
fn taken(forget_rate: f64, n: u64) -> u64 {
    (((1.0 - forget_rate) * n as f64 + 1e-9).floor() as u64).min(n)
}

/// The losses of one network and the other's selection.
struct Side<'a> {
    losses: Floats<'a>,
    keys: Keys<'a>,
    cut: Cut,
    selected: Option<Cells<'a, u8>>,
    gradient: Option<FloatsMut<'a>>,
    /// Of the samples that are taken.
    slope: f32,
    wants_sum: bool,
}

struct Part<'a> {
    side: &'a Side<'a>,
    range: std::ops::Range<usize>,
}

impl Kernel for Part<'_> {
    /// Sum of the losses that are taken.
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let side = self.side;
        let mut mask = [0; BLOCK];
        let mut scratch = Scratch::<BLOCK>::new();
        let mut slopes = [0.0; BLOCK];
        let mut sums = [0.0; 8];
        let mut start = self.range.start;
        while start < self.range.end {
            let n = BLOCK.min(self.range.end - start);
            let mask = &mut mask[..n];
            side.keys.mask(s, &side.cut, start, mask);
            if let Some(selected) = side.selected {
                // SAFETY: this block alone writes its part.
                unsafe { std::ptr::copy_nonoverlapping(mask.as_ptr(), selected.at(start), n) };
            }
            if side.wants_sum {
                // SAFETY: within the buffer, and a block.
                let values = unsafe {
                    let (dtype, at) = (side.losses.dtype, side.losses.at(start));
                    std::slice::from_raw_parts(storage::read(s, dtype, at, n, scratch.ptr()), n)
                };
                for (values, mask) in values.chunks(8).zip(mask.chunks(8)) {
                    for (sum, (&value, &taken)) in sums.iter_mut().zip(values.iter().zip(mask)) {
                        *sum += if taken != 0 { f64::from(value) } else { 0.0 };
                    }
                }
            }
            if let Some(to) = &side.gradient {
                for (slope, &taken) in slopes.iter_mut().zip(mask.iter()) {
                    *slope = if taken != 0 { side.slope } else { 0.0 };
                }
                // SAFETY: as above.
                unsafe { storage::write(s, to.dtype, slopes.as_ptr(), to.at(start), n, false) };
            }
            start += n;
        }
        sums.iter().sum()
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    let k = taken(call.opts.forget_rate, n as u64);
    let losses = [call.losses_a, call.losses_b];
    let mut selected =
        [call.selected_b.as_deref_mut(), call.selected_a.as_deref_mut()].map(|s| s.map(Cells::new));
    let gradients = [call.grad_losses_a, call.grad_losses_b];
    let blocks = Blocks::new(n, 16 * BLOCK, BLOCK);
    for side in 0..2 {
        let keys = Keys::new(losses[1 - side], Order::Smallest);
        let wants_sum = call.loss.is_some();
        if !wants_sum && selected[side].is_none() && gradients[side].is_none() {
            continue;
        }
        let cut = match k {
            0 => Cut::NOTHING,
            _ if k == n as u64 => Cut::EVERYTHING,
            _ => keys.cut(cpu, &keys.rank(cpu, k)),
        };
        let divisor = k.max(1) as f64;
        let g = call.grad_loss.map_or(1.0, |g| f64::from(g[side]));
        let side_of = Side {
            losses: losses[side],
            keys,
            cut,
            selected: selected[side].take(),
            gradient: gradients[side],
            slope: (g / divisor) as f32,
            wants_sum,
        };
        let bytes = 2 * n * losses[0].dtype.size();
        let sum = cpu.sum(blocks.count, bytes, &|block| {
            cpu.isa.dispatch(Part { side: &side_of, range: blocks.range(block) })
        });
        if let Some(loss) = call.loss.as_deref_mut() {
            loss[side] = (sum / divisor) as f32;
        }
    }
    Ok(())
}

/// Blocks that sum the losses, in partial sums of each side.
#[cfg(gpu)]
const BLOCKS: u64 = 512;

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::{bytes_of, select};
    use crate::registry::Pass;
    let pass = Pass::from_code(a.pass);
    let wants_loss = pass.forward() && !a.loss.is_null();
    let wants_selection = pass.forward() && !(a.selected_a.is_null() && a.selected_b.is_null());
    let wants_gradient = pass.backward() && !(a.grad_losses_a.is_null() && a.grad_losses_b.is_null());
    if !wants_loss && !wants_selection && !wants_gradient {
        return Ok(());
    }
    let selection = select::Selection {
        values: [a.losses_a, a.losses_b],
        n: a.n,
        k: taken(a.opts.forget_rate, a.n),
        dtype: a.dtype,
        magnitude: false,
        needs_key: false,
    };
    if a.n > 0 {
        select::run(device, &selection, a.workspace)?;
        let blocks = a.n.div_ceil(2048).min(BLOCKS) as u32;
        device.launch("co_teaching", [blocks, 2, 1], [256, 1, 1], 0, unsafe { bytes_of(a) })?;
    }
    if wants_loss {
        device.launch("co_teaching_sums", [1, 2, 1], [BLOCKS as u32, 1, 1], 0, unsafe { bytes_of(a) })?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    crate::cuda::select::workspace_size(2) + crate::cuda::align_up(2 * BLOCKS * 8)
}
