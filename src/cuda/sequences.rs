//! Host half of kernels/sequences: sums of token losses over the sequences they belong to.
//!
//! The workspace begins with the counts of the sequences, then comes one loss per token.

use std::ffi::c_void;

use super::{Device, Result, align_up, bytes_of};
use crate::registry::Pass;

const THREADS: u32 = 256;

/// Mirrors kernels/sequences/sequences.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct SequenceArgs {
    labels: *const i64,
    segments: *const i64,
    losses: *const f32,
    divisors: *mut f32,
    log_prob: *mut f32,
    counts: *mut f32,
    device_flags: *mut u32,
    tokens: u64,
    classes: u64,
    sequences: u64,
    ignore_index: i64,
    average: i32,
    unused: i32,
}

#[derive(Clone, Copy)]
pub struct SequencePlan {
    pub pass: Pass,
    pub tokens: u64,
    pub classes: u64,
    pub sequences: u64,
    pub labels: *const i64,
    pub segments: *const i64,
    pub ignore_index: i64,
    pub average: bool,
    pub log_prob: *mut f32,
    pub counts: *mut f32,
    pub saved: *mut f32,
    pub workspace: *mut c_void,
    pub device_flags: *mut u32,
}

impl SequencePlan {
    pub fn workspace_size(&self) -> u64 {
        self.losses_at().saturating_add(self.tokens.saturating_mul(4).saturating_add(255) & !255)
    }

    fn losses_at(&self) -> u64 {
        align_up(self.sequences.saturating_mul(4).min(u64::MAX - 255))
    }

    /// One per token, for the kernels to write.
    pub fn losses(&self) -> *mut f32 {
        self.workspace.wrapping_byte_add(self.losses_at() as usize).cast()
    }

    /// What the gradients of a sequence are divided by when averaging.
    pub fn divisors(&self) -> *const f32 {
        self.workspace.cast()
    }

    pub fn wants_tokens(&self) -> bool {
        self.pass.forward() && (!self.log_prob.is_null() || !self.saved.is_null())
    }

    fn args(&self) -> SequenceArgs {
        SequenceArgs {
            labels: self.labels,
            segments: self.segments,
            losses: std::ptr::null(),
            divisors: self.workspace.cast(),
            log_prob: self.log_prob,
            counts: self.counts,
            device_flags: self.device_flags,
            tokens: self.tokens,
            classes: self.classes,
            sequences: self.sequences,
            ignore_index: self.ignore_index,
            average: i32::from(self.average),
            unused: 0,
        }
    }

    fn launch(&self, device: &dyn Device, args: &SequenceArgs) -> Result<()> {
        if self.sequences == 0 {
            return Ok(());
        }
        let blocks = self.sequences.min(0x7fff_ffff) as u32;
        // SAFETY: a struct of integers and pointers.
        device.launch("sequence_sums", [blocks, 1, 1], [THREADS, 1, 1], 0, unsafe { bytes_of(args) })
    }

    /// Counts the tokens of each sequence.
    pub fn count(&self, device: &dyn Device) -> Result<()> {
        let wanted = self.pass.forward() && !self.counts.is_null();
        if self.average || wanted { self.launch(device, &self.args()) } else { Ok(()) }
    }

    /// Sums the losses of the tokens.
    pub fn sum(&self, device: &dyn Device) -> Result<()> {
        if !self.pass.forward() || self.log_prob.is_null() {
            return Ok(());
        }
        self.launch(device, &SequenceArgs { losses: self.losses(), ..self.args() })
    }
}
