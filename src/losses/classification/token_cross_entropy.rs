//! The mathematics is that of [`CrossEntropy`], on rows in memory.

use crate::cpu::Cpu;
use crate::cpu::cross_entropy::CrossEntropy;
use crate::cpu::rows::{self, rows_problem};
#[cfg(gpu)]
use crate::cuda::{
    self, Device, bytes_of,
    rows::{RowsPlan, rows_plan},
};
use crate::registry::Result;
use crate::registry::entries::token_cross_entropy::Call;
#[cfg(gpu)]
use crate::registry::{Reduction, entries::token_cross_entropy::Args};

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let o = call.opts;
    let loss = CrossEntropy::new(call.classes, call.class_weights, o.label_smoothing, o.z_weight, o.softcap);
    rows::run(cpu, &loss, rows_problem!(call));
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let plan = RowsPlan {
        class_weights: a.class_weights,
        needs_weight_sum: a.opts.label_smoothing > 0.0,
        ..rows_plan!(a)
    };
    Ok(cuda::rows::run(device, "token_cross_entropy", unsafe { bytes_of(a) }, &plan)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let smoothed = a.opts.label_smoothing > 0.0;
    cuda::rows::workspace_size(a.rows, a.classes, Reduction::from_code(a.opts.reduction), smoothed)
}
