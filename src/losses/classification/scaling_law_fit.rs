//! Least squares of log(l_inf + (x0 / x)^alpha) - log y by Levenberg-Marquardt from several starts.

use crate::cpu::parallel::Cells;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::entries::scaling_law_fit::{Args, Call};
use crate::registry::{Error, Result};

const ALPHAS: [f64; 4] = [0.05, 0.2, 0.5, 1.0];
/// Of the smallest y.
const CONSTANTS: [f64; 3] = [0.0, 0.5, 0.9];
const ALPHA_RANGE: (f64, f64) = (1e-6, 10.0);
/// Of parameters, at the end.
const STEP: f64 = 1e-12;
const MOST_STEPS: usize = 500;

/// log x about their mean, and log y.
struct Data<'a> {
    t: &'a [f64],
    log_y: &'a [f64],
    least_y: f64,
}

/// `log_scale`, alpha, l_inf: y = l_inf + exp(log_scale - alpha t).
type Parameters = [f64; 3];

#[derive(Clone, Copy)]
struct Fit {
    parameters: Parameters,
    cost: f64,
}

/// Sum of squares, and what Gauss and Newton make of it: half its gradient, and the matrix of products of slopes.
#[derive(Clone, Copy)]
struct Sums {
    cost: f64,
    gradient: [f64; 3],
    matrix: [[f64; 3]; 3],
}

impl Data<'_> {
    fn sums(&self, [log_scale, alpha, constant]: Parameters) -> Sums {
        let mut sums = Sums { cost: 0.0, gradient: [0.0; 3], matrix: [[0.0; 3]; 3] };
        for (&t, &log_y) in self.t.iter().zip(self.log_y) {
            let power = (log_scale - alpha * t).exp();
            let value = constant + power;
            let residual = value.ln() - log_y;
            let slopes = [power / value, -t * power / value, 1.0 / value];
            sums.cost += residual * residual;
            for i in 0..3 {
                sums.gradient[i] += slopes[i] * residual;
                for j in 0..3 {
                    sums.matrix[i][j] += slopes[i] * slopes[j];
                }
            }
        }
        sums
    }

    fn bounds(&self) -> [(f64, f64); 3] {
        [(f64::NEG_INFINITY, f64::INFINITY), ALPHA_RANGE, (0.0, self.least_y * (1.0 - 1e-12))]
    }

    /// A minimum near the start.
    fn fit(&self, alpha: f64, share: f64, with_constant: bool) -> Fit {
        let bounds = self.bounds();
        let constant = share * self.least_y;
        let logs = self.t.iter().zip(self.log_y);
        let log_scale: f64 = logs.map(|(t, log_y)| (log_y.exp() - constant).ln() + alpha * t).sum();
        let mut at = [log_scale / self.t.len() as f64, alpha, constant];
        let mut sums = self.sums(at);
        let mut damping = 1e-3;
        for _ in 0..MOST_STEPS {
            let free = [0, 1, 2].map(|i| {
                let (low, high) = bounds[i];
                let out =
                    (at[i] <= low && sums.gradient[i] > 0.0) || (at[i] >= high && sums.gradient[i] < 0.0);
                !out && (i < 2 || with_constant)
            });
            let step = solve(&sums, damping, free);
            let next = [0, 1, 2].map(|i| (at[i] + step[i]).clamp(bounds[i].0, bounds[i].1));
            let there = self.sums(next);
            // Up to rounding: the last steps change parameters, not the sum.
            if there.cost <= sums.cost * (1.0 + 1e-14) {
                let size = [1.0 + at[0].abs(), at[1], self.least_y];
                let done = (0..3).all(|i| (next[i] - at[i]).abs() <= STEP * size[i]);
                (at, sums) = (next, there);
                damping = (damping * 0.1f64).max(1e-14);
                if done {
                    break;
                }
            } else {
                damping *= 10.0;
                // Also with a NaN, which is no larger than anything.
                if !(damping <= 1e10) {
                    break;
                }
            }
        }
        Fit { parameters: at, cost: sums.cost }
    }
}

/// The damped step of the free parameters, by Cholesky's decomposition; 0 for those that do not matter.
fn solve(sums: &Sums, damping: f64, free: [bool; 3]) -> [f64; 3] {
    let (mut l, mut z) = ([[0.0; 3]; 3], [0.0; 3]);
    let mut usable = free;
    for i in 0..3 {
        for j in 0..i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            l[i][j] = if usable[i] && usable[j] { (sums.matrix[i][j] - dot) / l[j][j] } else { 0.0 };
        }
        let dot: f64 = (0..i).map(|k| l[i][k] * l[i][k]).sum();
        let pivot = sums.matrix[i][i] * (1.0 + damping) - dot;
        usable[i] = usable[i] && pivot > 0.0;
        l[i][i] = if usable[i] { pivot.sqrt() } else { 1.0 };
        let dot: f64 = (0..i).map(|k| l[i][k] * z[k]).sum();
        z[i] = if usable[i] { (-sums.gradient[i] - dot) / l[i][i] } else { 0.0 };
    }
    for i in (0..3).rev() {
        let dot: f64 = (i + 1..3).map(|k| l[k][i] * z[k]).sum();
        z[i] = if usable[i] { (z[i] - dot) / l[i][i] } else { 0.0 };
    }
    z
}

pub fn check(a: &Args) -> Result<()> {
    if a.opts.with_constant != 0 && a.n < 4 {
        return Err(Error::argument(format!(
            "scaling_law_fit: argument 'n' is {}, expected at least 4 with_constant",
            a.n
        )));
    }
    Ok(())
}

pub fn cpu_workspace(a: &Args) -> u64 {
    Size::default().add::<f64>(a.n).add::<f64>(a.n).bytes()
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> Result<()> {
    let n = call.n;
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let (t, log_y) = (room.take(n, 0.0f64), room.take(n, 0.0f64));
    t.iter_mut().zip(call.x).for_each(|(t, &x)| *t = f64::from(x).ln());
    log_y.iter_mut().zip(call.y).for_each(|(log, &y)| *log = f64::from(y).ln());
    let mean = t.iter().sum::<f64>() / n as f64;
    t.iter_mut().for_each(|t| *t -= mean);
    let least_y = call.y.iter().fold(f64::INFINITY, |least, &y| least.min(f64::from(y)));
    let data = Data { t, log_y, least_y };
    let with_constant = call.opts.with_constant != 0;
    let constants = if with_constant { &CONSTANTS[..] } else { &CONSTANTS[..1] };
    let starts = ALPHAS.len() * constants.len();
    let mut fits = [Fit { parameters: [f64::NAN; 3], cost: f64::NAN }; ALPHAS.len() * CONSTANTS.len()];
    let places = Cells::new(&mut fits[..starts]);
    cpu.run(starts, n * 1000, &|i| {
        places.set(i, data.fit(ALPHAS[i / constants.len()], constants[i % constants.len()], with_constant));
    });
    let mut best = fits[0];
    for fit in &fits[1..starts] {
        if fit.cost < best.cost || best.cost.is_nan() {
            best = *fit;
        }
    }
    if best.cost.is_nan() {
        best.parameters = [f64::NAN; 3];
    }
    let [log_scale, alpha, constant] = best.parameters;
    let put = |out: &mut Option<&mut [f32]>, value: f64| {
        if let Some(out) = out {
            out[0] = value as f32;
        }
    };
    put(&mut call.alpha, alpha);
    put(&mut call.log_x0, log_scale / alpha + mean);
    put(&mut call.l_inf, constant);
    put(&mut call.residual, (best.cost / n as f64).sqrt());
    Ok(())
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    // A warp for each start.
    let threads = 32 * (ALPHAS.len() * CONSTANTS.len()) as u32;
    let args = unsafe { crate::cuda::bytes_of(a) };
    Ok(device.launch("scaling_law_fit", [1, 1, 1], [threads, 1, 1], 0, args)?)
}

#[cfg(gpu)]
pub fn cuda_workspace(_a: &Args) -> u64 {
    0
}
