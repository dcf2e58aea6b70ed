//! One file per loss, next to its declaration; the build script finds them by the declarations.

/// `cpu`, `cuda` and `cuda_workspace` of an entry with inputs `pred` and `target` of `n` elements and a
/// gradient for each. `$loss` makes the mathematics from the options.
macro_rules! pair_entry {
    ($entry:ident, $loss:expr) => {
        use crate::registry::entries::$entry::Call;
        use crate::registry::{Reduction, Result};

        pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
            use crate::cpu::elements::{self, Operand};
            let problem = elements::Problem {
                n: call.n,
                inputs: [Operand::Full(call.pred), Operand::Full(call.target)],
                reduction: Reduction::from_code(call.opts.reduction),
                loss: call.loss.as_deref_mut(),
                grad_loss: call.grad_loss,
                gradients: [call.grad_pred, call.grad_target],
            };
            elements::run(cpu, &$loss(call.opts), problem);
            Ok(())
        }

        #[cfg(gpu)]
        use crate::registry::entries::$entry::Args;

        #[cfg(gpu)]
        pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
            use crate::cuda::{bytes_of, elements};
            let plan = elements::ElementsPlan {
                n: a.n,
                reduction: Reduction::from_code(a.opts.reduction),
                pass: crate::registry::Pass::from_code(a.pass),
                loss: a.loss,
                wants_gradient: !a.grad_pred.is_null() || !a.grad_target.is_null(),
                workspace: a.workspace,
            };
            Ok(elements::run(device, stringify!($entry), unsafe { bytes_of(a) }, &plan)?)
        }

        #[cfg(gpu)]
        pub fn cuda_workspace(a: &Args) -> u64 {
            crate::cuda::elements::workspace_size(a.n, Reduction::from_code(a.opts.reduction))
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/losses.rs"));
