//! W = v u + 1 omega', some rows at a time, so that W may replace v.

use crate::cpu::Cpu;
use crate::cpu::dense::{View, product};
use crate::cpu::workspace::{Size, Workspace};
#[cfg(gpu)]
use crate::cuda::dense::{self, Buffer};
use crate::registry::Result;
use crate::registry::entries::factored_spherical_dense::{Args, Call};

/// Rows of v under way at once.
const CHUNK: usize = 2048;

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f64>(a.classes.min(CHUNK as u64).saturating_mul(a.d)).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (classes, d) = (call.classes, call.d);
    let Some(out) = call.weight.as_deref_mut() else { return Ok(()) };
    let mut work = Workspace::new(std::mem::take(&mut call.workspace));
    let rows = work.take(classes.min(CHUNK) * d, 0.0f64);
    for first in (0..classes).step_by(CHUNK) {
        let count = CHUNK.min(classes - first);
        let rows = &mut rows[..count * d];
        for row in rows.chunks_exact_mut(d) {
            row.iter_mut().zip(call.omega).for_each(|(x, &omega)| *x = f64::from(omega));
        }
        product(cpu, View::f32(&call.v[first * d..], count, d), View::f32(call.u, d, d), 1.0, rows);
        out[first * d..][..count * d].iter_mut().zip(rows.iter()).for_each(|(out, &x)| *out = x as f32);
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    a.classes.min(DEVICE_CHUNK).saturating_mul(a.d).saturating_mul(8)
}

/// Rows of v under way at once on a device.
#[cfg(gpu)]
const DEVICE_CHUNK: u64 = 1 << 14;

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    if a.weight.is_null() {
        return Ok(());
    }
    let d = a.d;
    let rows = Buffer::f64(a.workspace.cast());
    for first in (0..a.classes).step_by(DEVICE_CHUNK as usize) {
        let count = DEVICE_CHUNK.min(a.classes - first);
        let at = (first * d) as usize;
        let omega = Buffer::f32(a.omega).repeated(count, d);
        let v = Buffer::f32(a.v.wrapping_add(at)).matrix(count, d);
        dense::product(device, v, Buffer::f32(a.u).matrix(d, d), None, Some(omega), rows)?;
        dense::copy(device, rows, Buffer::f32(a.weight.wrapping_add(at)), count * d)?;
    }
    Ok(())
}
