//! Sum over matched and unmatched bars: src/cpu/topology/matching.rs. Images in parallel, each with a part of
//! the workspace of its own.

use crate::cpu::Cpu;
use crate::cpu::storage::write_one;
use crate::cpu::topology::arena::{Arena, bytes};
use crate::cpu::topology::{self, Grid, OutOfMemory, Values, matching};
use crate::registry::entries::betti_matching_loss::{Args, Call, Options};
use crate::registry::{DType, Floats, FloatsMut, Reduction, Result};
use std::mem::MaybeUninit;
use std::sync::Mutex;

const NAME: &str = "betti_matching_loss";

/// How much memory several images at a time may take, if it is more than two.
const ROOM: usize = 512 << 20;

pub fn check(a: &Args) -> Result<()> {
    topology::check_voxels(NAME, [a.depth, a.height, a.width])
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let grid = Grid::new(a.depth as usize, a.height as usize, a.width as usize);
    let batch = a.batch as usize;
    let slots = slots(&grid, batch) as u64;
    (bytes::<f64>(batch) as u64).saturating_add(slots.saturating_mul(slot_bytes(&grid) as u64))
}

fn slot_bytes(grid: &Grid) -> usize {
    bytes::<f32>(grid.voxels) + matching::workspace_bytes(grid)
}

/// Images that are worked on at the same time.
fn slots(grid: &Grid, batch: usize) -> usize {
    (ROOM / slot_bytes(grid).max(1)).clamp(2, 64).min(batch)
}

pub fn cpu(cpu: &Cpu, call: &mut Call) -> Result<()> {
    let grid = Grid::new(call.depth, call.height, call.width);
    let workspace = std::mem::take(&mut call.workspace);
    let (losses, workspace) = workspace.split_at_mut(bytes::<f64>(call.batch).min(workspace.len()));
    let losses = Arena::new(losses).take(call.batch, 0.0f64);
    let slots = slots(&grid, call.batch);
    let work = Work {
        grid,
        opts: call.opts,
        batch: call.batch,
        pred: call.pred,
        target: call.target,
        forward: call.pass.forward()
            && (call.loss.is_some() || call.matched.is_some() || call.unmatched.is_some()),
        losses: Shared::new(losses),
        matched: call.matched.as_deref_mut().map(Shared::new),
        unmatched: call.unmatched.as_deref_mut().map(Shared::new),
        saved_in: call.saved_in,
        saved_out: call.saved_out.as_deref_mut().map(Shared::new),
        grad_loss: call.grad_loss,
        gradient: call.grad_pred,
        failure: Mutex::new(None),
    };
    let rooms = Shared::new(workspace);
    let traffic = call.batch.saturating_mul(grid.voxels).saturating_mul(256);
    cpu.run(slots, traffic, &|slot| {
        // SAFETY: every slot has a part of its own.
        let room = unsafe { rooms.part(slot, slot_bytes(&grid)) };
        for image in (slot..call.batch).step_by(slots) {
            if let Err(error) = work.image(cpu, image, room) {
                *work.failure.lock().unwrap_or_else(|e| e.into_inner()) = Some(error);
                return;
            }
        }
    });
    if let Some(error) = work.failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(topology::out_of_memory(NAME, &error));
    }
    if let Some(loss) = &mut call.loss {
        // SAFETY: no slot runs any more.
        let losses = unsafe { work.losses.part(0, call.batch) };
        match Reduction::from_code(call.opts.reduction) {
            Reduction::None => loss.iter_mut().zip(losses).for_each(|(to, loss)| *to = *loss as f32),
            Reduction::Sum => loss[0] = losses.iter().sum::<f64>() as f32,
            Reduction::Mean | Reduction::BatchMean => {
                loss[0] = (losses.iter().sum::<f64>() / call.batch.max(1) as f64) as f32
            }
        }
    }
    Ok(())
}

/// A buffer of which every image or slot has its own part.
struct Shared<T> {
    first: *mut T,
    len: usize,
}

// SAFETY: see `part`.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(of: &mut [T]) -> Shared<T> {
        Shared { first: of.as_mut_ptr(), len: of.len() }
    }

    /// # Safety
    /// Nobody else has this part at the time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, number: usize, each: usize) -> &mut [T] {
        assert!((number + 1) * each <= self.len);
        unsafe { std::slice::from_raw_parts_mut(self.first.add(number * each), each) }
    }
}

struct Work<'a> {
    grid: Grid,
    opts: &'a Options,
    batch: usize,
    pred: Floats<'a>,
    target: Floats<'a>,
    forward: bool,
    losses: Shared<f64>,
    matched: Option<Shared<i64>>,
    unmatched: Option<Shared<i64>>,
    saved_in: Option<&'a [f32]>,
    saved_out: Option<Shared<f32>>,
    grad_loss: Option<&'a [f32]>,
    gradient: Option<FloatsMut<'a>>,
    failure: Mutex<Option<OutOfMemory>>,
}

impl Work<'_> {
    fn image(
        &self,
        cpu: &Cpu,
        image: usize,
        room: &mut [MaybeUninit<u8>],
    ) -> std::result::Result<(), OutOfMemory> {
        let n = self.grid.voxels;
        if let (Some(saved), false) = (self.saved_in, self.forward) {
            self.write(image, &saved[image * n..(image + 1) * n]);
            return Ok(());
        }
        let mut room = Arena::new(room);
        let own = room.take(n, 0.0f32);
        let slope = match &self.saved_out {
            // SAFETY: this image's alone.
            Some(saved) => unsafe { saved.part(image, n) },
            None => own,
        };
        slope.fill(0.0);
        let [pred, target] = [self.pred, self.target].map(|values| Values::new(values, image, n));
        let found = if pred.has_nan() || target.has_nan() {
            slope.fill(f32::NAN);
            matching::Matched { loss: f64::NAN, ..Default::default() }
        } else {
            let gradient = (self.saved_out.is_some() || self.gradient.is_some()).then_some(&mut *slope);
            // Several images keep the threads busy by themselves.
            let traffic = if self.batch == 1 { n.saturating_mul(128) } else { 0 };
            matching::matching(cpu, traffic, &self.grid, |i| pred.get(i), |i| target.get(i), gradient, room)?
        };
        // SAFETY: this image's alone.
        unsafe {
            self.losses.part(image, 1)[0] = found.loss;
            for (to, count) in [(&self.matched, found.matched), (&self.unmatched, found.unmatched)] {
                if let Some(to) = to {
                    to.part(image, 1)[0] = count;
                }
            }
        }
        self.write(image, slope);
        Ok(())
    }

    /// The gradient from the one for an upstream gradient of 1.
    fn write(&self, image: usize, slope: &[f32]) {
        let Some(gradient) = self.gradient else { return };
        let upstream = |i: usize| f64::from(self.grad_loss.map_or(1.0, |g| g[i]));
        let s = match Reduction::from_code(self.opts.reduction) {
            Reduction::None => upstream(image),
            Reduction::Sum => upstream(0),
            Reduction::Mean | Reduction::BatchMean => upstream(0) / self.batch as f64,
        };
        // SAFETY: within this image's part of the gradient.
        let at = |i: usize| unsafe { gradient.at(image * slope.len() + i) };
        let scaled = |g: f32| (s * f64::from(g)) as f32;
        match gradient.dtype {
            DType::F32 => {
                slope.iter().enumerate().for_each(|(i, &g)| unsafe { *at(i).cast::<f32>() = scaled(g) })
            }
            dtype => {
                slope.iter().enumerate().for_each(|(i, &g)| unsafe { write_one(dtype, scaled(g), at(i)) })
            }
        }
    }
}
