//! The step on W = v u + 1 omega', for a gradient alpha o + beta 1 + gamma e_y in the outputs of each row. With
//! H the rows of hidden, D = learning_rate diag(alpha), M = I - H' D H, G = H H', X = (I - G D)^-1 H u^-1:
//!
//!     u'     = u M = u - (u H') D H            u'^-1 = M^-1 u^-1 = u^-1 + H' D X
//!     v'_y   = v_y - learning_rate gamma X     (X is H u'^-1, by Woodbury)
//!     omega' = M omega - learning_rate H' beta
//!     q'     = q + H' A + A' H,  A = -D H q - learning_rate C + N H,  C_i = beta_i wsum + gamma_i w_y,
//!              N = D K D / 2 + learning_rate D H C' + learning_rate^2 F / 2,  K = H q H',
//!              F_ij = classes beta_i beta_j + beta_i gamma_j + gamma_i beta_j + [y_i = y_j] gamma_i gamma_j
//!     wsum'  = M wsum - learning_rate H' (classes beta + gamma)
//!
//! Seven products of rows x d x d, five of rows x rows x d. All of the new state is computed before any is
//! written, so that it may replace the old one.

#[path = "factored_spherical_output/loss.rs"]
pub mod loss;

#[cfg(gpu)]
#[path = "factored_spherical_output/device.rs"]
mod device;

use crate::cpu::Cpu;
use crate::cpu::dense::{View, lu, product, solve, symmetric_product};
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::storage::{read_one, write_one};
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::Result;
use crate::registry::entries::factored_spherical_output::{Args, Call};
use loss::{Loss, Row};

pub fn cpu_workspace(a: &Args) -> u64 {
    let (n, d) = (a.rows, a.d);
    let (tall, square, small) = (n.saturating_mul(d), d.saturating_mul(d), n.saturating_mul(n));
    let mut size = Size::default().add::<f64>(n.saturating_mul(8)).add::<usize>(d.max(n));
    for _ in 0..TALL {
        size = size.add::<f64>(tall);
    }
    for _ in 0..SQUARE {
        size = size.add::<f64>(square);
    }
    for _ in 0..SMALL {
        size = size.add::<f64>(small);
    }
    size.bytes()
}

/// Matrices in the workspace: rows x d, d x d, rows x rows.
const TALL: usize = 7;
const SQUARE: usize = 3;
const SMALL: usize = 3;

/// What is known of each row.
struct Rows<'a> {
    slopes: &'a mut [[f64; 3]],
    /// h . wsum and h . omega.
    sums: &'a mut [[f64; 2]],
    losses: &'a mut [f64],
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, d) = (call.rows, call.d);
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let per_row: &mut [f64] = work.take(8 * n, 0.0);
    let pivots: &mut [usize] = work.take(d.max(n), 0);
    // H, A and H again: [H; A] and [A; H] are one block each.
    let stacked: &mut [f64] = work.take(3 * n * d, 0.0);
    let (h, rest) = stacked.split_at_mut(n * d);
    let (a, again) = rest.split_at_mut(n * d);
    let [wy, qh, x, scaled] = std::array::from_fn(|_| work.take(n * d, 0.0f64));
    let [u_inv, u_next, made] = std::array::from_fn(|_| work.take(d * d, 0.0f64));
    let [gram, k, small] = std::array::from_fn(|_| work.take(n * n, 0.0f64));
    let (slopes, rest) = per_row.split_at_mut(3 * n);
    let (sums, losses) = rest.split_at_mut(2 * n);
    let mut rows = Rows {
        slopes: bytemuck::cast_slice_mut(slopes),
        sums: bytemuck::cast_slice_mut(sums),
        losses: &mut losses[..n],
    };

    // Outputs of the labels, H q, losses and the gradient.
    for (place, i) in h.iter_mut().zip(0..) {
        // SAFETY: hidden has n d values.
        *place = f64::from(unsafe { read_one(call.hidden.dtype, call.hidden.at(i)) });
    }
    for (i, (&label, x)) in call.labels.iter().zip(x.chunks_exact_mut(d)).enumerate() {
        let v = &call.v[label as usize * d..][..d];
        x.iter_mut().zip(v).for_each(|(x, &v)| *x = f64::from(v));
        let omega = call.omega.iter().map(|&w| f64::from(w));
        wy[i * d..][..d].iter_mut().zip(omega).for_each(|(w, omega)| *w = omega);
    }
    let (u, q) = (View::f32(call.u, d, d), View::f32(call.q, d, d));
    product(cpu, View::f64(x, n, d), u, 1.0, wy);
    product(cpu, View::f64(h, n, d), q, 0.0, qh);
    evaluate(call, &mut rows, h, wy, qh);
    gradient(call, &rows, wy, qh);

    let rate = call.opts.learning_rate;
    let wants_inverse = call.u_inv_next.is_some() || call.condition.is_some();
    if rate == 0.0 || n == 0 {
        if wants_inverse {
            inverse(cpu, call, u_inv, made, pivots);
        }
        keep(cpu, call);
        if let Some(out) = call.u_inv_next.as_deref_mut() {
            narrow(u_inv, out);
        }
        widen(call.u, u_next);
        if let Some(out) = call.condition.as_deref_mut() {
            out[0] = condition(u_next, u_inv, d);
        }
        return Ok(());
    }
    if call.v_next.is_some() || wants_inverse {
        inverse(cpu, call, u_inv, made, pivots);
    }
    let hidden = View::f64(h, n, d);
    let step = |i: usize| rate * rows.slopes[i][0];

    // X = (I - G D)^-1 H u^-1.
    symmetric_product(cpu, hidden, hidden.t(), 0.0, gram);
    for i in 0..n {
        for j in 0..n {
            gram[i * n + j] = f64::from(u8::from(i == j)) - gram[i * n + j] * step(j);
        }
    }
    lu(cpu, gram, n, pivots);
    product(cpu, hidden, View::f64(u_inv, d, d), 0.0, x);
    solve(cpu, gram, n, pivots, x, d);

    // u' = u - (u H') D H, with the transpose of u H' in `a`.
    product(cpu, hidden, u.t(), 0.0, a);
    scale_rows(h, scaled, d, |i| -step(i));
    widen(call.u, u_next);
    product(cpu, View::f64(a, n, d).t(), View::f64(scaled, n, d), 1.0, u_next);
    if wants_inverse {
        scale_rows(x, scaled, d, step);
        product(cpu, hidden.t(), View::f64(scaled, n, d), 1.0, u_inv);
    }

    // A.
    let c = scaled;
    for i in 0..n {
        let [_, beta, gamma] = rows.slopes[i];
        let line = c[i * d..][..d].iter_mut().zip(&wy[i * d..][..d]).zip(call.wsum);
        line.for_each(|((c, &w), &wsum)| *c = beta * f64::from(wsum) + gamma * w);
    }
    symmetric_product(cpu, View::f64(qh, n, d), hidden.t(), 0.0, k);
    product(cpu, hidden, View::f64(c, n, d).t(), 0.0, small);
    let classes = call.classes as f64;
    for i in 0..n {
        let [_, beta_i, gamma_i] = rows.slopes[i];
        for j in 0..n {
            let [_, beta, gamma] = rows.slopes[j];
            let same = f64::from(u8::from(call.labels[i] == call.labels[j]));
            let f = classes * beta_i * beta + beta_i * gamma + gamma_i * beta + same * gamma_i * gamma;
            let at = i * n + j;
            small[at] = step(i) * (0.5 * k[at] * step(j) + rate * small[at]) + 0.5 * rate * rate * f;
        }
    }
    for i in 0..n {
        let line = a[i * d..][..d].iter_mut().zip(&qh[i * d..][..d]).zip(&c[i * d..][..d]);
        line.for_each(|((a, &qh), &c)| *a = -step(i) * qh - rate * c);
    }
    product(cpu, View::f64(small, n, n), hidden, 1.0, a);

    // All is known; from here on the state may be overwritten.
    let omega: &[f32] = call.omega;
    if let Some(out) = call.omega_next.as_deref_mut() {
        let moved = |i: usize| step(i) * rows.sums[i][1] + rate * rows.slopes[i][1];
        less_rows(h, d, omega, moved, &mut made[..d]);
        narrow(&made[..d], out);
    }
    if let Some(out) = call.wsum_next.as_deref_mut() {
        let moved = |i: usize| {
            let [_, beta, gamma] = rows.slopes[i];
            step(i) * rows.sums[i][0] + rate * (classes * beta + gamma)
        };
        less_rows(h, d, call.wsum, moved, &mut made[..d]);
        narrow(&made[..d], out);
    }
    again.copy_from_slice(h);
    if let Some(out) = call.q_next.as_deref_mut() {
        widen(call.q, made);
        let (left, right) = (&stacked[..2 * n * d], &stacked[n * d..]);
        symmetric_product(cpu, View::f64(left, 2 * n, d).t(), View::f64(right, 2 * n, d), 1.0, made);
        narrow(made, out);
    }
    if let Some(out) = call.condition.as_deref_mut() {
        out[0] = condition(u_next, u_inv, d);
    }
    for (out, new) in [(call.u_next.as_deref_mut(), &*u_next), (call.u_inv_next.as_deref_mut(), &*u_inv)] {
        if let Some(out) = out {
            narrow(new, out);
        }
    }
    if let Some(v_next) = call.v_next.as_deref_mut() {
        copy(cpu, call.v.as_ptr(), v_next);
        let moved = |i: usize| rate * rows.slopes[i][2];
        move_rows(call.labels, moved, x, d, v_next);
    }
    Ok(())
}

/// Losses, and what the gradient in the outputs is made of.
fn evaluate(call: &mut Call, rows: &mut Rows, h: &[f64], wy: &[f64], qh: &[f64]) {
    let (n, d) = (call.rows, call.d);
    let o = call.opts;
    let loss = Loss { kind: o.kind, classes: call.classes as f64, a: o.a, b: o.b, eps: o.eps };
    for i in 0..n {
        let h = &h[i * d..][..d];
        let dot = |with: &[f64]| -> f64 { h.iter().zip(with).map(|(x, y)| x * y).sum() };
        let state = |with: &[f32]| -> f64 { h.iter().zip(with).map(|(x, &y)| x * f64::from(y)).sum() };
        let row = Row { own: dot(&wy[i * d..][..d]), squares: dot(&qh[i * d..][..d]), sum: state(call.wsum) };
        let (value, slopes) = loss.of(row);
        let each = 1.0 / n as f64;
        rows.slopes[i] = [slopes.alpha * each, slopes.beta * each, slopes.gamma * each];
        rows.sums[i] = [row.sum, state(call.omega)];
        rows.losses[i] = value;
    }
    if let Some(out) = call.losses.as_deref_mut() {
        narrow(rows.losses, out);
    }
    if let Some(out) = call.loss.as_deref_mut() {
        out[0] = if n == 0 { 0.0 } else { (rows.losses.iter().sum::<f64>() / n as f64) as f32 };
    }
}

/// alpha q h + beta wsum + gamma w_y, for each row.
fn gradient(call: &Call, rows: &Rows, wy: &[f64], qh: &[f64]) {
    let Some(out) = call.grad_hidden else { return };
    for i in 0..call.rows {
        let [alpha, beta, gamma] = rows.slopes[i];
        for j in 0..call.d {
            let at = i * call.d + j;
            let value = alpha * qh[at] + beta * f64::from(call.wsum[j]) + gamma * wy[at];
            // SAFETY: grad_hidden has rows d values.
            unsafe { write_one(out.dtype, value as f32, out.at(at)) };
        }
    }
}

/// The inverse of u: the one given, or one made now.
fn inverse(cpu: &Cpu, call: &Call, out: &mut [f64], scratch: &mut [f64], pivots: &mut [usize]) {
    let d = call.d;
    match call.u_inv {
        Some(given) => widen(given, out),
        None => {
            widen(call.u, scratch);
            lu(cpu, scratch, d, pivots);
            out.fill(0.0);
            (0..d).for_each(|i| out[i * d + i] = 1.0);
            solve(cpu, scratch, d, pivots, out, d);
        }
    }
}

/// The state as it was, where it is wanted elsewhere.
fn keep(cpu: &Cpu, call: &mut Call) {
    let pairs = [
        (call.v_next.as_deref_mut(), call.v.as_ptr()),
        (call.u_next.as_deref_mut(), call.u.as_ptr()),
        (call.omega_next.as_deref_mut(), call.omega.as_ptr()),
        (call.q_next.as_deref_mut(), call.q.as_ptr()),
        (call.wsum_next.as_deref_mut(), call.wsum.as_ptr()),
    ];
    for (to, from) in pairs {
        if let Some(to) = to {
            copy(cpu, from, to);
        }
    }
}

/// Nothing to do where both are the same. Pointers, as slices may not be the same.
fn copy(cpu: &Cpu, from: *const f32, to: &mut [f32]) {
    if std::ptr::eq(from, to.as_ptr()) {
        return;
    }
    // SAFETY: as many values as `to` has, and then apart from it.
    let from = unsafe { std::slice::from_raw_parts(from, to.len()) };
    let blocks = Blocks::new(from.len(), 1 << 16, 1);
    let to = Cells::new(to);
    cpu.run(blocks.count, 8 * from.len(), &|i| {
        let part = &from[blocks.range(i)];
        // SAFETY: each block has a range of its own.
        unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), to.at(blocks.range(i).start), part.len()) };
    });
}

/// v_y -= moved X for each row; rows of one label add up first.
fn move_rows(labels: &[i64], moved: impl Fn(usize) -> f64, x: &mut [f64], d: usize, v: &mut [f32]) {
    for i in 0..labels.len() {
        if labels[..i].contains(&labels[i]) {
            continue;
        }
        x[i * d..][..d].iter_mut().for_each(|x| *x *= moved(i));
        for j in (i + 1..labels.len()).filter(|&j| labels[j] == labels[i]) {
            let (first, other) = x.split_at_mut(j * d);
            first[i * d..][..d].iter_mut().zip(&other[..d]).for_each(|(x, y)| *x += moved(j) * y);
        }
        let row = &mut v[labels[i] as usize * d..][..d];
        row.iter_mut().zip(&x[i * d..]).for_each(|(v, x)| *v = (f64::from(*v) - x) as f32);
    }
}

/// out = from - H' moved
fn less_rows(h: &[f64], d: usize, from: &[f32], moved: impl Fn(usize) -> f64, out: &mut [f64]) {
    widen(from, out);
    for (i, h) in h.chunks_exact(d).enumerate() {
        let factor = moved(i);
        out.iter_mut().zip(h).for_each(|(out, h)| *out -= factor * h);
    }
}

fn scale_rows(from: &[f64], to: &mut [f64], d: usize, factor: impl Fn(usize) -> f64) {
    for (i, (from, to)) in from.chunks_exact(d).zip(to.chunks_exact_mut(d)).enumerate() {
        let factor = factor(i);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = factor * from);
    }
}

/// Product of the largest sums of magnitudes of a column.
fn condition(u: &[f64], inverse: &[f64], d: usize) -> f32 {
    let norm = |a: &[f64]| {
        let column = |j: usize| -> f64 { a.iter().skip(j).step_by(d).map(|x| x.abs()).sum() };
        // Not f64::max, which drops a NaN.
        (0..d).map(column).fold(0.0, |most, sum| if sum <= most { most } else { sum })
    };
    (norm(u) * norm(inverse)) as f32
}

fn widen(from: &[f32], to: &mut [f64]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = f64::from(from));
}

fn narrow(from: &[f64], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from as f32);
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    Ok(device::run(device, a)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    device::workspace(a)
}
