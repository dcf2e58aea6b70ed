//! Rows of which a head is copied and the rest is 0.

use crate::cpu::Cpu;
use crate::cpu::parallel::Blocks;
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage;
#[cfg(gpu)]
use crate::registry::entries::nested_dropout::Args;
use crate::registry::entries::nested_dropout::Call;
use crate::registry::{DType, Floats, FloatsMut, Pass, Result, floats_of};

/// Some rows, from features of the output's type or from upstream gradients; ones where there are none.
struct Rows<'a> {
    from: Option<Floats<'a>>,
    to: FloatsMut<'a>,
    keep: &'a [i64],
    channels: usize,
    range: std::ops::Range<usize>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { from, to, keep, channels, range } = self;
        let size = to.dtype.size();
        for row in range {
            let (start, kept) = (row * channels, keep[row] as usize);
            // SAFETY: kept <= channels was checked; this block alone writes its rows.
            unsafe {
                match from {
                    Some(from) if from.dtype == to.dtype => {
                        std::ptr::copy_nonoverlapping(from.at(start), to.at(start), kept * size)
                    }
                    Some(from) => {
                        storage::write(s, to.dtype, from.at(start).cast(), to.at(start), kept, false)
                    }
                    None => (start..start + kept).for_each(|i| storage::write_one(to.dtype, 1.0, to.at(i))),
                }
                std::ptr::write_bytes(to.at(start + kept), 0, (channels - kept) * size);
            }
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (from, to) = match call.pass {
        Pass::Forward => (Some(call.features), call.output),
        _ => (call.grad_loss.map(floats_of), call.grad_features),
    };
    let Some(to) = to else { return Ok(()) };
    debug_assert!(from.is_none_or(|from| from.dtype == to.dtype || from.dtype == DType::F32));
    let (keep, channels) = (call.keep, call.channels);
    let blocks = Blocks::new(call.rows, (1 << 14) / channels.max(1), 1);
    cpu.run(blocks.count, 2 * to.len * to.dtype.size(), &|block| {
        cpu.isa.dispatch(Rows { from, to, keep, channels, range: blocks.range(block) });
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    let to = if a.pass == Pass::Forward as i32 { a.output } else { a.grad_features };
    let n = a.rows * a.channels;
    if n == 0 || to.is_null() {
        return Ok(());
    }
    let blocks = n.div_ceil(2048).min(1 << 16) as u32;
    Ok(device
        .launch("nested_dropout", [blocks, 1, 1], [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
