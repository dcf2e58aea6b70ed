//! The systems on a device.

use crate::cuda::dense::{self, Buffer};
use crate::cuda::{Device, align_up, bytes_of};
use crate::registry::Result;
use crate::registry::entries::ridge_regression::Args;

/// Parts that the loss is summed in.
const PARTS: u64 = 256;

/// Mirrors kernels/preference_and_structure/ridge_regression.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct RidgeArgs {
    call: Args,
    matrix: *mut f64,
    side: u64,
    weights: *mut f64,
    residuals: *mut f64,
    parts: *mut f64,
}

/// Where the matrix, the weights, the dual weights, the residuals, the parts of the loss and those of products end.
fn ends(a: &Args) -> [u64; 6] {
    let side = a.n.min(a.m);
    let of_samples = a.n.saturating_mul(a.k);
    let system = dense::parts_len(side, side, a.n.max(a.m), true);
    let products = system.max(dense::parts_len(a.m, a.k, a.n, false));
    let sizes =
        [side.saturating_mul(side), a.m.saturating_mul(a.k), of_samples, of_samples, 2 * PARTS, products];
    let mut end = 0u64;
    sizes.map(|size| {
        end = end.saturating_add(align_up(size.saturating_mul(8).min(u64::MAX - 256)));
        end
    })
}

pub fn cuda_workspace(a: &Args) -> u64 {
    ends(a)[5]
}

pub fn cuda(device: &dyn Device, a: &Args) -> Result<()> {
    if a.weights.is_null() && a.loss.is_null() {
        return Ok(());
    }
    let ends = ends(a);
    let at =
        |i: usize| a.workspace.wrapping_byte_add(if i == 0 { 0 } else { ends[i - 1] as usize }).cast::<f64>();
    let [matrix, weights, dual, residuals, parts, room] = [0, 1, 2, 3, 4, 5].map(at);
    let (n, m, k) = (a.n, a.m, a.k);
    let side = n.min(m);
    let args = RidgeArgs { call: *a, matrix, side, weights, residuals, parts };
    let launch = |kernel: &str, blocks: u64| {
        // SAFETY: a struct of integers, floats and pointers.
        device.launch(kernel, [blocks as u32, 1, 1], [256, 1, 1], 0, unsafe { bytes_of(&args) })
    };
    let features = Buffer::of(a.features, a.dtype).matrix(n, m);
    let target = Buffer::of(a.target, a.dtype).matrix(n, k);
    let of_weights = Buffer::f64(weights);
    let system = Buffer::f64(matrix);
    if m > n && n > 0 {
        dense::long_product(device, features, features.t(), system, true, room)?;
        launch("ridge_diagonal", side.div_ceil(256))?;
        dense::copy(device, Buffer::of(a.target, a.dtype), Buffer::f64(dual), n * k)?;
        dense::cholesky_solve(device, matrix, n, dual, k)?;
        dense::long_product(device, features.t(), Buffer::f64(dual).matrix(n, k), of_weights, false, room)?;
    } else {
        dense::long_product(device, features.t(), target, of_weights, false, room)?;
        if n > 0 {
            dense::long_product(device, features.t(), features, system, true, room)?;
            launch("ridge_diagonal", side.div_ceil(256))?;
            dense::cholesky_solve(device, matrix, m, weights, k)?;
        }
    }
    if !a.weights.is_null() {
        dense::copy(device, of_weights, Buffer::f32(a.weights), m * k)?;
    }
    if !a.loss.is_null() {
        let predictions = of_weights.matrix(m, k);
        dense::product(device, features, predictions, None, None, Buffer::f64(residuals))?;
        launch("ridge_squares", PARTS)?;
        launch("ridge_regression", 1)?;
    }
    Ok(())
}
