//! Host half of kernels/preference_and_structure/gaussian_mixture_of_experts.cuh.

use std::ffi::c_void;
use std::ptr;

use crate::cuda::reduce::{self, ReduceArgs};
use crate::cuda::{Device, align_up, bytes_of, largest, rows};
use crate::registry::entries::gaussian_mixture_of_experts::Args;
use crate::registry::{Pass, Reduction, Result};

/// Rows, experts or features that a block of threads works on, and its threads.
const BLOCK: u64 = 64;
const THREADS: u32 = 256;
/// Experts whose sums a block takes.
const COLUMNS: u64 = 32;
/// Scores of a tile of rows.
const TILE: u64 = 1 << 20;
/// Enough blocks to fill the largest GPUs; fixed, so that the sums do not depend on the GPU.
const ENOUGH_BLOCKS: u64 = 512;
const MOST_SPLITS: u64 = 32;

/// Mirrors the kernels' struct.
#[repr(C)]
#[derive(Clone, Copy)]
struct MixtureArgs {
    x: *const c_void,
    y: *const c_void,
    weights: [*const c_void; 2],
    biases: [*const c_void; 2],
    log_variance: *const c_void,
    grad_loss: *const f32,
    losses: *mut f32,
    precision: *mut f64,
    tiles: [*mut f32; 3],
    found: *const c_void,
    partials: *mut f32,
    partial_sums: *mut f64,
    grad_x: *mut c_void,
    grad_weights: [*mut c_void; 2],
    weight_sums: [*mut f32; 2],
    grads: [*mut c_void; 3],
    sums: *mut f64,
    rows: u64,
    d: u64,
    experts: u64,
    k: u64,
    first_row: u64,
    tile_rows: u64,
    splits: u64,
    dtype: i32,
    reduction: i32,
    gradient: u8,
    first: u8,
    last: u8,
}

/// Where the pieces of a workspace are, and its size.
struct Layout {
    tile_rows: u64,
    splits: u64,
    losses: u64,
    precision: u64,
    tiles: [u64; 3],
    found: u64,
    partials: u64,
    partial_sums: u64,
    weight_sums: [u64; 2],
    sums: u64,
    reduce: u64,
    bytes: u64,
}

fn layout(a: &Args) -> Layout {
    let tile_rows = (TILE / a.experts).clamp(4 * BLOCK, 65536).next_multiple_of(BLOCK).min(a.rows);
    let blocks = 2u64.saturating_mul(a.experts.div_ceil(BLOCK)).saturating_mul(a.d.div_ceil(BLOCK));
    let splits =
        ENOUGH_BLOCKS.div_ceil(blocks).clamp(1, MOST_SPLITS).min(tile_rows.div_ceil(4 * BLOCK).max(1));
    let mut at = 0u64;
    let mut piece = |values: u64, size: u64| {
        let start = at;
        at = at.saturating_add(values.saturating_mul(size).saturating_add(255) & !255);
        start
    };
    let scores = tile_rows.saturating_mul(a.experts);
    let weight = a.experts.saturating_mul(a.d);
    let wide = if a.dtype == reduce::F32 { 0 } else { weight };
    Layout {
        tile_rows,
        splits,
        losses: piece(a.rows, 4),
        precision: piece(a.experts, 8),
        tiles: [piece(scores, 4), piece(scores, 4), piece(scores, 4)],
        found: piece(largest::workspace_size(tile_rows, a.opts.k as u64), 1),
        partials: piece(weight.saturating_mul(2 * splits), 4),
        partial_sums: piece(a.experts.saturating_mul(3 * splits), 8),
        weight_sums: [piece(wide, 4), piece(wide, 4)],
        sums: piece(a.experts.saturating_mul(3), 8),
        reduce: piece(reduce::scratch_bytes(a.rows), 1),
        bytes: align_up(at.min(u64::MAX / 2)),
    }
}

pub fn cuda_workspace(a: &Args) -> u64 {
    layout(a).bytes
}

pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    let pass = Pass::from_code(a.pass);
    let reduction = Reduction::from_code(a.opts.reduction);
    let grad_weights = [a.grad_gate_weight, a.grad_expert_weight];
    let grads = [a.grad_gate_bias, a.grad_expert_bias, a.grad_log_variance];
    let of_weights = grad_weights.iter().any(|g| !g.is_null());
    let of_experts = grads.iter().any(|g| !g.is_null());
    let gradient = pass.backward() && (!a.grad_x.is_null() || of_weights || of_experts);
    let wants_loss = pass.forward() && !a.loss.is_null();
    if !gradient && !wants_loss {
        return Ok(());
    }
    let at = layout(a);
    let place = |offset: u64| a.workspace.wrapping_byte_add(offset as usize);
    let reduced = reduction != Reduction::None;
    let wide = a.dtype != reduce::F32;
    let chooses = a.opts.k != 0 && (a.opts.k as u64) < a.experts;
    let all = MixtureArgs {
        x: a.x,
        y: a.y,
        weights: [a.gate_weight, a.expert_weight],
        biases: [a.gate_bias, a.expert_bias],
        log_variance: a.log_variance,
        grad_loss: a.grad_loss,
        losses: match (wants_loss, reduced) {
            (false, _) => ptr::null_mut(),
            (true, true) => place(at.losses).cast(),
            (true, false) => a.loss,
        },
        precision: place(at.precision).cast(),
        tiles: at.tiles.map(|tile| place(tile).cast()),
        found: if chooses { place(at.found) } else { ptr::null_mut() },
        partials: place(at.partials).cast(),
        partial_sums: place(at.partial_sums).cast(),
        grad_x: a.grad_x,
        grad_weights,
        weight_sums: at.weight_sums.map(|sums| if wide { place(sums).cast() } else { ptr::null_mut() }),
        grads,
        sums: place(at.sums).cast(),
        rows: a.rows,
        d: a.d,
        experts: a.experts,
        k: a.opts.k as u64,
        first_row: 0,
        tile_rows: 0,
        splits: at.splits,
        dtype: a.dtype,
        reduction: a.opts.reduction,
        gradient: u8::from(gradient),
        first: 0,
        last: 0,
    };
    let launch = |kernel: &str, args: &MixtureArgs, x: u64, y: u64, z: u64| {
        // SAFETY: a struct of integers and pointers.
        device.launch(kernel, [x as u32, y as u32, z as u32], [THREADS, 1, 1], 0, unsafe { bytes_of(args) })
    };
    let (across_d, across) = (a.d.div_ceil(BLOCK), a.experts.div_ceil(BLOCK));
    launch("mixture_precision", &all, a.experts.div_ceil(u64::from(THREADS)), 1, 1)?;
    // One turn without rows still clears the gradients of the experts.
    let count = a.rows.div_ceil(at.tile_rows.max(1)).max(1);
    for tile in 0..count {
        let first_row = tile * at.tile_rows;
        let tile_rows = (a.rows - first_row).min(at.tile_rows);
        let args = MixtureArgs {
            first_row,
            tile_rows,
            first: u8::from(tile == 0),
            last: u8::from(tile + 1 == count),
            ..all
        };
        let down = tile_rows.div_ceil(BLOCK);
        if tile_rows > 0 {
            launch("mixture_products", &args, down, across, 2)?;
            if chooses {
                let scores = largest::Rows::new(args.tiles[0].cast(), reduce::F32, tile_rows, a.experts);
                largest::run(device, &scores, args.k, args.found.cast_mut())?;
            }
            let (grid, block) = rows::shape(tile_rows, a.experts);
            device.launch("mixture_rows", grid, block, 0, unsafe { bytes_of(&args) })?;
        }
        if !gradient {
            continue;
        }
        if !a.grad_x.is_null() && tile_rows > 0 {
            launch("mixture_to_x", &args, down, across_d, 1)?;
        }
        if of_weights {
            launch("mixture_to_weights", &args, across_d, across, 2 * at.splits)?;
            let values = 2 * a.experts * a.d;
            launch("mixture_add_weights", &args, values.div_ceil(u64::from(THREADS)).min(1 << 20), 1, 1)?;
        }
        if of_experts {
            launch("mixture_to_experts", &args, a.experts.div_ceil(COLUMNS), 3, at.splits)?;
            launch("mixture_add_experts", &args, a.experts.div_ceil(u64::from(THREADS)), 3, 1)?;
        }
    }
    if wants_loss && reduced {
        let divisor = if reduction == Reduction::Mean { a.rows.max(1) as f64 } else { 1.0 };
        let values = if a.rows == 0 { ptr::null() } else { all.losses.cast_const().cast() };
        let total = ReduceArgs { n: a.rows, values, loss_out: a.loss, divisor, ..Default::default() };
        reduce::run(device, &total, place(at.reduce).cast())?;
    }
    Ok(())
}
