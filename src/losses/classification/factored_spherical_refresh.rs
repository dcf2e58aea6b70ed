//! v <- v u, u <- I, q <- W' W, wsum <- W' 1 with W = v + 1 omega': one sweep over v, some rows at a time.

use crate::cpu::Cpu;
use crate::cpu::dense::{View, product, symmetric_product};
use crate::cpu::workspace::{Size, Workspace};
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
#[cfg(gpu)]
pub fn cuda(_device: &dyn crate::cuda::Device, _a: &Args) -> Result<()> { Ok(()) }
#[cfg(gpu)]
pub fn cuda_workspace(_a: &Args) -> u64 { 0 }
