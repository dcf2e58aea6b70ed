//! Barcode of one image: src/cpu/topology.

use crate::cpu::Cpu;
use crate::cpu::topology::{self, Grid, arena::Arena, barcode};
use crate::registry::entries::cubical_persistence::{Args, Call};
use crate::registry::{Error, Result};

const NAME: &str = "cubical_persistence";

pub fn check(a: &Args) -> Result<()> {
    topology::check_voxels(NAME, [a.depth, a.height, a.width])
}

pub fn cpu_workspace(a: &Args) -> u64 {
    let grid = Grid::new(a.depth as usize, a.height as usize, a.width as usize);
    barcode::workspace_bytes(&grid) as u64
}

pub fn cpu(_: &Cpu, call: &mut Call) -> Result<()> {
    let grid = Grid::new(call.depth, call.height, call.width);
    let image = topology::Values::new(call.image, 0, grid.voxels);
    if image.has_nan() {
        let bar =
            barcode::Bar { dimension: 0, birth: f32::NAN, death: f32::NAN, birth_voxel: -1, death_voxel: -1 };
        room(call, 1)?;
        write(call, 1, std::iter::once(bar));
        return Ok(());
    }
    let workspace = std::mem::take(&mut call.workspace);
    let found = barcode::barcode(&grid, |i| image.get(i), Arena::new(workspace));
    let found = found.map_err(|e| topology::out_of_memory(NAME, &e))?;
    room(call, found.len())?;
    write(call, found.len(), found.bars(&grid));
    Ok(())
}

/// Whether the bars fit, before anything is written.
fn room(call: &Call, count: usize) -> Result<()> {
    let wanted = call.births.is_some()
        || call.deaths.is_some()
        || call.dimensions.is_some()
        || call.birth_voxels.is_some()
        || call.death_voxels.is_some();
    if wanted && count > call.bars {
        return Err(Error::argument(format!(
            "{NAME}: argument 'bars' is {}, expected at least {count}, the number of bars of this image",
            call.bars
        )));
    }
    Ok(())
}

fn write(call: &mut Call, count: usize, bars: impl Iterator<Item = barcode::Bar>) {
    fn put<T>(output: &mut Option<&mut [T]>, i: usize, value: T) {
        if let Some(output) = output {
            output[i] = value;
        }
    }
    for (i, bar) in bars.enumerate() {
        put(&mut call.births, i, bar.birth);
        put(&mut call.deaths, i, bar.death);
        put(&mut call.dimensions, i, bar.dimension);
        put(&mut call.birth_voxels, i, bar.birth_voxel);
        put(&mut call.death_voxels, i, bar.death_voxel);
    }
    put(&mut call.count, 0, count as i64);
}
