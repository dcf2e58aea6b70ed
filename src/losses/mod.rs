//! One file per loss, next to its declaration; the build script finds them by the declarations.

pub mod shared;

/// `cpu`, `cuda` and `cuda_workspace` of an entry with one value per element: its size as a product of
/// dimensions, its inputs in the order the mathematics takes them (each with how it is read, see `Operand`; then any
/// that are derived), its gradients. `$loss` makes the mathematics from the call.
macro_rules! elements_entry {
    ($entry:ident, $first:ident $(* $dim:ident)*, [$($kind:ident $input:ident),+], [$($gradient:ident),+], $loss:expr) => {
        use crate::registry::entries::$entry::Call;
        use crate::registry::{Reduction, Result};

        pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
            use crate::cpu::elements::{self, Operand};
            let loss = ($loss)(&*call);
            let problem = elements::Problem {
                n: call.$first $(* call.$dim)*,
                rows: call.$first,
                inputs: [$(elements_entry!(@$kind Operand, call.$input)),+],
                reduction: Reduction::from_code(call.opts.reduction),
                loss: call.loss.as_deref_mut(),
                grad_loss: call.grad_loss,
                gradients: [$(call.$gradient),+],
            };
            elements::run(cpu, &loss, problem);
            Ok(())
        }

        #[cfg(gpu)]
        use crate::registry::entries::$entry::Args;

        #[cfg(gpu)]
        pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
            use crate::cuda::{bytes_of, elements};
            let plan = elements::ElementsPlan {
                n: a.$first $(* a.$dim)*,
                rows: a.$first,
                reduction: Reduction::from_code(a.opts.reduction),
                pass: crate::registry::Pass::from_code(a.pass),
                loss: a.loss,
                wants_more: false,
                wants_gradient: $(!a.$gradient.is_null())||+,
                workspace: a.workspace,
            };
            Ok(elements::run(device, stringify!($entry), unsafe { bytes_of(a) }, &plan)?)
        }

        #[cfg(gpu)]
        pub fn cuda_workspace(a: &Args) -> u64 {
            let n = a.$first $(* a.$dim)*;
            crate::cuda::elements::workspace_size(n, Reduction::from_code(a.opts.reduction))
        }
    };
    (@derived $operand:ident, $call:ident.$name:ident) => { $operand::Derived };
    (@$kind:ident $operand:ident, $call:ident.$input:ident) => { $operand::$kind($call.$input) };
}

/// [`elements_entry`] of inputs `pred` and `target` of `n` elements and a gradient for each.
macro_rules! pair_entry {
    ($entry:ident, $loss:expr) => {
        elements_entry!($entry, n, [full pred, full target], [grad_pred, grad_target], $loss);
    };
}

/// `cpu`, `cuda` and `cuda_workspace` of an entry on rows of `logits` with `labels`, options `ignore_index` and
/// `reduction`. `$loss` makes the mathematics from the call.
macro_rules! rows_entry {
    ($entry:ident, $loss:expr) => {
        use crate::registry::Result;
        use crate::registry::entries::$entry::Call;

        pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
            use crate::cpu::rows::{self, rows_problem};
            let loss = ($loss)(&*call);
            rows::run(cpu, &loss, rows_problem!(call));
            Ok(())
        }

        #[cfg(gpu)]
        use crate::registry::entries::$entry::Args;

        #[cfg(gpu)]
        pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
            use crate::cuda::{bytes_of, rows, rows::rows_plan};
            Ok(rows::run(device, stringify!($entry), unsafe { bytes_of(a) }, &rows_plan!(a))?)
        }

        #[cfg(gpu)]
        pub fn cuda_workspace(a: &Args) -> u64 {
            let reduction = crate::registry::Reduction::from_code(a.opts.reduction);
            crate::cuda::rows::workspace_size(a.rows, a.classes, reduction, false)
        }
    };
}

/// `cuda` and `cuda_workspace` of an entry of the skeleton "sets of rows": its dimensions, its gradients, and
/// `ignoring` where rows whose label is the option `ignore_index` do not count; then its outputs beside the loss.
macro_rules! row_sets_cuda {
    ($entry:ident, $rows:ident, $classes:ident, [$($gradient:ident),+] $(, $ignoring:ident)? $(, [$($output:ident),+])?) => {
        #[cfg(gpu)]
        use crate::registry::entries::$entry::Args;

        #[cfg(gpu)]
        pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> crate::registry::Result<()> {
            use crate::cuda::rows::{self, RowsPlan};
            let plan = RowsPlan {
                rows: a.$rows,
                classes: a.$classes,
                dtype: a.dtype,
                reduction: crate::registry::Reduction::from_code(a.opts.reduction),
                pass: crate::registry::Pass::from_code(a.pass),
                loss: a.loss,
                wants_more: false $($(|| !a.$output.is_null())+)?,
                wants_gradient: $(!a.$gradient.is_null())||+,
                labels: std::ptr::null(),
                ignore_index: 0,
                class_weights: std::ptr::null(),
                needs_weight_sum: false,
                workspace: a.workspace,
            };
            $(let plan = row_sets_cuda!(@$ignoring a, plan);)?
            Ok(rows::run(device, stringify!($entry), unsafe { crate::cuda::bytes_of(a) }, &plan)?)
        }

        #[cfg(gpu)]
        pub fn cuda_workspace(a: &Args) -> u64 {
            let reduction = crate::registry::Reduction::from_code(a.opts.reduction);
            crate::cuda::rows::workspace_size(a.$rows, a.$classes, reduction, false)
        }
    };
    (@ignoring $args:ident, $plan:ident) => {
        RowsPlan { labels: $args.labels, ignore_index: $args.opts.ignore_index, ..$plan }
    };
}

include!(concat!(env!("OUT_DIR"), "/losses.rs"));
