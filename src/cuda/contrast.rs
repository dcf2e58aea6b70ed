//! Host half of kernels/tiles/contrast.cuh: losses of anchors against a softmax of similarities with one positive.

use std::ffi::c_void;
use std::ptr;

use super::reduce::{self, PAIRS, ReduceArgs};
use super::tiles::{self, Embeddings, Scratch, Tiles, Workspace};
use super::{Device, Result, bytes_of};
use crate::registry::{Pass, Reduction};

/// As in the kernel; see `cpu::tiles::Directions`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Directions {
    Rows,
    Both,
    /// `a` and `b` are stacked, and are rows and columns of the matrix alike.
    Mirror,
}

/// Mirrors `lk_contrast_args`.
#[repr(C)]
#[derive(Clone, Copy)]
struct ContrastArgs {
    tiles: Tiles,
    rows: u64,
    columns: u64,
    positives: *const i64,
    offset: u64,
    rest: *mut f32,
    own: *mut f32,
    means: *mut f32,
    log_sums: *mut f32,
    weights: *mut f32,
    pulls: *mut f32,
    losses: *mut f32,
    lse: *mut f32,
    grad_loss: *const f32,
    flags: *mut u32,
    factor: f64,
    smoothing: f64,
    directions: i32,
    grad_per_anchor: i32,
    backward: i32,
}

/// What a call wants. Pointers may be null where something is absent or not wanted.
#[derive(Clone, Copy)]
pub struct ContrastPlan {
    pub directions: Directions,
    /// Rows of a and b.
    pub n: u64,
    pub m: u64,
    pub d: u64,
    pub dtype: i32,
    pub a: *const c_void,
    pub b: *const c_void,
    pub normalize: bool,
    /// S = alpha (or the scale, which is on the device) times a^ b^'.
    pub alpha: f64,
    pub scale: *const f32,
    pub positives: *const i64,
    pub offset: u64,
    pub smoothing: f64,
    pub reduction: Reduction,
    pub pass: Pass,
    pub loss: *mut f32,
    pub lse: *mut f32,
    pub saved: *mut f32,
    pub grad_loss: *const f32,
    pub grad_a: *mut c_void,
    pub grad_b: *mut c_void,
    pub grad_scale: *mut f32,
    pub workspace: *mut c_void,
    pub flags: *mut u32,
}

/// Where things are in the workspace.
struct Layout {
    a: Embeddings,
    b: Embeddings,
    rest: *mut f32,
    own: *mut f32,
    /// Smoothing, then log sums, weights and pulls by anchor, and losses.
    means: *mut f32,
    by_anchor: [*mut f32; 3],
    losses: *mut f32,
    gradients: [*mut f32; 2],
    dots: *mut f64,
    tiles: Scratch,
    scratch: *mut f64,
}

/// Bytes of `Contrast::Stat`.
const STAT: u64 = 24;

impl ContrastPlan {
    fn mirror(&self) -> bool {
        self.directions == Directions::Mirror
    }

    /// Of the matrix.
    fn rows(&self) -> u64 {
        if self.mirror() { self.n.saturating_mul(2) } else { self.n }
    }

    fn columns(&self) -> u64 {
        if self.mirror() { self.rows() } else { self.m }
    }

    fn anchors(&self) -> u64 {
        let both = self.directions == Directions::Both;
        if both { self.rows().saturating_add(self.columns()) } else { self.rows() }
    }

    fn layout(&self, work: &mut Workspace) -> Layout {
        let (rows, anchors, d) = (self.rows(), self.anchors(), self.d);
        let a = Embeddings::new(rows, d, self.dtype, self.normalize, work);
        let b = match self.mirror() {
            true => a,
            false => Embeddings::new(self.m, d, self.dtype, self.normalize, work),
        };
        let of_b = if self.mirror() { 0 } else { self.m.saturating_mul(d) };
        Layout {
            a,
            b,
            rest: work.take(anchors),
            own: work.take(rows),
            means: work.take(rows),
            by_anchor: [work.take(anchors), work.take(anchors), work.take(anchors)],
            losses: work.take(anchors),
            gradients: [work.take(rows.saturating_mul(d)), work.take(of_b)],
            dots: work.take(rows.saturating_mul(2)),
            tiles: Scratch::new(rows, self.columns(), d, self.dtype, STAT, work),
            scratch: work.take(reduce::scratch_bytes(anchors.max(self.m)).div_ceil(8)),
        }
    }
}

pub fn workspace_size(p: &ContrastPlan) -> u64 {
    let mut work = Workspace::new(ptr::null_mut());
    p.layout(&mut work);
    work.bytes()
}

pub fn run(dev: &dyn Device, p: &ContrastPlan) -> Result<()> {
    let layout = p.layout(&mut Workspace::new(p.workspace));
    let forward = p.pass.forward() && !(p.loss.is_null() && p.lse.is_null() && p.saved.is_null());
    let wants_scale = !p.grad_scale.is_null();
    let backward = p.pass.backward() && !(p.grad_a.is_null() && p.grad_b.is_null() && !wants_scale);
    if !forward && !backward {
        return Ok(());
    }
    let (rows, columns, anchors) = (p.rows(), p.columns(), p.anchors());
    if p.mirror() {
        layout.a.part(0, p.n).prepare(dev, p.a)?;
        layout.a.part(p.n, p.n).prepare(dev, p.b)?;
    } else {
        layout.a.prepare(dev, p.a)?;
        layout.b.prepare(dev, p.b)?;
    }
    let restored = !p.pass.forward() && !p.saved.is_null();
    let (rest, own) = match p.saved.is_null() {
        true => (layout.rest, layout.own),
        false => (p.saved, p.saved.wrapping_add(anchors as usize)),
    };
    let reduced = p.reduction != Reduction::None;
    let wants_loss = forward && !p.loss.is_null();
    let counted = if p.reduction == Reduction::Mean { anchors.max(1) as f64 } else { 1.0 };
    let [log_sums, weights, pulls] = layout.by_anchor;
    let args = ContrastArgs {
        tiles: Tiles::new(&layout.a, &layout.b, 0, p.alpha as f32, p.scale, &layout.tiles),
        rows,
        columns,
        positives: p.positives,
        offset: p.offset,
        rest,
        own,
        means: if p.smoothing > 0.0 && forward { layout.means } else { ptr::null_mut() },
        log_sums,
        weights,
        pulls,
        losses: match (wants_loss, reduced) {
            (false, _) => ptr::null_mut(),
            (true, false) => p.loss,
            (true, true) => layout.losses,
        },
        lse: if forward { p.lse } else { ptr::null_mut() },
        grad_loss: p.grad_loss,
        flags: p.flags,
        factor: 1.0 / counted,
        smoothing: p.smoothing,
        directions: p.directions as i32,
        grad_per_anchor: i32::from(!reduced),
        backward: i32::from(backward),
    };
    let statistics = |args: &ContrastArgs| {
        // SAFETY: a struct of integers, floats and pointers.
        args.tiles.statistics(dev, &layout.tiles, ["contrast_statistics", "contrast_finish"], unsafe {
            bytes_of(args)
        })
    };
    if !restored {
        statistics(&args)?;
        if p.directions == Directions::Both {
            let tiles = Tiles::new(&layout.b, &layout.a, 1, p.alpha as f32, p.scale, &layout.tiles);
            statistics(&ContrastArgs { tiles, ..args })?;
        }
    }
    if anchors > 0 {
        let blocks = anchors.div_ceil(256).min(0x7fff_ffff) as u32;
        // SAFETY: as above.
        dev.launch("contrast_between", [blocks, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(&args) })?;
    }
    if wants_loss && reduced {
        let values = if anchors == 0 { ptr::null() } else { layout.losses.cast_const().cast() };
        let total =
            ReduceArgs { n: anchors, values, loss_out: p.loss, divisor: counted, ..Default::default() };
        reduce::run(dev, &total, layout.scratch)?;
    }
    if !backward {
        return Ok(());
    }
    let takes_b = !p.mirror() && !p.grad_b.is_null();
    let takes_a = p.mirror() || !p.grad_a.is_null() || wants_scale;
    let wanted = |wanted: bool, gradients: *mut f32| if wanted { gradients } else { ptr::null_mut() };
    let [of_a, of_b] = layout.gradients;
    tiles::gradients(
        dev,
        [&layout.a, &layout.b],
        &layout.tiles,
        &args.tiles,
        [wanted(takes_a, of_a), wanted(takes_b, of_b)],
        |tiles, product, grid| {
            let args = ContrastArgs { tiles: *tiles, ..args };
            // SAFETY: as above.
            product.launch(dev, "contrast_weights", grid, unsafe { bytes_of(&args) })
        },
    )?;
    if wants_scale {
        // sum_i a^_i . (W b^)_i
        layout.a.dots(dev, of_a, layout.dots)?;
        let total = ReduceArgs {
            n: rows,
            values: layout.dots.cast_const().cast(),
            values_kind: PAIRS,
            loss_out: p.grad_scale,
            divisor: 1.0,
            ..Default::default()
        };
        reduce::run(dev, &total, layout.scratch)?;
    }
    let parts = match p.mirror() {
        true => [
            (layout.a.part(0, p.n), of_a),
            (layout.a.part(p.n, p.n), of_a.wrapping_add((p.n * p.d) as usize)),
        ],
        false => [(layout.a, of_a), (layout.b, of_b)],
    };
    for ((part, gradients), out) in parts.into_iter().zip([p.grad_a, p.grad_b]) {
        if !out.is_null() {
            part.write_back(dev, gradients, p.alpha, p.scale, out)?;
        }
    }
    Ok(())
}
