//! Host half of kernels/skeletons/maps.cuh: losses on class maps.

use std::ffi::c_void;

use super::reduce::{self, ReduceArgs};
use super::{Device, Result, align_up};
use crate::registry::{Pass, Reduction};

const PER_THREAD: u64 = 8;
const MAX_BLOCKS: u64 = 1 << 16;

/// What a call wants, beside the kernels' own arguments.
#[derive(Clone, Copy, Debug)]
pub struct MapsPlan {
    pub images: u64,
    pub classes: u64,
    pub pixels: u64,
    /// Sums and factors of a class.
    pub sums: u64,
    pub factors: u64,
    pub pass: Pass,
    pub reduction: Reduction,
    /// Values that the reduction adds up, and what mean divides by.
    pub values: u64,
    pub divisor: f64,
    /// Device pointer; null = not wanted.
    pub loss: *mut f32,
    pub wants_saved: bool,
    pub wants_gradient: bool,
    /// Backward is given what forward saved.
    pub restored: bool,
    pub workspace: *mut c_void,
}

fn threads(pixels: u64) -> u64 {
    match pixels {
        0..=256 => 32,
        257..=1024 => 128,
        _ => 256,
    }
}

fn chunks(pixels: u64) -> u64 {
    pixels.div_ceil(threads(pixels) * PER_THREAD)
}

/// Offsets of the values that are to be added up, of the partial sums, and the end.
fn layout(images: u64, classes: u64, pixels: u64, sums: u64, factors: u64) -> [u64; 3] {
    let part = |count: u64, each: u64| count.saturating_mul(each).div_ceil(256).saturating_mul(256);
    let maps = images.saturating_mul(classes);
    let totals = part(maps, (sums + 1) * 8);
    let values = totals.saturating_add(part(maps, factors * 4)).saturating_add(part(images, 4));
    let partials = values.saturating_add(part(maps.max(classes), 4));
    let end = partials.saturating_add(part(maps.saturating_mul(chunks(pixels)), (sums + 1) * 8));
    [values, partials, end]
}

/// Bytes of workspace for a call of any pass.
pub fn workspace_size(images: u64, classes: u64, pixels: u64, sums: u64, factors: u64) -> u64 {
    let [_, _, end] = layout(images, classes, pixels, sums, factors);
    end.saturating_add(align_up(reduce::scratch_bytes(images.saturating_mul(classes).max(classes))))
}

/// Names of the kernels of a loss.
macro_rules! kernels {
    ($name:literal) => {
        [
            concat!($name, "_sums"),
            concat!($name, "_totals"),
            concat!($name, "_factors"),
            concat!($name, "_gradient"),
        ]
    };
}
pub(crate) use kernels;

/// Launches the kernels of a loss with `args`, and the sum of the values they leave.
pub fn run(dev: &dyn Device, kernels: [&str; 4], args: &[u8], plan: &MapsPlan) -> Result<()> {
    let p = plan;
    let wants_loss = p.pass.forward() && !p.loss.is_null();
    let wants_gradient = p.pass.backward() && p.wants_gradient;
    let wants_saved = p.pass.forward() && p.wants_saved;
    if !wants_loss && !wants_gradient && !wants_saved {
        return Ok(());
    }
    let [sums, totals, factors, gradient] = kernels;
    let launch = |kernel: &str, blocks: u64, threads: u64| {
        let blocks = blocks.clamp(1, MAX_BLOCKS) as u32;
        dev.launch(kernel, [blocks, 1, 1], [threads as u32, 1, 1], 0, args)
    };
    let maps = p.images * p.classes;
    if !p.restored && maps > 0 {
        if p.pixels > 0 {
            launch(sums, p.images * chunks(p.pixels), threads(p.pixels))?;
        }
        launch(totals, maps, 32)?;
    }
    launch(factors, maps.div_ceil(64), 64)?;
    if wants_gradient && maps * p.pixels > 0 {
        launch(gradient, (p.images * p.pixels).div_ceil(256), 256)?;
    }
    if wants_loss && p.reduction != Reduction::None {
        let [values, _, end] = layout(p.images, p.classes, p.pixels, p.sums, p.factors);
        let at = |offset: u64| p.workspace.wrapping_byte_add(offset as usize);
        let total = ReduceArgs {
            n: p.values,
            values: if p.values > 0 { at(values) } else { std::ptr::null_mut() },
            loss_out: p.loss,
            divisor: if p.reduction == Reduction::Mean { p.divisor.max(1.0) } else { 1.0 },
            ..Default::default()
        };
        reduce::run(dev, &total, at(end).cast())?;
    }
    Ok(())
}
