//! |pattern -+ state|^2 / (4 n) of all pairs, and sum_p g_p (state -+ pattern_p) / (2 n), by matrix products. With the
//! state's sign changed both are made of differences; where these are so small that products would lose digits, they are
//! taken one by one.

#[path = "hebbian_loss/exact.rs"]
mod exact;
#[path = "hebbian_loss/gradients.rs"]
mod gradients;
#[path = "hebbian_loss/losses.rs"]
mod losses;

use crate::cpu::Cpu;
use crate::cpu::matmul::tile::{COLUMNS, ROWS};
use crate::cpu::parallel::Cells;
use crate::registry::entries::hebbian_loss::Call;
use crate::registry::{Floats, Result};

const PLUS: i32 = 1;
/// Neurons of a task of the gradient.
const WIDTH: usize = COLUMNS;

#[derive(Clone, Copy)]
struct Pairs<'a> {
    state: Floats<'a>,
    patterns: Floats<'a>,
    pattern_count: usize,
    n: usize,
    /// Of the states: their sign in the differences.
    sign: f32,
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (batch, pattern_count, n) = (call.batch, call.pattern_count, call.n);
    let sign = if call.opts.sign == PLUS { -1.0 } else { 1.0 };
    let pairs = Pairs { state: call.state, patterns: call.patterns, pattern_count, n, sign };
    let rows = |block: usize| block * ROWS..batch.min((block + 1) * ROWS);
    let down = batch.div_ceil(ROWS);
    let work = batch.saturating_mul(pattern_count.max(1)).saturating_mul(n) / 4;
    if call.pass.forward()
        && let Some(out) = call.loss.as_deref_mut().map(Cells::new)
    {
        let across = pattern_count.div_ceil(COLUMNS);
        cpu.run(down * across, work, &|task| {
            let first = task % across * COLUMNS;
            let columns = first..pattern_count.min(first + COLUMNS);
            losses::losses(cpu.isa, &pairs, rows(task / across), columns, out);
        });
    }
    if call.pass.backward()
        && let Some(out) = call.grad_state
    {
        let across = n.div_ceil(WIDTH);
        let grad_loss = call.grad_loss;
        cpu.run(down * across, work, &|task| {
            let first = task % across * WIDTH;
            let part = first..n.min(first + WIDTH);
            gradients::gradients(cpu.isa, &pairs, rows(task / across), part, grad_loss, out);
        });
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(
    device: &dyn crate::cuda::Device,
    a: &crate::registry::entries::hebbian_loss::Args,
) -> Result<()> {
    const TILE: u64 = 64;
    let pass = crate::registry::Pass::from_code(a.pass);
    let launch = |kernel: &str, across: u64| {
        let blocks = a.batch.div_ceil(TILE).saturating_mul(across.div_ceil(TILE)).min(0x7fff_ffff) as u32;
        // SAFETY: a struct of integers, floats and pointers.
        device.launch(kernel, [blocks, 1, 1], [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })
    };
    if pass.forward() && !a.loss.is_null() && a.batch > 0 && a.pattern_count > 0 {
        launch("hebbian_loss", a.pattern_count)?;
    }
    if pass.backward() && !a.grad_state.is_null() && a.batch > 0 {
        launch("hebbian_loss_gradient", a.n)?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &crate::registry::entries::hebbian_loss::Args) -> u64 {
    0
}
