//! loss_i = t_i (log u_i' + rho), u_i' = (1 - gamma) u_i + gamma g_i, g_i = mean_{j != i} exp((S_ij - S_ii) / t_i);
//! W_ij = s_i p_ij, p_ij = exp((S_ij - S_ii) / t_i) / ((n - 1) u_i'), W_ii = -s_i sum_j p_ij.

use crate::cpu::Cpu;
use crate::cpu::reduction::Upstream;
use crate::cpu::simd::Simd;
use crate::cpu::tiles::{Embeddings, LogSums, Side, Similarities, Tile, Visit, softmax_weights};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{
    Device, bytes_of,
    reduce::{self, ReduceArgs},
    tiles,
};
#[cfg(gpu)]
use crate::registry::Pass;
use crate::registry::entries::isogclr::{Args, Call, Options};
use crate::registry::{Error, Reduction, Result};

pub fn check(a: &Args) -> Result<()> {
    let Options { min_temperature, max_temperature, .. } = a.opts;
    if min_temperature > max_temperature {
        return Err(Error::option(format!(
            "isogclr: option 'min_temperature' is {min_temperature}, expected at most max_temperature \
             ({max_temperature})"
        )));
    }
    Ok(())
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let size = Embeddings::size(Embeddings::size(Size::default(), a.n, a.d), a.n, a.d);
    let size = LogSums::size(Similarities::tiles_size(size, a.n, Some(a.n), a.d), a.n, true);
    let size = (0..5).fold(size, |size, _| size.add::<f32>(a.n));
    let gradients = a.n.saturating_mul(a.d);
    size.add::<f32>(gradients).add::<f32>(gradients).bytes()
}

/// A sample after the step.
struct Step {
    log_u: f64,
    /// Sum of p_ij over the others.
    share: f64,
    temperature_grad: f64,
}

impl Step {
    /// `log_mean`: log g_i; `mean`: of (S_ij - S_ii) / t_i by the weights of g_i.
    fn new(o: &Options, log_u: f64, log_mean: f64, mean: f64) -> Step {
        let (old, new) = ((1.0 - o.gamma).ln() + log_u, o.gamma.ln() + log_mean);
        let (low, high) = if old > new { (new, old) } else { (old, new) };
        let log_u = if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() };
        let share = (log_mean - log_u).exp();
        Step { log_u, share, temperature_grad: log_u + o.rho - share * mean }
    }
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Call { n, d, .. } = *call;
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let o = call.opts;
    let a = Embeddings::new(cpu, &[call.a], o.normalize != 0, &mut work);
    let b = Embeddings::new(cpu, &[call.b], o.normalize != 0, &mut work);
    let similarities = Similarities::new(a.matrix(), b.matrix(), 1.0);
    let wants_gradients = call.pass.backward() && (call.grad_a.is_some() || call.grad_b.is_some());
    let wants_tiles = wants_gradients && call.saved_in.is_none();
    let tiles = if wants_tiles { similarities.tiles(&mut work) } else { None };
    let [own, inverse, logs, weights, pulls] = std::array::from_fn(|_| work.take(n, 0.0f32));
    for (i, own) in own.iter_mut().enumerate() {
        let products = a.row(i).iter().zip(b.row(i)).map(|(&x, &y)| f64::from(x) * f64::from(y));
        *own = products.sum::<f64>() as f32;
    }
    let reduction = Reduction::from_code(o.reduction);
    let factor = if reduction == Reduction::Mean { 1.0 / n as f64 } else { 1.0 };
    if let Some(saved) = call.saved_in {
        logs.copy_from_slice(&saved[..n]);
        pulls.copy_from_slice(&saved[n..2 * n]);
        inverse.copy_from_slice(&saved[2 * n..]);
    } else {
        inverse.iter_mut().zip(call.temperatures).for_each(|(to, &t)| *to = 1.0 / t);
        let sums = LogSums::new(n, true, &mut work);
        similarities.sweep(cpu, tiles, &Statistics { own, inverse, sums });
        let others = (n as f64 - 1.0).ln();
        let mut total = 0.0;
        for i in 0..n {
            // Both are read before either is written: the new state may replace the old.
            let (log_u, temperature) = (f64::from(call.log_u[i]), f64::from(call.temperatures[i]));
            let step = Step::new(o, log_u, sums.log_sum(i) - others, sums.mean(i));
            let loss = temperature * (step.log_u + o.rho);
            total += loss;
            logs[i] = (others + step.log_u) as f32;
            pulls[i] = step.share as f32;
            let moved = temperature - o.learning_rate * step.temperature_grad;
            // Not f64::clamp, which panics on a NaN bound and is the same otherwise.
            let moved = if moved < o.min_temperature { o.min_temperature } else { moved };
            let moved = if moved > o.max_temperature { o.max_temperature } else { moved };
            let set = |out: &mut Option<&mut [f32]>, value: f64| {
                if let Some(out) = out {
                    out[i] = value as f32;
                }
            };
            if reduction == Reduction::None {
                set(&mut call.loss, loss);
            }
            set(&mut call.log_u_next, step.log_u);
            set(&mut call.temperature_grad, step.temperature_grad);
            set(&mut call.temperatures_next, moved);
        }
        if let (Some(out), true) = (call.loss.as_deref_mut(), reduction != Reduction::None) {
            out[0] = (total * factor) as f32;
        }
    }
    if let Some(saved) = call.saved_out.as_deref_mut() {
        for (to, from) in saved.chunks_exact_mut(n).zip([&*logs, &*pulls, &*inverse]) {
            to.copy_from_slice(from);
        }
    }
    if !wants_gradients {
        return Ok(());
    }
    let upstream = Upstream::new(call.grad_loss, reduction, factor);
    for i in 0..n {
        weights[i] = upstream.of(i) as f32;
        pulls[i] *= weights[i];
    }
    let mut grad_a = call.grad_a.map(|_| work.take(n * d, 0.0f32));
    let mut grad_b = call.grad_b.map(|_| work.take(n * d, 0.0f32));
    let visit = Weights { own, inverse, related: tiles.is_some(), logs, weights, pulls };
    similarities.gradients(cpu, tiles, &visit, grad_a.as_deref_mut(), grad_b.as_deref_mut());
    for (rows, gradients, out) in [(&a, grad_a, call.grad_a), (&b, grad_b, call.grad_b)] {
        if let Some(gradients) = gradients {
            rows.write_gradients(cpu, gradients, 1.0, &[(n, out)]);
        }
    }
    Ok(())
}

/// S_ij becomes (S_ij - S_ii) / t_i, and the diagonal -inf.
#[inline(always)]
fn relate<S: Simd>(s: S, tile: &Tile, own: &[f32], inverse: &[f32]) {
    for row in tile.rows.clone() {
        let (about, factor) = (s.splat(own[row]), s.splat(inverse[row]));
        let values = tile.row(row);
        for j in (0..tile.width(s)).step_by(S::LANES) {
            // SAFETY: a row of the tile has room for its width in whole vectors.
            unsafe {
                let at = values.add(j);
                s.store(at, s.mul(s.sub(s.load(at), about), factor));
            }
        }
        if tile.has(row, row) {
            tile.replace(row, row, f32::NEG_INFINITY);
        }
    }
}

struct Statistics<'a> {
    own: &'a [f32],
    inverse: &'a [f32],
    sums: LogSums<'a>,
}

impl Visit for Statistics<'_> {
    #[inline(always)]
    fn visit<S: Simd>(&self, s: S, tile: &Tile) {
        relate(s, tile, self.own, self.inverse);
        LogSums::add_tile(s, tile, &self.sums, None);
    }
}

struct Weights<'a> {
    own: &'a [f32],
    inverse: &'a [f32],
    /// Of tiles that were kept.
    related: bool,
    /// log((n - 1) u').
    logs: &'a [f32],
    weights: &'a [f32],
    pulls: &'a [f32],
}

impl Visit for Weights<'_> {
    #[inline(always)]
    fn visit<S: Simd>(&self, s: S, tile: &Tile) {
        if !self.related {
            relate(s, tile, self.own, self.inverse);
        }
        softmax_weights(s, tile, Side { log_sums: self.logs, weights: self.weights }, None, 0.0);
        for row in tile.rows.clone() {
            if tile.has(row, row) {
                tile.replace(row, row, -self.pulls[row]);
            }
        }
    }
}

/// Mirrors lk_isogclr_tile_args in kernels/contrastive/isogclr.cuh.
#[cfg(gpu)]
#[repr(C)]
#[derive(Clone, Copy)]
struct TileArgs {
    tiles: tiles::Tiles,
    entry: Args,
    own: *mut f64,
    saved: *mut f32,
    means: *mut f32,
    losses: *mut f32,
    restored: i32,
    padding: i32,
}

#[cfg(gpu)]
struct Layout {
    a: tiles::Embeddings,
    b: tiles::Embeddings,
    own: *mut f64,
    saved: *mut f32,
    means: *mut f32,
    losses: *mut f32,
    gradients: [*mut f32; 2],
    tiles: tiles::Scratch,
    scratch: *mut f64,
    bytes: u64,
}

/// Bytes of `Isogclr::Stat`.
#[cfg(gpu)]
const STAT: u64 = 24;

#[cfg(gpu)]
fn layout(a: &Args) -> Layout {
    let mut work = tiles::Workspace::new(a.workspace);
    let size = a.n.saturating_mul(a.d);
    let mut rows = || tiles::Embeddings::new(a.n, a.d, a.dtype, a.opts.normalize != 0, &mut work);
    let (left, right) = (rows(), rows());
    let mut made = Layout {
        a: left,
        b: right,
        own: work.take(a.n.saturating_mul(2)),
        saved: work.take(a.n.saturating_mul(3)),
        means: work.take(a.n),
        losses: work.take(a.n),
        gradients: [work.take(size), work.take(size)],
        tiles: tiles::Scratch::new(a.n, a.n, a.d, a.dtype, STAT, &mut work),
        scratch: work.take(reduce::scratch_bytes(a.n).div_ceil(8)),
        bytes: 0,
    };
    made.bytes = work.bytes();
    made
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    layout(a).bytes
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let (pass, l) = (Pass::from_code(a.pass), layout(a));
    let reduction = Reduction::from_code(a.opts.reduction);
    let restored = !pass.forward() && !a.saved.is_null();
    l.a.prepare(device, a.a)?;
    l.b.prepare(device, a.b)?;
    l.a.similarities(device, &l.b, l.own)?;
    let args = TileArgs {
        tiles: tiles::Tiles::new(&l.a, &l.b, 0, 1.0, std::ptr::null(), &l.tiles),
        entry: *a,
        own: l.own,
        saved: if a.saved.is_null() { l.saved } else { a.saved },
        means: l.means,
        losses: l.losses,
        restored: i32::from(restored),
        padding: 0,
    };
    // SAFETY: a struct of integers, floats and pointers.
    let bytes = unsafe { bytes_of(&args) };
    if !restored {
        args.tiles.statistics(device, &l.tiles, ["isogclr_statistics", "isogclr_finish"], bytes)?;
        let blocks = a.n.div_ceil(256).min(0x7fff_ffff) as u32;
        device.launch("isogclr_step", [blocks, 1, 1], [256, 1, 1], 0, bytes)?;
    }
    if pass.forward() && !a.loss.is_null() && reduction != Reduction::None {
        let divisor = if reduction == Reduction::Mean { a.n as f64 } else { 1.0 };
        let values = l.losses.cast_const().cast();
        let total = ReduceArgs { n: a.n, values, loss_out: a.loss, divisor, ..Default::default() };
        reduce::run(device, &total, l.scratch)?;
    }
    if !pass.backward() {
        return Ok(());
    }
    let outputs = [a.grad_a, a.grad_b];
    let wanted =
        [0, 1].map(|side| if outputs[side].is_null() { std::ptr::null_mut() } else { l.gradients[side] });
    tiles::gradients(device, [&l.a, &l.b], &l.tiles, &args.tiles, wanted, |tiles, product, grid| {
        let args = TileArgs { tiles: *tiles, ..args };
        // SAFETY: as above.
        product.launch(device, "isogclr_weights", grid, unsafe { bytes_of(&args) })
    })?;
    for ((rows, gradients), out) in [l.a, l.b].into_iter().zip(wanted).zip(outputs) {
        if !out.is_null() {
            rows.write_back(device, gradients, 1.0, std::ptr::null(), out)?;
        }
    }
    Ok(())
}
