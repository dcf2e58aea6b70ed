//! Rows mixed of their own coordinates and those of another row.

use crate::cpu::Cpu;
use crate::cpu::parallel::Blocks;
use crate::cpu::simd::{Kernel, Simd};
#[cfg(gpu)]
use crate::registry::entries::coordinate_shuffle::Args;
use crate::registry::entries::coordinate_shuffle::Call;
use crate::registry::{DType, Floats, FloatsMut, Result};

struct Rows<'a> {
    x: Floats<'a>,
    to: FloatsMut<'a>,
    permutation: &'a [i64],
    mask: &'a [u8],
    range: std::ops::Range<usize>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // Masks rather than a choice: not every compiler makes vectors of that.
        if self.x.dtype == DType::F32 {
            self.mix(
                #[inline(always)]
                |own: u32, other: u32, taken: u8| {
                    own ^ ((own ^ other) & u32::from(taken != 0).wrapping_neg())
                },
            );
        } else {
            self.mix(
                #[inline(always)]
                |own: u16, other: u16, taken: u8| {
                    own ^ ((own ^ other) & u16::from(taken != 0).wrapping_neg())
                },
            );
        }
    }
}

impl Rows<'_> {
    /// `T` has the size of an element.
    #[inline(always)]
    fn mix<T: Copy>(self, choose: impl Fn(T, T, u8) -> T) {
        let d = self.mask.len();
        for row in self.range {
            // SAFETY: rows of the checked buffers; this block alone writes its rows.
            let (own, other, to) = unsafe {
                let of = |row: usize| std::slice::from_raw_parts(self.x.at(row * d).cast::<T>(), d);
                let to = std::slice::from_raw_parts_mut(self.to.at(row * d).cast::<T>(), d);
                (of(row), of(self.permutation[row] as usize), to)
            };
            for (to, ((&own, &other), &taken)) in to.iter_mut().zip(own.iter().zip(other).zip(self.mask)) {
                *to = choose(own, other, taken);
            }
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Some(to) = call.output else { return Ok(()) };
    let (x, permutation, mask) = (call.x, call.permutation, call.mask);
    let blocks = Blocks::new(call.n, (1 << 14) / call.d.max(1), 1);
    cpu.run(blocks.count, 2 * x.len * x.dtype.size(), &|block| {
        cpu.isa.dispatch(Rows { x, to, permutation, mask, range: blocks.range(block) });
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    let n = a.n * a.d;
    if n == 0 || a.output.is_null() {
        return Ok(());
    }
    let blocks = n.div_ceil(2048).min(1 << 16) as u32;
    let bytes = unsafe { crate::cuda::bytes_of(a) };
    Ok(device.launch("coordinate_shuffle", [blocks, 1, 1], [256, 1, 1], 0, bytes)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
