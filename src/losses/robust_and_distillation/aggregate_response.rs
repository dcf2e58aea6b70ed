//! Losses of the means over bags and of the instances: sums per bag in parts of their own, then one more sweep.

#[path = "aggregate_response/bags.rs"]
mod bags;
#[path = "aggregate_response/sweeps.rs"]
mod sweeps;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells, MAX_BLOCKS};
use crate::cpu::storage::read_one;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::Result;
use crate::registry::entries::aggregate_response::{Args, Call};
use bags::{Bag, NO_SHIFTS, Shifts, Slope};
use sweeps::{CHUNK, Collect, Far, Finish, Instances};

/// How many parts of the instances have sums of their own: by sizes alone, as sums depend on it.
fn parts(n: u64, m: u64) -> u64 {
    (n >> 15).min(n / (4 * m.max(1))).clamp(1, 16)
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let sums = a.m.saturating_mul(parts(a.n, a.m));
    Size::default().add::<Bag>(sums).add::<Shifts>(sums).add::<Slope>(a.m).bytes()
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let (n, m, targets) = (call.n, call.m, call.bag_targets);
    let mut room = Workspace::new(std::mem::take(&mut call.workspace));
    let parts = parts(n as u64, m as u64) as usize;
    let sums = Cells::new(room.take(parts * m, Bag::EMPTY));
    let all_shifts = room.take_blank::<Shifts>(parts * m);
    let slopes = room.take(m, Slope::default());
    let instances = Instances { pred: call.pred, bags: call.bags, logistic: call.opts.kind != 0 };
    let range_of = |part: usize| n * part / parts..n * (part + 1) / parts;
    let far = AtomicBool::new(false);
    if instances.logistic {
        cpu.run(parts, n * call.pred.dtype.size(), &|part| {
            far.fetch_or(cpu.isa.dispatch(Far { instances, range: range_of(part) }), Ordering::Relaxed);
        });
    }
    let shifts = far.into_inner().then(|| {
        all_shifts.iter_mut().for_each(|place| _ = place.write(NO_SHIFTS));
        // SAFETY: just initialised.
        Cells::new(unsafe { &mut *(std::ptr::from_mut(all_shifts) as *mut [Shifts]) })
    });
    cpu.run(parts, 16 * n, &|part| {
        // SAFETY: this part's sums.
        let to = unsafe { std::slice::from_raw_parts_mut(sums.at(part * m), m) };
        let shifts = shifts.map(|all| unsafe { std::slice::from_raw_parts_mut(all.at(part * m), m) });
        cpu.isa.dispatch(Collect { instances, range: range_of(part), to, shifts });
    });

    let mut results = [(0.0, 0.0); MAX_BLOCKS];
    let (of_blocks, of_bags) = (Cells::new(&mut results), Cells::new(slopes));
    let blocks = Blocks::new(m, 1024, 1);
    cpu.run(blocks.count, 48 * m * parts, &|block| {
        let (mut loss, mut count) = (0.0, 0.0);
        for b in blocks.range(block) {
            let shifts_at = |place: usize| shifts.map_or([0.0; 2], |all| all.get(place));
            let (mut bag, mut by) = (sums.get(b), shifts_at(b));
            for place in (1..parts).map(|part| part * m + b) {
                bag.merge(&mut by, &sums.get(place), &shifts_at(place));
            }
            if bag.is_empty() {
                continue;
            }
            if let Some(shifts) = shifts {
                shifts.set(b, by);
            }
            // SAFETY: bag b is within the checked buffer.
            let y = f64::from(unsafe { read_one(targets.dtype, targets.at(b)) });
            let (of_bag, slope) = bag.finish(instances.logistic, &by, y);
            loss += of_bag;
            count += 1.0;
            of_bags.set(b, slope);
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
        let slopes: &[Slope] = slopes;
        // SAFETY: nobody writes them any more.
        let shifts = shifts.map(|all| unsafe { std::slice::from_raw_parts(all.at(0).cast_const(), m) });
        let blocks = Blocks::new(n, 4096, CHUNK);
        of_instances = cpu.sum(blocks.count, 16 * n, &|block| {
            let range = blocks.range(block);
            cpu.isa.dispatch(Finish { instances, range, slopes, shifts, factors, gradient })
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
