//! Host half of kernels/linear_rows: softmax cross entropy of rows behind a matrix product.

use std::ffi::c_void;
use std::ptr;

use super::reduce::{self, ReduceArgs};
use super::tiles::{BLOCK, ENOUGH_BLOCKS, MOST_BLOCKS, TALL, THREADS, gather_parts, parts};
use super::{Device, Result, align_up, bytes_of};
use crate::registry::{Pass, Reduction};

/// Constants over all rows at the start of the workspace, as for losses on rows of logits.
const HEADER_BYTES: u64 = 256;
/// Rows and classes of the tile whose gradients are in memory at a time.
const ROWS: u64 = 2048;
const CLASSES: u64 = 4096;
const MOST_SPLITS: u64 = 64;

/// Mirrors kernels/linear_rows/linear_rows.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LinearArgs {
    pub x: *const c_void,
    pub weight: *const c_void,
    pub bias: *const c_void,
    pub labels: *const i64,
    pub class_weights: *const c_void,
    pub masks: *const u8,
    pub segments: *const i64,
    pub counts: *const f32,
    pub grad_loss: *const f32,
    pub header: *const f64,
    pub losses: *mut f32,
    pub stats: *mut f32,
    pub partials: *mut f32,
    pub tile: *mut f32,
    pub parts: *mut f32,
    pub out: *mut c_void,
    pub sums: *mut f32,
    pub bias_sums: *mut f64,
    pub device_flags: *mut u32,
    pub rows: u64,
    pub d: u64,
    pub classes: u64,
    pub sequences: u64,
    pub first_row: u64,
    pub tile_rows: u64,
    pub first_class: u64,
    pub tile_classes: u64,
    pub seed: u64,
    pub offset: u64,
    pub kept_from: u64,
    pub ignore_index: i64,
    pub label_smoothing: f64,
    pub z_weight: f64,
    pub softcap: f64,
    pub factor: f32,
    pub sign: f32,
    pub dtype: i32,
    pub reduction: i32,
    pub samples: i32,
    pub splits: i32,
    pub parts_of_x: i32,
    pub padding: i32,
    pub ignores: u8,
    pub drops: u8,
    pub first: u8,
    pub last: u8,
}

impl Default for LinearArgs {
    fn default() -> Self {
        // SAFETY: integers, floats and pointers.
        let zero: LinearArgs = unsafe { std::mem::zeroed() };
        LinearArgs { factor: 1.0, sign: 1.0, samples: 1, splits: 1, parts_of_x: 1, ..zero }
    }
}

/// What a call wants, beside the kernels' arguments.
#[derive(Clone, Copy)]
pub struct LinearPlan {
    pub pass: Pass,
    /// The output of a reduction; for none, the losses of the rows.
    pub loss: *mut f32,
    pub saved: *mut f32,
    pub grad_x: *mut c_void,
    pub grad_weight: *mut c_void,
    pub grad_bias: *mut c_void,
    pub workspace: *mut c_void,
}

/// Where the pieces of a workspace are, and its size.
#[derive(Clone, Copy, Debug, Default)]
struct Layout {
    losses: u64,
    stats: u64,
    partials: u64,
    tile: u64,
    parts: u64,
    bias_sums: u64,
    x_sums: u64,
    weight_sums: u64,
    reduce: u64,
    bytes: u64,
}

/// Rows of the tile: whole rows of the call with all their samples.
fn tile_rows(samples: u64) -> u64 {
    (ROWS / samples).max(1) * samples
}

/// Parts that the classes are cut into, so that few rows still fill the GPU.
fn splits(rows: u64, classes: u64) -> u64 {
    parts(rows.div_ceil(TALL), ENOUGH_BLOCKS, MOST_SPLITS, classes)
}

fn layout(rows: u64, samples: u64, d: u64, classes: u64, is_f32: bool) -> Layout {
    let all = rows.saturating_mul(samples);
    let (tile_rows, tile_classes) = (all.min(tile_rows(samples)), classes.min(CLASSES));
    let mut at = HEADER_BYTES;
    let mut piece = |values: u64, size: u64| {
        let start = at;
        at = at.saturating_add(values.saturating_mul(size).saturating_add(255) & !255);
        start
    };
    let wide = u64::from(!is_f32);
    let losses = piece(rows, 4);
    let stats = piece(all, 12);
    let partials = piece(all.saturating_mul(splits(all, classes)), 16);
    let tile = piece(tile_rows.saturating_mul(tile_classes), 4);
    let of_call = tile_rows / samples;
    let of_x = piece(gather_parts(of_call, d, tile_classes).saturating_mul(of_call).saturating_mul(d), 4);
    let bias_sums = piece(tile_classes, 8);
    let x_sums = piece(rows.saturating_mul(d).saturating_mul(wide), 4);
    let weight_sums = piece(tile_classes.saturating_mul(d).saturating_mul(wide), 4);
    let reduce = piece(reduce::scratch_bytes(rows).max(reduce::scratch_bytes(classes)), 1);
    Layout {
        losses,
        stats,
        partials,
        tile,
        parts: of_x,
        bias_sums,
        x_sums,
        weight_sums,
        reduce,
        bytes: align_up(at),
    }
}

/// Bytes of workspace for a call of any pass.
pub fn workspace_size(rows: u64, samples: u64, d: u64, classes: u64, dtype: i32) -> u64 {
    layout(rows, samples, d, classes, dtype == reduce::F32).bytes
}

/// Launches what the plan wants. `args` has the inputs and options.
pub fn run(dev: &dyn Device, args: &LinearArgs, plan: &LinearPlan) -> Result<()> {
    let reduction = Reduction::from_code(args.reduction);
    let gradients = [plan.grad_x, plan.grad_weight, plan.grad_bias];
    let wants_gradient = plan.pass.backward() && gradients.iter().any(|g| !g.is_null());
    let wants_loss = plan.pass.forward() && !plan.loss.is_null();
    let wants_saved = plan.pass.forward() && !plan.saved.is_null();
    if !wants_gradient && !wants_loss && !wants_saved {
        return Ok(());
    }
    let call = Call::new(dev, args, plan);
    let reduced = reduction != Reduction::None && args.segments.is_null();
    let losses = if reduced { call.place(call.at.losses) } else { plan.loss };
    let labels = ReduceArgs {
        n: args.rows,
        labels: args.labels,
        class_weights: args.class_weights,
        classes: args.classes,
        ignore_index: if args.ignores != 0 { args.ignore_index } else { i64::MIN },
        weights_dtype: args.dtype,
        ..Default::default()
    };
    let scratch = call.place(call.at.reduce);
    let (normaliser, weight_sum) = (call.place::<f64>(0), call.place::<f64>(8));
    if args.rows > 0 {
        if !args.class_weights.is_null() && args.label_smoothing > 0.0 {
            let sum = ReduceArgs {
                n: args.classes,
                values: args.class_weights,
                values_kind: args.dtype,
                sum_out: weight_sum,
                ..Default::default()
            };
            reduce::run(dev, &sum, scratch)?;
        }
        if wants_loss || wants_saved || plan.pass.forward() || plan.saved.is_null() {
            call.statistics(if wants_loss { losses } else { ptr::null_mut() })?;
        }
        if wants_gradient && reduced && reduction == Reduction::Mean {
            reduce::run(dev, &ReduceArgs { weight_out: normaliser, ..labels }, scratch)?;
        }
    }
    if wants_loss && reduced {
        let mean = reduction == Reduction::Mean;
        let values = if args.rows == 0 { ptr::null() } else { losses.cast_const().cast() };
        let total =
            if mean { labels } else { ReduceArgs { n: args.rows, divisor: 1.0, ..Default::default() } };
        reduce::run(dev, &ReduceArgs { values, loss_out: plan.loss, ..total }, scratch)?;
    }
    if wants_gradient { call.gradients() } else { Ok(()) }
}

struct Call<'a> {
    dev: &'a dyn Device,
    args: LinearArgs,
    plan: &'a LinearPlan,
    at: Layout,
    all: u64,
    samples: u64,
}

impl<'a> Call<'a> {
    fn new(dev: &'a dyn Device, args: &LinearArgs, plan: &'a LinearPlan) -> Self {
        let samples = args.samples as u64;
        let at = layout(args.rows, samples, args.d, args.classes, args.dtype == reduce::F32);
        let all = args.rows * samples;
        let mut call = Call { dev, args: *args, plan, at, all, samples };
        call.args.header = call.place(0);
        call.args.stats = if plan.saved.is_null() { call.place(at.stats) } else { plan.saved };
        call.args.partials = call.place(at.partials);
        call.args.tile = call.place(at.tile);
        call.args.parts = call.place(at.parts);
        call.args.bias_sums = call.place(at.bias_sums);
        call.args.splits = splits(all, args.classes) as i32;
        call.args.parts_of_x =
            gather_parts(all.min(tile_rows(samples)) / samples, args.d, args.classes.min(CLASSES)) as i32;
        call
    }

    fn place<T>(&self, offset: u64) -> *mut T {
        self.plan.workspace.wrapping_byte_add(offset as usize).cast()
    }

    fn launch(&self, kernel: &str, grid: [u64; 3], args: &LinearArgs) -> Result<()> {
        // SAFETY: a struct of integers, floats and pointers.
        let bytes = unsafe { bytes_of(args) };
        self.dev.launch(kernel, grid.map(|n| n as u32), [THREADS, 1, 1], 0, bytes)
    }

    fn statistics(&self, losses: *mut f32) -> Result<()> {
        let args = LinearArgs { losses, ..self.args };
        self.launch("linear_rows_statistics", [self.all.div_ceil(TALL), args.splits as u64, 1], &args)?;
        self.launch("linear_rows_losses", [args.rows.div_ceil(u64::from(THREADS)), 1, 1], &args)
    }

    fn gradients(&self) -> Result<()> {
        let (classes, d, plan) = (self.args.classes, self.args.d, self.plan);
        let wide = self.args.dtype != reduce::F32;
        let sums = |at| if wide { self.place(at) } else { ptr::null_mut() };
        // One turn without rows still clears the gradients of weight and bias.
        let tile_rows = tile_rows(self.samples);
        let row_tiles = self.all.div_ceil(tile_rows).max(1);
        let class_tiles = classes.div_ceil(CLASSES);
        for c in 0..class_tiles {
            for r in 0..row_tiles {
                let (first_row, first_class) = (r * tile_rows, c * CLASSES);
                let args = LinearArgs {
                    first_row,
                    first_class,
                    tile_rows: (self.all - first_row).min(tile_rows),
                    tile_classes: (classes - first_class).min(CLASSES),
                    ..self.args
                };
                if args.tile_rows > 0 {
                    let grid = [args.tile_classes.div_ceil(BLOCK), args.tile_rows.div_ceil(TALL), 1];
                    self.launch("linear_rows_gradient", grid, &args)?;
                }
                if !plan.grad_x.is_null() && args.tile_rows > 0 {
                    let (first, last) = (u8::from(c == 0), u8::from(c + 1 == class_tiles));
                    let rows = args.tile_rows / self.samples;
                    let (out, sums) = (plan.grad_x, sums(self.at.x_sums));
                    let args = LinearArgs { out, sums, first, last, ..args };
                    let grid = [d.div_ceil(BLOCK), rows.div_ceil(TALL), args.parts_of_x as u64];
                    self.launch("linear_rows_to_x", grid, &args)?;
                    let blocks = rows.saturating_mul(d).div_ceil(u64::from(THREADS)).clamp(1, MOST_BLOCKS);
                    self.launch("linear_rows_add_parts", [blocks, 1, 1], &args)?;
                }
                let (first, last) = (u8::from(r == 0), u8::from(r + 1 == row_tiles));
                if !plan.grad_weight.is_null() {
                    let (out, sums) = (plan.grad_weight, sums(self.at.weight_sums));
                    let args = LinearArgs { out, sums, first, last, ..args };
                    let grid = [d.div_ceil(BLOCK), args.tile_classes.div_ceil(TALL), 1];
                    self.launch("linear_rows_to_weight", grid, &args)?;
                }
                if !plan.grad_bias.is_null() {
                    let args = LinearArgs { out: plan.grad_bias, first, last, ..args };
                    let blocks = args.tile_classes.div_ceil(u64::from(THREADS));
                    self.launch("linear_rows_to_bias", [blocks, 1, 1], &args)?;
                }
            }
        }
        Ok(())
    }
}
