//! Negative slopes, second derivatives and losses of an additive model.

use crate::cpu::Cpu;
use crate::cpu::boosting::{Kind, Rows, Sweep};
use crate::cpu::parallel::{Blocks, Cells};
use crate::registry::Result;
#[cfg(gpu)]
use crate::registry::entries::gradient_boosting_residuals::Args;
use crate::registry::entries::gradient_boosting_residuals::Call;

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
        let range = blocks.range(block);
        let to = [residuals, hessian].map(|to| to.map_or(std::ptr::null_mut(), |to| to.at(range.start * k)));
        cpu.isa.dispatch(Sweep { rows, range, to, losses });
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
