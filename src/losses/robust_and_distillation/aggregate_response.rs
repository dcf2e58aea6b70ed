//! Losses of the means over bags and of the instances: sums per bag in parts of their own, then one more sweep.

#[path = "aggregate_response/bags.rs"]
mod bags;
#[path = "aggregate_response/finish.rs"]
mod finish;
#[path = "aggregate_response/sweeps.rs"]
mod sweeps;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::storage::read_one;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::Result;
use crate::registry::entries::aggregate_response::{Args, Call};
use bags::{Bag, FarSlope, NO_SHIFTS, Shifts, Slope};
use finish::Finish;
use sweeps::{CHUNK, Collect, Instances};

/// How many parts of the instances have sums of their own: by sizes alone, as sums depend on it.
fn parts(n: u64, m: u64) -> u64 {
    (n >> 15).min(n / (16 * m.max(1))).clamp(1, 16)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let sums = a.m.saturating_mul(parts(a.n, a.m));
    Size::default().add::<Bag>(sums).add::<Shifts>(sums).add::<Slope>(a.m).add::<FarSlope>(a.m).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, m, targets) = (call.n, call.m, call.bag_targets);
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let parts = parts(n as u64, m as u64) as usize;
    let sums = room.take_places::<Bag>(parts * m);
    let all_shifts = room.take_places::<Shifts>(parts * m);
    let (slopes, far_slopes) = (room.take_places::<Slope>(m), room.take_places::<FarSlope>(m));
    let instances = Instances { pred: call.pred, bags: call.bags, logistic: call.opts.kind != 0 };
    let collect = |with_shifts: bool| {
        let far = AtomicBool::new(false);
        cpu.run(parts, 16 * n, &|part| {
            let range = n * part / parts..n * (part + 1) / parts;
            // SAFETY: this part's sums.
            let to = unsafe { sums.fill(part * m, m, Bag::EMPTY) };
            let shifts = with_shifts.then(|| unsafe { all_shifts.fill(part * m, m, NO_SHIFTS) });
            far.fetch_or(cpu.isa.dispatch(Collect { instances, range, to, shifts }), Ordering::Relaxed);
        });
        far.into_inner()
    };
    // A second time if need be: far logits are rare.
    let far = collect(false);
    if far {
        collect(true);
    }

    let mut results = [(0.0, 0.0); MAX_BLOCKS];
    let of_blocks = Cells::new(&mut results);
    let blocks = Blocks::new(m, 1024, 1);
    cpu.run(blocks.count, 48 * m * parts, &|block| {
        let (mut loss, mut count) = (0.0, 0.0);
        for b in blocks.range(block) {
            // SAFETY: all written above.
            let shifts_at = |place: usize| if far { unsafe { all_shifts.get(place) } } else { [0.0; 2] };
            let sums_at = |place: usize| unsafe { sums.get(place) };
            let (mut bag, mut by) = (sums_at(b), shifts_at(b));
            for place in (1..parts).map(|part| part * m + b) {
                bag.merge(&mut by, &sums_at(place), &shifts_at(place));
            }
            if bag.is_empty() {
                slopes.set(b, Slope::default());
                far_slopes.set(b, FarSlope::default());
                continue;
            }
            // SAFETY: bag b is within the checked buffer.
            let y = f64::from(unsafe { read_one(targets.dtype, targets.at(b)) });
            let (of_bag, slope) = bag.finish(instances.logistic, &by, y);
            loss += of_bag;
            count += 1.0;
            slopes.set(b, slope.near());
            if far {
                all_shifts.set(b, by);
                far_slopes.set(b, slope);
            }
        }
        of_blocks.set(block, (loss, count));
    });
    let (mut of_bags, mut count) = (0.0, 0.0f64);
    for result in &results[..blocks.count] {
        of_bags += result.0;
        count += result.1;
    }

    let weight = call.opts.instance_weight;
    let g = call.grad_loss.map_or(1.0, |g| f64::from(g[0]));
    let factors = [g * (1.0 - weight) / count.max(1.0), g * weight / n.max(1) as f64];
    let gradient = call.grad_pred;
    let mut of_instances = 0.0;
    if call.loss.is_some() || call.instance_loss.is_some() || gradient.is_some() {
        // SAFETY: written above, and nobody writes them any more.
        let slopes = unsafe { slopes.slice(0, m) };
        let far = far.then(|| unsafe { (far_slopes.slice(0, m), all_shifts.slice(0, m)) });
        let blocks = Blocks::new(n, 4096, CHUNK);
        of_instances = cpu.sum(blocks.count, 16 * n, &|block| {
            let range = blocks.range(block);
            cpu.isa.dispatch(Finish { instances, range, slopes, far, factors, gradient })
        });
    }
    let (bag, instance) = (of_bags / count.max(1.0), of_instances / n.max(1) as f64);
    let total = (1.0 - weight) * bag + weight * instance;
    for (out, value) in
        [(&mut call.loss, total), (&mut call.bag_loss, bag), (&mut call.instance_loss, instance)]
    {
        if let Some(out) = out {
            out[0] = value as f32;
        }
    }
    Ok(())
}

/// Blocks that leave sums, of bags and of instances.
#[cfg(gpu)]
const BLOCKS: u64 = 512;

/// The three kinds of memory: sums of bags, their slopes, sums of blocks.
#[cfg(gpu)]
fn regions(a: &Args) -> [u64; 3] {
    let part = |count: u64, each: u64| count.saturating_mul(each).div_ceil(256).saturating_mul(256);
    [part(a.m, 48), part(a.m, 24), part(2 * BLOCKS, 16)]
}

#[cfg(gpu)]
pub fn cuda(device: &dyn crate::cuda::Device, a: &Args) -> Result<()> {
    use crate::registry::Pass;
    let pass = Pass::from_code(a.pass);
    let outputs = [a.loss, a.bag_loss, a.instance_loss];
    let wants_loss = pass.forward() && outputs.iter().any(|out| !out.is_null());
    let wants_gradient = pass.backward() && !a.grad_pred.is_null();
    if !wants_loss && !wants_gradient {
        return Ok(());
    }
    let launch = |kernel: &str, blocks: u64| {
        let grid = [blocks.clamp(1, BLOCKS) as u32, 1, 1];
        device.launch(kernel, grid, [256, 1, 1], 0, unsafe { crate::cuda::bytes_of(a) })
    };
    if a.n > 0 {
        let (instances, bags) = (a.n.div_ceil(1024), a.m.div_ceil(256));
        launch("aggregate_response_clear", bags)?;
        launch("aggregate_response_ranges", instances)?;
        launch("aggregate_response_sums", instances)?;
        launch("aggregate_response_bags", bags)?;
        launch("aggregate_response", instances)?;
    }
    if wants_loss {
        launch("aggregate_response_value", 1)?;
    }
    Ok(())
}

#[cfg(gpu)]
pub fn cuda_workspace(a: &Args) -> u64 {
    regions(a).into_iter().fold(0, u64::saturating_add)
}
