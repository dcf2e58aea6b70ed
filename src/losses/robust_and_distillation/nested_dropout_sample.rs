//! Numbers of channels by inverse transforms of uniform draws.

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::philox::{CHUNK, Philox, ln_unit};
use crate::registry::entries::nested_dropout_sample::{Args, Call};
use crate::registry::{Error, Result};

pub fn check(a: &Args) -> Result<()> {
    if a.channels > i64::MAX as u64 {
        return Err(Error::argument(format!(
            "nested_dropout_sample: argument 'channels' is {}, expected at most {}",
            a.channels,
            i64::MAX
        )));
    }
    Ok(())
}

/// log(1 - rate) where the distribution is geometric.
fn log_of_staying(geometric: bool, rate: f64) -> Option<f64> {
    geometric.then(|| (-rate).ln_1p())
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let Some(keep) = call.keep.as_deref_mut().map(Cells::new) else { return Ok(()) };
    let (channels, o) = (call.channels as i64, call.opts);
    let last = (channels - 1) as f64;
    let log = log_of_staying(o.distribution != 0, o.rate);
    let from = Philox::new(o.seed, o.offset);
    let blocks = Blocks::new(call.rows, 64 * CHUNK, CHUNK);
    cpu.run(blocks.count, 8 * call.rows, &|block| {
        let range = blocks.range(block);
        // SAFETY: this block's part.
        let out = unsafe { std::slice::from_raw_parts_mut(keep.at(range.start), range.len()) };
        let first = range.start as u64;
        match log {
            None => from.fill(
                cpu.isa,
                first,
                out,
                #[inline(always)]
                |words, out| {
                    for (out, &word) in out.iter_mut().zip(words) {
                        *out = above(
                            (f64::from(word) + 0.5) * (channels as f64 / 4_294_967_296.0),
                            last,
                            channels,
                        );
                    }
                },
            ),
            Some(log) => from.fill(
                cpu.isa,
                first,
                out,
                #[inline(always)]
                |words, out| {
                    for (out, &word) in out.iter_mut().zip(words) {
                        *out = above(ln_unit(word) / log, last, channels);
                    }
                },
            ),
        }
    });
    Ok(())
}

/// 1 + floor(x), at most `channels`.
#[inline(always)]
fn above(x: f64, last: f64, channels: i64) -> i64 {
    if x < last { 1 + x as i64 } else { channels }
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::registry::entries::nested_dropout_sample::Options;
    if a.rows == 0 || a.keep.is_null() {
        return Ok(());
    }
    // The kernel finds log(1 - rate) in the place of rate: a device's logarithm may be another.
    let rate = log_of_staying(a.opts.distribution != 0, a.opts.rate).unwrap_or(0.0);
    let args = Args { opts: Options { rate, ..a.opts }, ..*a };
    let blocks = a.rows.div_ceil(1024).min(4096) as u32;
    let bytes = unsafe { crate::cuda::bytes_of(&args) };
    Ok(device.launch("nested_dropout_sample", [blocks, 1, 1], [256, 1, 1], 0, bytes)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_: &Args) -> u64 {
    0
}
