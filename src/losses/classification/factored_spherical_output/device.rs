//! The same on CUDA: products of kernels/dense, and kernels for what is in between.

use crate::cuda::dense::{Buffer, Matrix, Scale, copy, identity, product, solve};
use crate::cuda::reduce::{self, PAIRS, ReduceArgs};
use crate::cuda::{Device, Result, bytes_of};
use crate::registry::entries::factored_spherical_output::Args;

/// Places in the workspace; mirrors FsoWorkspace in kernels/classification/factored_spherical_output.cuh.
struct Layout {
    slopes: u64,
    losses: u64,
    h: u64,
    a: u64,
    wy: u64,
    qh: u64,
    x: u64,
    c: u64,
    u_inv: u64,
    u_next: u64,
    made: u64,
    gram: u64,
    k: u64,
    small: u64,
    pivots: u64,
    /// Of f64 values, behind everything else: room for the reduction.
    scratch: u64,
    bytes: u64,
}

fn layout(args: &Args) -> Layout {
    let (n, d) = (args.rows, args.d);
    let (tall, square, small) = (n.saturating_mul(d), d.saturating_mul(d), n.saturating_mul(n));
    let mut end = 0u64;
    let mut place = |count: u64| {
        let at = end;
        end = end.saturating_add(count);
        at
    };
    let slopes = place(n.saturating_mul(3));
    _ = place(n.saturating_mul(2));
    let losses = place(n.saturating_mul(2));
    let (h, a) = (place(tall), place(tall));
    _ = place(tall);
    let [wy, qh, x, c] = [place(tall), place(tall), place(tall), place(tall)];
    let [u_inv, u_next, made] = [place(square), place(square), place(square)];
    let [gram, k, small] = [place(small), place(small), place(small)];
    let pivots = place(n.max(d).div_ceil(2));
    let scratch = place(reduce::scratch_bytes(n) / 8);
    let bytes = end.saturating_mul(8);
    Layout { slopes, losses, h, a, wy, qh, x, c, u_inv, u_next, made, gram, k, small, pivots, scratch, bytes }
}

pub fn workspace(args: &Args) -> u64 {
    layout(args).bytes
}

pub fn run(dev: &dyn Device, args: &Args) -> Result<()> {
    let (n, d, at) = (args.rows, args.d, layout(args));
    // SAFETY: a struct of integers, floats and pointers.
    let bytes = unsafe { bytes_of(args) };
    let each = |kernel: &str, count: u64| {
        dev.launch(kernel, [count.div_ceil(256).clamp(1, 4096) as u32, 1, 1], [256, 1, 1], 0, bytes)
    };
    let per_row = |kernel: &str| {
        let threads = d.next_multiple_of(32).min(256) as u32;
        dev.launch(kernel, [n.min(1 << 30) as u32, 1, 1], [threads, 1, 1], 0, bytes)
    };
    let place = |offset: u64| args.workspace.cast::<f64>().wrapping_add(offset as usize);
    let buffer = |offset: u64| Buffer::f64(place(offset));
    let tall = |offset: u64| buffer(offset).matrix(n, d);
    let state = |state: *const f32| -> Matrix { Buffer::f32(state).matrix(d, d) };

    if n > 0 {
        each("fso_gather", n * d)?;
        product(dev, tall(at.x), state(args.u), None, Some(tall(at.wy)), buffer(at.wy))?;
        product(dev, tall(at.h), state(args.q), None, None, buffer(at.qh))?;
        per_row("fso_rows")?;
    }
    if !args.loss.is_null() {
        let mean = ReduceArgs {
            n,
            values: if n == 0 { std::ptr::null() } else { place(at.losses).cast() },
            values_kind: PAIRS,
            divisor: n.max(1) as f64,
            loss_out: args.loss,
            ..Default::default()
        };
        reduce::run(dev, &mean, place(at.scratch))?;
    }

    let rate = args.opts.learning_rate;
    let wants_inverse = !args.u_inv_next.is_null() || !args.condition.is_null();
    let steps = rate > 0.0 && n > 0;
    if wants_inverse || (steps && !args.v_next.is_null()) {
        if args.u_inv.is_null() {
            copy(dev, Buffer::f32(args.u), buffer(at.made), d * d)?;
            identity(dev, buffer(at.u_inv), d)?;
            solve(dev, place(at.made), d, place(at.pivots).cast(), place(at.u_inv), d)?;
        } else {
            copy(dev, Buffer::f32(args.u_inv), buffer(at.u_inv), d * d)?;
        }
    }
    if steps {
        step(dev, args, &at, &each)?;
    } else {
        copy(dev, Buffer::f32(args.u), buffer(at.u_next), d * d)?;
    }
    if !args.condition.is_null() {
        dev.launch("fso_condition", [1, 1, 1], [d.next_multiple_of(32).min(1024) as u32, 1, 1], 0, bytes)?;
    }
    if !args.u_next.is_null() {
        copy(dev, buffer(at.u_next), Buffer::f32(args.u_next), d * d)?;
    }
    if !args.u_inv_next.is_null() {
        copy(dev, buffer(at.u_inv), Buffer::f32(args.u_inv_next), d * d)?;
    }
    if !args.v_next.is_null() {
        copy(dev, Buffer::f32(args.v), Buffer::f32(args.v_next), args.classes * d)?;
        if steps {
            per_row("fso_move")?;
        }
    }
    if steps {
        return Ok(());
    }
    for (from, to, count) in
        [(args.omega, args.omega_next, d), (args.wsum, args.wsum_next, d), (args.q, args.q_next, d * d)]
    {
        if !to.is_null() {
            copy(dev, Buffer::f32(from), Buffer::f32(to), count)?;
        }
    }
    Ok(())
}

/// All of the new state but v, u and the inverse of u, which stay in the workspace.
fn step(dev: &dyn Device, args: &Args, at: &Layout, each: &dyn Fn(&str, u64) -> Result<()>) -> Result<()> {
    let (n, d, rate) = (args.rows, args.d, args.opts.learning_rate);
    let place = |offset: u64| args.workspace.cast::<f64>().wrapping_add(offset as usize);
    let buffer = |offset: u64| Buffer::f64(place(offset));
    let tall = |offset: u64| buffer(offset).matrix(n, d);
    let h = tall(at.h);
    let steps = |sign: f64| Some(Scale { values: place(at.slopes), stride: 3, factor: sign * rate });
    let u = Buffer::f32(args.u);

    // X = (I - G D)^-1 H u^-1.
    product(dev, h, h.t(), None, None, buffer(at.gram))?;
    each("fso_gram", n * n)?;
    product(dev, h, buffer(at.u_inv).matrix(d, d), None, None, buffer(at.x))?;
    solve(dev, place(at.gram), n, place(at.pivots).cast(), place(at.x), d)?;

    // u' = u - (u H') D H, with the transpose of u H' in `a`; u'^-1 = u^-1 + H' D X.
    product(dev, h, u.matrix(d, d).t(), None, None, buffer(at.a))?;
    product(dev, tall(at.a).t(), h, steps(-1.0), Some(u.matrix(d, d)), buffer(at.u_next))?;
    product(dev, h.t(), tall(at.x), steps(1.0), Some(buffer(at.u_inv).matrix(d, d)), buffer(at.u_inv))?;

    // A, and q' = q + [H; A]' [A; H].
    product(dev, tall(at.qh), h.t(), None, None, buffer(at.k))?;
    product(dev, h, tall(at.c).t(), None, None, buffer(at.small))?;
    each("fso_mix", n * n.max(d))?;
    product(dev, buffer(at.small).matrix(n, n), h, None, Some(tall(at.a)), buffer(at.a))?;
    if !args.q_next.is_null() {
        let (left, right) = (buffer(at.h).matrix(2 * n, d), buffer(at.a).matrix(2 * n, d));
        product(
            dev,
            left.t(),
            right,
            None,
            Some(Buffer::f32(args.q).matrix(d, d)),
            Buffer::f32(args.q_next),
        )?;
    }
    each("fso_vectors", d)
}
