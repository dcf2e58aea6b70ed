//! Negative slopes, second derivatives and losses of an additive model.

use crate::cpu::Cpu;
use crate::cpu::boosting::{Kind, Rows, Sink};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::{Kernel, Simd};
use crate::cpu::storage::store_lanes;
use crate::registry::Result;
#[cfg(gpu)]
use crate::registry::entries::gradient_boosting_residuals::Args;
use crate::registry::entries::gradient_boosting_residuals::Call;
use std::ops::Range;

struct Block<'a> {
    rows: Rows<'a>,
    range: Range<usize>,
    residuals: Option<Cells<'a>>,
    hessian: Option<Cells<'a>>,
    losses: Option<Cells<'a>>,
}

/// The outputs of one row.
struct RowOut {
    residuals: Option<*mut f32>,
    hessian: Option<*mut f32>,
}

impl Sink for RowOut {
    const LOSS: bool = true;

    #[inline(always)]
    fn put<S: Simd>(&mut self, s: S, at: usize, lanes: usize, residual: S::F, hessian: S::F) {
        // SAFETY: within the row, which its block alone writes.
        unsafe {
            if let Some(to) = self.residuals {
                store_lanes(s, to.add(at), lanes, residual);
            }
            if let Some(to) = self.hessian {
                store_lanes(s, to.add(at), lanes, hessian);
            }
        }
    }
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let k = self.rows.pred.columns;
        for r in self.range {
            let mut out = RowOut { residuals: None, hessian: None };
            if let Some(to) = &self.residuals {
                out.residuals = Some(to.at(r * k));
            }
            if let Some(to) = &self.hessian {
                out.hessian = Some(to.at(r * k));
            }
            // SAFETY: a row of the call.
            let loss = unsafe { self.rows.row(s, r, &mut out) };
            if let Some(to) = &self.losses {
                to.set(r, loss as f32);
            }
        }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, k) = (call.n, call.k);
    let rows = Rows { kind: Kind::from_code(call.opts.kind), pred: call.pred, target: call.target };
    let [residuals, hessian, losses] = [&mut call.residuals, &mut call.hessian, &mut call.losses]
        .map(|out| out.as_deref_mut().map(Cells::new));
    if residuals.is_none() && hessian.is_none() && losses.is_none() {
        return Ok(());
    }
    let blocks = Blocks::new(n, (16384 / k).max(1), 1);
    cpu.run(blocks.count, n * k * 16, &|block| {
        cpu.isa.dispatch(Block { rows, range: blocks.range(block), residuals, hessian, losses });
    });
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    let wanted = !a.residuals.is_null() || !a.hessian.is_null() || !a.losses.is_null();
    if a.n == 0 || !wanted {
        return Ok(());
    }
    let (grid, block) = crate::cuda::rows::shape(a.n, a.k);
    Ok(device.launch("gradient_boosting_residuals", grid, block, 0, unsafe { crate::cuda::bytes_of(a) })?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
