//! Host half of kernels/skeletons/windows.cuh: losses on local means and variances of two images.

use std::ffi::c_void;

use super::reduce::{self, ReduceArgs};
use super::{Device, Result, align_up};
use crate::registry::{Pass, Reduction};

const COLUMNS: u64 = 64;
const COLUMN_ROWS: u64 = 8;
const MAX_BLOCKS: u64 = 1 << 20;

/// What a call wants, beside the kernels' own arguments.
#[derive(Clone, Copy, Debug)]
pub struct WindowsPlan {
    pub batch: u64,
    pub channels: u64,
    pub height: u64,
    pub width: u64,
    pub window: u64,
    pub pass: Pass,
    pub reduction: Reduction,
    /// Device pointer; null = not wanted.
    pub loss: *mut f32,
    /// The loss or what else comes of the means of the images.
    pub wants_values: bool,
    pub wants_gradient: bool,
    pub workspace: *mut c_void,
}

fn blocks(rows: u64, columns: u64) -> u64 {
    rows.div_ceil(COLUMN_ROWS).saturating_mul(columns.div_ceil(COLUMNS))
}

impl WindowsPlan {
    fn positions(&self) -> (u64, u64) {
        (self.height - self.window + 1, self.width - self.window + 1)
    }

    /// Offsets of the values of the images and of the slopes, and the end.
    fn layout(&self) -> [u64; 3] {
        let part = |count: u64, each: u64| count.saturating_mul(each).div_ceil(256).saturating_mul(256);
        let (rows, columns) = self.positions();
        let planes = self.batch.saturating_mul(self.channels);
        let sums = part(self.window, 4).saturating_add(part(planes, 16));
        let values = sums.saturating_add(part(planes.saturating_mul(blocks(rows, columns)), 8));
        let slopes = values.saturating_add(part(self.batch, 4));
        let positions = planes.saturating_mul(rows).saturating_mul(columns);
        [values, slopes, slopes.saturating_add(part(positions, 16))]
    }

    /// Bytes of workspace for a call of any pass.
    pub fn workspace_size(&self) -> u64 {
        let [_, _, end] = self.layout();
        end.saturating_add(align_up(reduce::scratch_bytes(self.batch)))
    }
}

/// Launches a loss's kernels _prepare, _positions, _finish and _gradient with `args`, and the sum of the values
/// they leave.
pub fn run(dev: &dyn Device, kernels: [&str; 4], args: &[u8], plan: &WindowsPlan) -> Result<()> {
    let p = plan;
    let wants_values = p.pass.forward() && p.wants_values;
    let wants_gradient = p.pass.backward() && p.wants_gradient;
    let launch = |kernel: &str, blocks: u64, threads: u64| {
        let blocks = blocks.clamp(1, MAX_BLOCKS) as u32;
        dev.launch(kernel, [blocks, 1, 1], [threads as u32, 1, 1], 0, args)
    };
    let planes = p.batch * p.channels;
    let (rows, columns) = p.positions();
    if planes > 0 && (wants_values || wants_gradient) {
        let [prepare, positions, finish, gradient] = kernels;
        launch(prepare, planes + 1, if p.height * p.width > 4096 { 1024 } else { 128 })?;
        launch(positions, planes.saturating_mul(blocks(rows, columns)), COLUMNS)?;
        if wants_values {
            launch(finish, p.batch, 32)?;
        }
        if wants_gradient {
            launch(gradient, planes.saturating_mul(blocks(p.height, p.width)), COLUMNS)?;
        }
    }
    if p.pass.forward() && !p.loss.is_null() && p.reduction != Reduction::None {
        let [values, _, end] = p.layout();
        let at = |offset: u64| p.workspace.wrapping_byte_add(offset as usize);
        let total = ReduceArgs {
            n: p.batch,
            values: if p.batch > 0 { at(values) } else { std::ptr::null_mut() },
            loss_out: p.loss,
            divisor: if p.reduction == Reduction::Mean { p.batch.max(1) as f64 } else { 1.0 },
            ..Default::default()
        };
        reduce::run(dev, &total, at(end).cast())?;
    }
    Ok(())
}
