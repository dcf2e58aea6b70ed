//! The order in which tiles are made and used.

use super::products::Logits;
use super::sums::Sums;
use super::tiling::{Tile, Tiling};
use super::{Gradients, LinearRows};
use crate::cpu::Cpu;
use crate::cpu::cross_entropy::{CrossEntropy, Part, Stats};
use crate::cpu::rows::RowLoss;
use crate::cpu::storage;
use std::ops::Range;

/// Gradients of a call, as sums.
struct Outputs<'a> {
    x: Option<Sums<'a>>,
    gradients: Gradients<'a>,
}

impl LinearRows<'_> {
    /// Forward: statistics of all rows, which the other functions need.
    pub fn forward(&self, cpu: &Cpu, saved: Option<&mut [f32]>) {
        let tiling = self.tilings.passing;
        for rows in tiling.rows(self.len()) {
            self.read(cpu, &rows);
            self.clear_parts(&tiling, &rows);
            for classes in tiling.classes(self.classes) {
                let tile = tiling.tile(rows.clone(), classes);
                self.units(cpu, &tile, Logits::Missing, None::<&fn(usize) -> f32>);
            }
            self.finish_parts(&tiling, &rows);
        }
        self.save(saved);
    }

    /// Backward: `scale(i)` is what the gradient of row `i` is multiplied by.
    pub fn backward(&self, cpu: &Cpu, scale: impl Fn(usize) -> f32 + Sync, out: Gradients) {
        if !out.any() {
            return;
        }
        let out = self.begin(out);
        let tiling = self.tilings.passing;
        let mut held = 0..0;
        for classes in tiling.classes(self.classes) {
            let weight = self.begin_classes(&out, &classes);
            for rows in tiling.rows(self.len()) {
                if held != rows {
                    self.read(cpu, &rows);
                    held = rows.clone();
                }
                let tile = tiling.tile(rows, classes.clone());
                self.units(cpu, &tile, Logits::Missing, Some(&scale));
                self.add_gradients(cpu, &tile, &out, weight);
            }
            self.end_classes(cpu, &out, weight, &classes);
        }
        self.end(cpu, &out);
    }

    /// Both in one sweep over the rows where their logits can be kept, else one after the other.
    pub fn forward_backward(
        &self,
        cpu: &Cpu,
        saved: Option<&mut [f32]>,
        scale: impl Fn(usize) -> f32 + Sync,
        out: Gradients,
    ) {
        let Some(tiling) = self.tilings.kept.filter(|_| out.any()) else {
            self.forward(cpu, saved);
            self.backward(cpu, scale, out);
            return;
        };
        let (out, classes) = (self.begin(out), 0..self.classes);
        let weight = self.begin_classes(&out, &classes);
        for rows in tiling.rows(self.len()) {
            self.read(cpu, &rows);
            self.clear_parts(&tiling, &rows);
            let tile = tiling.tile(rows.clone(), classes.clone());
            self.units(cpu, &tile, Logits::Missing, None::<&fn(usize) -> f32>);
            self.finish_parts(&tiling, &rows);
            self.units(cpu, &tile, Logits::There, Some(&scale));
            self.add_gradients(cpu, &tile, &out, weight);
        }
        self.end_classes(cpu, &out, weight, &classes);
        self.end(cpu, &out);
        self.save(saved);
    }

    fn clear_parts(&self, tiling: &Tiling, rows: &Range<usize>) {
        (0..rows.len() * tiling.slots).for_each(|i| self.parts.set(i, Part::EMPTY));
    }

    /// From the statistics of parts to those of rows.
    fn finish_parts(&self, tiling: &Tiling, rows: &Range<usize>) {
        let loss = self.p.loss;
        for i in rows.clone() {
            let mut all = Part::EMPTY;
            for chain in tiling.chains() {
                let slots = chain.map(|slot| (i - rows.start) * tiling.slots + slot);
                // SAFETY: all have been written.
                let part = slots.fold(Part::EMPTY, |a, slot| loss.merge(a, unsafe { self.parts.get(slot) }));
                all = loss.merge(all, part);
            }
            self.stats.set(i, loss.finish(all));
        }
    }

    fn save(&self, to: Option<&mut [f32]>) {
        let Some(to) = to else { return };
        to.fill(0.0);
        for i in 0..self.len() {
            // SAFETY: written by the forward sweep.
            let stats = unsafe { self.stats.get(i) };
            let at = self.place(i) * CrossEntropy::SAVED;
            to[at..][..CrossEntropy::SAVED]
                .copy_from_slice(&bytemuck::cast_slice(&[stats])[..CrossEntropy::SAVED]);
        }
    }

    /// Instead of [`LinearRows::forward`]: what an earlier call saved; the losses are not known then.
    pub fn restore(&self, saved: &[f32]) {
        for i in 0..self.len() {
            let mut stats = <Stats as bytemuck::Zeroable>::zeroed();
            let at = self.place(i) * CrossEntropy::SAVED;
            bytemuck::cast_slice_mut(std::slice::from_mut(&mut stats))[..CrossEntropy::SAVED]
                .copy_from_slice(&saved[at..][..CrossEntropy::SAVED]);
            self.stats.set(i, stats);
        }
    }

    fn begin<'a>(&'a self, gradients: Gradients<'a>) -> Outputs<'a> {
        let x = gradients.x.map(|out| Sums::of(out, self.x_sums));
        if let Some(sums) = x {
            sums.clear(self.p.labels.len());
        }
        Outputs { x, gradients }
    }

    /// The gradient of weight of these classes, and that of the bias, before any row is added.
    fn begin_classes<'a>(&'a self, out: &Outputs<'a>, classes: &Range<usize>) -> Option<Sums<'a>> {
        let weight = out.gradients.weight.map(|out| Sums::part_of(out, self.weight_sums, classes.start));
        // The first tile of rows replaces what is there.
        if let Some(sums) = weight.filter(|_| self.len() == 0) {
            sums.clear(classes.len());
        }
        (0..classes.len()).for_each(|k| self.bias.set(k, 0.0));
        weight
    }

    fn add_gradients(&self, cpu: &Cpu, tile: &Tile, out: &Outputs, weight: Option<Sums>) {
        self.spread(cpu, tile, out.x.is_some(), weight, out.gradients.bias.is_some());
        if let Some(sums) = out.x {
            self.fold(cpu, &tile.rows, sums);
        }
    }

    fn end_classes(&self, cpu: &Cpu, out: &Outputs, weight: Option<Sums>, classes: &Range<usize>) {
        if let Some(sums) = weight {
            sums.round(cpu, classes.len());
        }
        if let Some(bias) = out.gradients.bias {
            for k in classes.clone() {
                // SAFETY: one sum and one element per class.
                unsafe {
                    let sum = self.bias.get(k - classes.start);
                    storage::write_one(bias.dtype, sum as f32, bias.at(k));
                }
            }
        }
    }

    fn end(&self, cpu: &Cpu, out: &Outputs) {
        if let Some(sums) = out.x {
            sums.round(cpu, self.p.labels.len());
        }
    }
}
