//! loss = log mean k(a, a) + log mean k(b, b) - 2 log mean k(a, b): the counts cancel, sums remain.

use crate::cpu::Cpu;
use crate::cpu::gram::{self, LogSum, LogSums, Output, Pairs, Softmax, Space, Term};
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::cs_divergence::{Args, Call};
use crate::registry::{Floats, FloatsMut, Result};

/// log sum k(a, a), log sum k(b, b), log sum k(a, b).
type Sums = [LogSum; 3];

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let sums = if call.n == 0 || call.m == 0 { [LogSum::ZERO; 3] } else { sums(cpu, call) };
    if let Some(saved) = &mut call.saved_out {
        for (place, sum) in saved.chunks_exact_mut(2).zip(sums) {
            place.copy_from_slice(&[sum.least, sum.sum]);
        }
    }
    let [aa, bb, ab] = sums;
    if let Some(loss) = &mut call.loss {
        loss[0] = (aa.get() + bb.get() - 2.0 * ab.get()) as f32;
    }
    let (a, b) = ((call.a, call.n), (call.b, call.m));
    gradient(cpu, call, call.grad_a, [a, b], [aa, ab]);
    gradient(cpu, call, call.grad_b, [b, a], [bb, ab]);
    Ok(())
}

fn sums(cpu: &Cpu, call: &mut Call) -> Sums {
    if let Some(saved) = call.saved_in {
        return [0, 2, 4].map(|i| LogSum { least: saved[i], sum: saved[i + 1] });
    }
    let (a, b) = ((call.a, call.n), (call.b, call.m));
    let (bandwidth, room) = (call.opts.bandwidth, 2 * call.n.max(call.m));
    let of_rows = Workspace::new(call.workspace).take(room, 0f32);
    [(a, a), (b, b), (a, b)].map(|((x, rows), (y, columns))| {
        let spaces = [Space::gaussian(x, y, bandwidth)];
        let pairs = Pairs { rows, columns, spaces: &spaces, skip_self: false };
        gram::row_log_sums(cpu, &pairs, &mut of_rows[..2 * rows]);
        LogSums::new(&of_rows[..2 * rows]).total()
    })
}

/// The gradient of x, given log sum k(x, x) and log sum k(x, y).
fn gradient(
    cpu: &Cpu,
    call: &Call,
    to: Option<FloatsMut>,
    [x, y]: [(Floats, usize); 2],
    [own, cross]: [LogSum; 2],
) {
    let Some(to) = to else { return };
    let (h, g) = (call.opts.bandwidth, call.grad_loss.map_or(1.0, |g| f64::from(g[0])));
    let spaces = [[Space::gaussian(x.0, x.0, h)], [Space::gaussian(x.0, y.0, h)]];
    let term = |i: usize, columns, factor, log_sum| Term {
        pairs: Pairs { rows: x.1, columns, spaces: &spaces[i], skip_self: false },
        weights: Softmax { factor, log_sum },
    };
    let terms = [term(0, x.1, -1.0, own), term(1, y.1, 1.0, cross)];
    // Nothing is drawn to an empty set, nor driven apart.
    let terms = if y.1 == 0 { &terms[..0] } else { &terms[..] };
    gram::gradient(cpu, x.1, terms, &[Output { space: 0, factor: (2.0 * g / h / h) as f32, to }]);
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f32>(a.n.max(a.m).saturating_mul(2)).bytes()
}
