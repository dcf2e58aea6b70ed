//! entropy = -(1/n) sum_i [log sum_j exp(-E_ij) - log n].

use crate::cpu::Cpu;
use crate::cpu::gram::{self, CONSTANTS, LogSums, Output, Pairs, Space, Term, Weights, softmax};
use crate::cpu::simd::Simd;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::Result;
use crate::registry::entries::kernel_joint_entropy::{Args, Call};

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    let of_a = Space::gaussian(call.a, call.a, call.opts.bandwidth_a);
    let of_b = call.b.map(|b| Space::gaussian(b, b, call.opts.bandwidth_b));
    let spaces = [of_a, of_b.unwrap_or(of_a)];
    let spaces = if of_b.is_some() { &spaces[..] } else { &spaces[..1] };
    let pairs = Pairs { rows: n, columns: n, spaces, skip_self: call.opts.include_self == 0 };
    let log_sums = match call.saved_in {
        Some(saved) => saved,
        None => {
            let of_rows = Workspace::new(call.workspace).take(2 * n, 0f32);
            gram::row_log_sums(cpu, &pairs, of_rows);
            of_rows
        }
    };
    if let Some(saved) = &mut call.saved_out {
        saved.copy_from_slice(log_sums);
    }
    let log_sums = LogSums::new(log_sums);
    if let Some(entropy) = &mut call.entropy {
        let others = if pairs.skip_self { n - 1 } else { n };
        let total: f64 = (0..n).map(|i| log_sums.get(i).get()).sum();
        entropy[0] = ((others as f64).ln() - total / n as f64) as f32;
    }
    let g = call.grad_loss.map_or(1.0, |g| f64::from(g[0])) / n as f64;
    let output = |space, h: f64, to| Output { space, factor: (g / h / h) as f32, to };
    let terms = [Term { pairs, weights: BothWays(log_sums) }];
    let outputs = [
        call.grad_a.map(|to| output(0, call.opts.bandwidth_a, to)),
        call.grad_b.map(|to| output(1, call.opts.bandwidth_b, to)),
    ];
    match outputs {
        [Some(a), Some(b)] => gram::gradient(cpu, n, &terms, &[a, b]),
        [Some(one), None] | [None, Some(one)] => gram::gradient(cpu, n, &terms, &[one]),
        [None, None] => {}
    }
    Ok(())
}

/// P_ij + P_ji.
struct BothWays<'a>(LogSums<'a>);

impl Weights for BothWays<'_> {
    fn of_row(&self, i: usize) -> [f32; CONSTANTS] {
        self.0.get(i).constants()
    }

    fn of_column(&self, j: usize) -> [f32; CONSTANTS] {
        self.0.get(j).constants()
    }

    #[inline(always)]
    fn weight<S: Simd>(&self, s: S, e: S::F, row: [S::F; CONSTANTS], column: [S::F; CONSTANTS]) -> S::F {
        s.add(softmax(s, e, row), softmax(s, e, column))
    }
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f32>(a.n.saturating_mul(2)).bytes()
}
