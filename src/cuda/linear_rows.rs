//! Host half of kernels/linear_rows: softmax cross entropy of rows behind a matrix product.

use std::ffi::c_void;
use std::ptr;

use super::products::{Product, SIDE, column_parts, depth_parts, padded};
use super::reduce::{self, ReduceArgs};
use super::tiles::{MOST_BLOCKS, THREADS};
use super::{Device, Result, align_up, bytes_of};
use crate::registry::{Pass, Reduction};

/// Constants over all rows at the start of the workspace, as for losses on rows of logits.
const HEADER_BYTES: u64 = 256;
/// Rows and elements of the tile whose gradients are in memory at a time, and its classes at most.
const ROWS: u64 = 2048;
const ELEMENTS: u64 = 2048 * 4096;
const MOST_CLASSES: u64 = 8192;
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
    pub tile: *mut c_void,
    pub undo: *mut f32,
    pub inputs: *mut c_void,
    pub maxima: *mut f32,
    pub x_parts: *mut f32,
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
    pub tile_stride: u64,
    pub stride: u64,
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
    pub partials_of_row: i32,
    pub counted: i32,
    pub parts: i32,
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
    undo: u64,
    inputs: u64,
    maxima: u64,
    x_parts: u64,
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
    column_parts(rows, classes, MOST_SPLITS)
}

/// Classes of the tile: as many in each.
fn tile_classes(rows: u64, classes: u64) -> u64 {
    let most = (ELEMENTS / rows.max(1)).clamp(ELEMENTS / ROWS, MOST_CLASSES);
    classes.div_ceil(classes.div_ceil(most).max(1)).next_multiple_of(SIDE).min(classes)
}

fn layout(rows: u64, samples: u64, d: u64, classes: u64, dtype: i32) -> Layout {
    let all = rows.saturating_mul(samples);
    let tile_rows = all.min(tile_rows(samples));
    let tile_classes = tile_classes(tile_rows, classes);
    let mut at = HEADER_BYTES;
    let mut piece = |values: u64, size: u64| {
        let start = at;
        at = at.saturating_add(values.saturating_mul(size).saturating_add(255) & !255);
        start
    };
    let product = Product::of(dtype);
    let (size, wide) = (product.size(), u64::from(product != Product::F32));
    let scaled = u64::from(product == Product::F16);
    let several = u64::from(all > tile_rows);
    let losses = piece(rows, 4);
    let stats = piece(all, 12);
    let partials = piece(all.saturating_mul(splits(tile_rows, classes)).saturating_mul(product.lanes()), 16);
    let tile = piece(tile_rows.saturating_mul(padded(tile_classes)) * product.parts(), size);
    let undo = piece(tile_rows * scaled, 4);
    let inputs = piece(tile_rows.saturating_mul(padded(d)), size);
    let maxima = piece((tile_rows + 1) * scaled, 4);
    let of_call = tile_rows / samples;
    let of_x = depth_parts(of_call.saturating_mul(samples), d, tile_classes).saturating_mul(samples);
    let x_parts = piece(of_x.saturating_mul(of_call).saturating_mul(d), 4);
    let bias_sums = piece(tile_classes, 8);
    let x_sums = piece(rows.saturating_mul(d).saturating_mul(wide), 4);
    let weight_sums = piece(tile_classes.saturating_mul(d).saturating_mul(wide * several), 4);
    let reduce = piece(reduce::scratch_bytes(rows).max(reduce::scratch_bytes(classes)), 1);
    Layout {
        losses,
        stats,
        partials,
        tile,
        undo,
        inputs,
        maxima,
        x_parts,
        bias_sums,
        x_sums,
        weight_sums,
        reduce,
        bytes: align_up(at),
    }
}

/// Bytes of workspace for a call of any pass.
pub fn workspace_size(rows: u64, samples: u64, d: u64, classes: u64, dtype: i32) -> u64 {
    layout(rows, samples, d, classes, dtype).bytes
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

fn bytes(args: &LinearArgs) -> &[u8] {
    // SAFETY: a struct of integers, floats and pointers.
    unsafe { bytes_of(args) }
}

struct Call<'a> {
    dev: &'a dyn Device,
    args: LinearArgs,
    plan: &'a LinearPlan,
    at: Layout,
    product: Product,
    all: u64,
    samples: u64,
    tile_rows: u64,
    tile_classes: u64,
}

impl<'a> Call<'a> {
    fn new(dev: &'a dyn Device, args: &LinearArgs, plan: &'a LinearPlan) -> Self {
        let samples = args.samples as u64;
        let at = layout(args.rows, samples, args.d, args.classes, args.dtype);
        let all = args.rows * samples;
        let tile_rows = tile_rows(samples);
        let tile_classes = tile_classes(all.min(tile_rows), args.classes);
        let product = Product::of(args.dtype);
        let mut call = Call { dev, args: *args, plan, at, product, all, samples, tile_rows, tile_classes };
        let splits = splits(all.min(tile_rows), args.classes);
        let place = |offset| plan.workspace.wrapping_byte_add(offset as usize);
        call.args = LinearArgs {
            header: place(0).cast(),
            stats: if plan.saved.is_null() { place(at.stats).cast() } else { plan.saved },
            partials: place(at.partials).cast(),
            tile: place(at.tile),
            undo: place(at.undo).cast(),
            inputs: place(at.inputs),
            maxima: place(at.maxima).cast(),
            x_parts: place(at.x_parts).cast(),
            bias_sums: place(at.bias_sums).cast(),
            stride: padded(args.d),
            splits: splits as i32,
            partials_of_row: (splits * product.lanes()) as i32,
            parts: product.parts() as i32,
            parts_of_x: depth_parts(all.min(tile_rows), args.d, tile_classes) as i32,
            ..*args
        };
        call
    }

    fn place<T>(&self, offset: u64) -> *mut T {
        self.plan.workspace.wrapping_byte_add(offset as usize).cast()
    }

    fn launch(&self, kernel: &str, blocks: u64, args: &LinearArgs) -> Result<()> {
        self.dev.launch(kernel, [blocks as u32, 1, 1], [THREADS, 1, 1], 0, bytes(args))
    }

    /// Rows `r` of the tiles.
    fn rows(&self, r: u64) -> LinearArgs {
        let first_row = r * self.tile_rows;
        LinearArgs { first_row, tile_rows: (self.all - first_row).min(self.tile_rows), ..self.args }
    }

    /// Inputs of the tile as products want them.
    fn inputs(&self, args: &LinearArgs) -> Result<()> {
        if args.counted != 0 && self.product == Product::F16 {
            self.launch("linear_rows_maxima", args.tile_rows.div_ceil(8).clamp(1, MOST_BLOCKS), args)?;
        }
        let runs = args.tile_rows.saturating_mul(args.stride / 8);
        self.launch("linear_rows_inputs", runs.div_ceil(u64::from(THREADS)).clamp(1, MOST_BLOCKS), args)
    }

    fn statistics(&self, losses: *mut f32) -> Result<()> {
        for r in 0..self.all.div_ceil(self.tile_rows) {
            let args = self.rows(r);
            if args.drops != 0 {
                self.inputs(&args)?;
            }
            let grid = [args.tile_rows.div_ceil(SIDE), args.splits as u64, 1];
            self.product.launch(self.dev, "linear_rows_statistics", grid, bytes(&args))?;
        }
        let args = LinearArgs { losses, ..self.args };
        self.launch("linear_rows_losses", args.rows.div_ceil(u64::from(THREADS)), &args)
    }

    fn gradients(&self) -> Result<()> {
        let classes = self.args.classes;
        // One turn without rows still clears the gradients of weight and bias.
        let row_tiles = self.all.div_ceil(self.tile_rows).max(1);
        let class_tiles = classes.div_ceil(self.tile_classes.max(1));
        for c in 0..class_tiles {
            let first_class = c * self.tile_classes;
            let tile_classes = (classes - first_class).min(self.tile_classes);
            let of_classes =
                LinearArgs { first_class, tile_classes, tile_stride: padded(tile_classes), ..self.args };
            for r in 0..row_tiles {
                let LinearArgs { first_row, tile_rows, .. } = self.rows(r);
                let args = LinearArgs { first_row, tile_rows, ..of_classes };
                self.tile(&args, [c == 0, c + 1 == class_tiles], [r == 0, r + 1 == row_tiles])?;
            }
        }
        Ok(())
    }

    /// What a tile adds to the gradients. `class` and `row`: whether it is the first and the last of its row of tiles,
    /// and of its column.
    fn tile(&self, args: &LinearArgs, class: [bool; 2], row: [bool; 2]) -> Result<()> {
        let (d, plan, wide) = (args.d, self.plan, self.product != Product::F32);
        let out = |out: *mut c_void, sums: u64, [first, last]: [bool; 2]| LinearArgs {
            out,
            sums: if wide { self.place(sums) } else { ptr::null_mut() },
            first: u8::from(first),
            last: u8::from(last),
            ..*args
        };
        let classes = args.tile_classes;
        if args.tile_rows > 0 {
            if args.drops != 0 {
                self.inputs(args)?;
            }
            let grid = [classes.div_ceil(SIDE), args.tile_rows.div_ceil(SIDE), 1];
            self.product.launch(self.dev, "linear_rows_gradient", grid, bytes(args))?;
        }
        if !plan.grad_x.is_null() && args.tile_rows > 0 && d > 0 {
            let rows = args.tile_rows / self.samples;
            let args = out(plan.grad_x, self.at.x_sums, class);
            let grid = [d.div_ceil(SIDE), rows.div_ceil(SIDE), args.parts_of_x as u64 * self.samples];
            self.product.launch_parts(self.dev, "linear_rows_to_x", grid, bytes(&args))?;
            let blocks =
                rows.saturating_mul(d.div_ceil(8)).div_ceil(u64::from(THREADS)).clamp(1, MOST_BLOCKS);
            self.launch("linear_rows_add_parts", blocks, &args)?;
        }
        if !plan.grad_weight.is_null() && d > 0 {
            if args.tile_rows > 0 {
                self.inputs(&LinearArgs { counted: 1, ..*args })?;
            }
            let args = out(plan.grad_weight, self.at.weight_sums, row);
            let grid = [d.div_ceil(SIDE), classes.div_ceil(SIDE), 1];
            self.product.launch_parts(self.dev, "linear_rows_to_weight", grid, bytes(&args))?;
        }
        if !plan.grad_bias.is_null() {
            let args = LinearArgs { out: plan.grad_bias, ..out(plan.grad_bias, 0, row) };
            self.launch("linear_rows_to_bias", classes.div_ceil(32), &args)?;
        }
        Ok(())
    }
}
