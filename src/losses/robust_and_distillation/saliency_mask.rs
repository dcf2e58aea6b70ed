//! The largest magnitudes of a gradient: src/cpu/select.rs.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::select::{Cut, Keys, Order};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::BLOCK;
use crate::registry::Result;
#[cfg(gpu)]
use crate::registry::entries::saliency_mask::Args;
use crate::registry::entries::saliency_mask::Call;

/// How many are kept.
fn kept(fraction: f64, n: u64) -> u64 {
    ((fraction * n as f64 + 0.5).floor() as u64).min(n)
}

struct Mask<'a> {
    keys: &'a Keys<'a>,
    cut: &'a Cut,
    start: usize,
    mask: &'a mut [u8],
}

impl Kernel for Mask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut start = self.start;
        for mask in self.mask.chunks_mut(BLOCK) {
            self.keys.mask(s, self.cut, start, mask);
            start += mask.len();
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    let keys = Keys::new(call.gradient, Order::LargestMagnitude);
    let k = kept(call.opts.fraction, n as u64);
    let rank = (k > 0).then(|| keys.rank(cpu, k));
    if let Some(threshold) = &mut call.threshold {
        threshold[0] = match &rank {
            None => f32::INFINITY,
            Some(rank) if rank.has_nan => f32::NAN,
            Some(rank) => rank.magnitude(),
        };
    }
    let Some(mask) = call.mask.as_deref_mut() else { return Ok(()) };
    let cut = &rank.map_or(Cut::NOTHING, |rank| keys.cut(cpu, &rank));
    let blocks = Blocks::new(n, 16 * BLOCK, BLOCK);
    let places = Cells::new(mask);
    cpu.run(blocks.count, n * (call.gradient.dtype.size() + 1), &|block| {
        let range = blocks.range(block);
        // SAFETY: this block's part of the mask.
        let mask = unsafe { std::slice::from_raw_parts_mut(places.at(range.start), range.len()) };
        cpu.isa.dispatch(Mask { keys: &keys, cut, start: range.start, mask });
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::cuda::{bytes_of, select};
    if a.mask.is_null() && a.threshold.is_null() {
        return Ok(());
    }
    let selection = select::Selection {
        values: [a.gradient, std::ptr::null()],
        n: a.n,
        k: kept(a.opts.fraction, a.n),
        dtype: a.dtype,
        magnitude: true,
        needs_key: true,
    };
    select::run(device, &selection, a.workspace)?;
    let blocks = a.n.div_ceil(2048).clamp(1, 4096) as u32;
    Ok(device.launch("saliency_mask", [blocks, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(a) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    crate::cuda::select::workspace_size(1)
}
