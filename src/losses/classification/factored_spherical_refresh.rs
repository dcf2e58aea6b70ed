//! v <- v u, u <- I, q <- W' W, wsum <- W' 1 with W = v + 1 omega': one sweep over v, some rows at a time.

use crate::cpu::Cpu;
use crate::cpu::dense::{View, product, symmetric_product};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::{
    Device, bytes_of,
    dense::{self, Buffer},
};
use crate::registry::Result;
use crate::registry::entries::factored_spherical_refresh::{Args, Call};

/// Rows of v under way at once.
const CHUNK: usize = 2048;

fn chunk(classes: u64) -> u64 {
    classes.min(CHUNK as u64)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let square = a.d.saturating_mul(a.d);
    let rows = chunk(a.classes).saturating_mul(a.d);
    Size::default().add::<f64>(rows).add::<f64>(square).add::<f32>(square).add::<f64>(a.d).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (classes, d) = (call.classes, call.d);
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let rows = work.take(chunk(classes as u64) as usize * d, 0.0f64);
    let q = work.take(d * d, 0.0f64);
    let u = work.take(d * d, 0.0f32);
    let sum = work.take(d, 0.0f64);
    u.copy_from_slice(call.u);
    for first in (0..classes).step_by(CHUNK) {
        let count = CHUNK.min(classes - first);
        let rows = &mut rows[..count * d];
        product(cpu, View::f32(&call.v[first * d..], count, d), View::f32(u, d, d), 0.0, rows);
        rows.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        if let Some(out) = call.v_next.as_deref_mut() {
            out[first * d..][..count * d].iter_mut().zip(rows.iter()).for_each(|(out, &x)| *out = x as f32);
        }
        if call.q_next.is_none() && call.wsum_next.is_none() {
            continue;
        }
        for row in rows.chunks_exact_mut(d) {
            for ((x, &omega), sum) in row.iter_mut().zip(call.omega).zip(sum.iter_mut()) {
                *x += f64::from(omega);
                *sum += *x;
            }
        }
        if call.q_next.is_some() {
            let rows = View::f64(rows, count, d);
            symmetric_product(cpu, rows.t(), rows, 1.0, q);
        }
    }
    for (out, from) in [(call.q_next.as_deref_mut(), &*q), (call.wsum_next.as_deref_mut(), &*sum)] {
        if let Some(out) = out {
            out.iter_mut().zip(from).for_each(|(out, &x)| *out = x as f32);
        }
    }
    if let Some(out) = call.u_next.as_deref_mut() {
        out.iter_mut().enumerate().for_each(|(i, out)| *out = f32::from(u8::from(i / d == i % d)));
    }
    Ok(())
}

/// Rows of v under way at once on a device.
#[cfg(gpu)]
const DEVICE_CHUNK: u64 = 1 << 14;

/// Of the workspace: q and the sum in f64, a chunk of W in f64, and a chunk of v in f32 in what is left.
#[cfg(gpu)]
fn device_layout(a: &Args) -> (u64, u64) {
    let rows = a.classes.min(DEVICE_CHUNK).saturating_mul(a.d);
    let head = a.d.saturating_mul(a.d).saturating_add(a.d);
    (head, head.saturating_add(rows))
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    let (head, end) = device_layout(a);
    end.saturating_mul(8).saturating_add(end.saturating_sub(head).saturating_mul(4))
}

#[cfg(gpu)]
pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let d = a.d;
    let (head, end) = device_layout(a);
    let at = |offset: u64| a.workspace.cast::<f64>().wrapping_add(offset as usize);
    let (q, w, chunk) = (Buffer::f64(at(0)), Buffer::f64(at(head)), at(end).cast::<f32>());
    let launch = |args: Args| {
        let blocks = (args.classes * d).div_ceil(256).clamp(1, 4096) as u32;
        // SAFETY: a struct of integers, floats and pointers.
        let bytes = unsafe { bytes_of(&args) };
        device.launch("factored_spherical_refresh", [blocks, 1, 1], [256, 1, 1], 0, bytes)
    };
    // Without rows the kernel clears q and the sum.
    launch(Args { classes: 0, v_next: chunk, ..*a })?;
    for first in (0..a.classes).step_by(DEVICE_CHUNK as usize) {
        let count = DEVICE_CHUNK.min(a.classes - first);
        let from = (first * d) as usize;
        let v = Buffer::f32(a.v.wrapping_add(from)).matrix(count, d);
        dense::product(device, v, Buffer::f32(a.u).matrix(d, d), None, None, Buffer::f32(chunk))?;
        launch(Args { classes: count, v_next: chunk, ..*a })?;
        let rows = w.matrix(count, d);
        dense::product(device, rows.t(), rows, None, Some(q.matrix(d, d)), q)?;
        if !a.v_next.is_null() {
            dense::copy(device, Buffer::f32(chunk), Buffer::f32(a.v_next.wrapping_add(from)), count * d)?;
        }
    }
    if !a.q_next.is_null() {
        dense::copy(device, q, Buffer::f32(a.q_next), d * d)?;
    }
    if !a.wsum_next.is_null() {
        dense::copy(device, Buffer::f64(at(d * d)), Buffer::f32(a.wsum_next), d)?;
    }
    if !a.u_next.is_null() {
        dense::identity(device, Buffer::f32(a.u_next), d)?;
    }
    Ok(())
}
