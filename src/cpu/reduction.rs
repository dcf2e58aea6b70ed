//! The two ends of a reduction: where losses go, and what gradients are multiplied by.

use crate::cpu::parallel::Cells;
use crate::registry::Reduction;

/// The buffer of a loss as places for each sample's (reduction none) or as that of the one value.
pub fn losses<'a>(
    loss: Option<&'a mut [f32]>,
    reduction: Reduction,
) -> (Option<Cells<'a>>, Option<&'a mut [f32]>) {
    match loss {
        Some(all) if reduction == Reduction::None => (Some(Cells::new(all)), None),
        one => (None, one),
    }
}

/// Upstream gradients: one for each sample (reduction none) or one for all, ones if there are none; times what the
/// reduction multiplies losses by.
#[derive(Clone, Copy)]
pub struct Upstream<'a> {
    values: Option<&'a [f32]>,
    per_sample: bool,
    factor: f64,
}

impl<'a> Upstream<'a> {
    pub fn new(values: Option<&'a [f32]>, reduction: Reduction, factor: f64) -> Self {
        Upstream { values, per_sample: reduction == Reduction::None, factor }
    }

    /// The factor of all samples, where they have the same.
    pub fn common(&self) -> Option<f64> {
        let one_for_each = self.per_sample && self.values.is_some();
        (!one_for_each).then(|| self.of(0))
    }

    #[inline(always)]
    pub fn of(&self, sample: usize) -> f64 {
        let value = self.values.map_or(1.0, |g| g[if self.per_sample { sample } else { 0 }]);
        f64::from(value) * self.factor
    }
}
