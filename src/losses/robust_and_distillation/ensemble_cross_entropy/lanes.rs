//! Samples of few classes in lanes.

use super::Ensemble;
use crate::cpu::narrow::{Classes, LaneLoss, LaneRows, NegLogProb, Softmax, Stats, Tiles};
use crate::cpu::simd::Simd;
use std::ops::Range;

/// `average` logits.
pub struct LanesOfLogits<'a>(pub &'a Ensemble<'a>);

impl LaneLoss for LanesOfLogits<'_> {
    type State<S: Simd> = <Softmax<NegLogProb> as LaneLoss>::State<S>;

    /// The classes come with the first model's logits.
    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        s: S,
        [classes]: &mut [Classes<S>; 1],
        _saved: Option<Stats<S>>,
    ) -> LaneRows<S, Self::State<S>> {
        let Ensemble { models, rows, logits, labels, .. } = self.0;
        let (n, samples) = (classes.len, classes.rows.clone());
        // Counted from the largest of the model: what it adds to all logits does not blur their differences.
        let top = classes.top(s);
        for k in (0..n).step_by(2) {
            let mut sum = classes.pair(s, k);
            for v in 0..2 {
                sum[v] = s.sub(sum[v], top);
            }
            classes.set_pair(s, k, sum);
        }
        let mut tiles = Tiles::new();
        for m in 1..*models {
            let first = m * rows;
            let mut model = tiles.classes(n, first + samples.start..first + samples.end, classes.label);
            let followed = first + samples.end < models * rows;
            // SAFETY: rows of the checked buffer.
            unsafe { model.read(s, logits, followed) };
            let top = model.top(s);
            for k in (0..n).step_by(2) {
                let (mut sum, z) = (classes.pair(s, k), model.pair(s, k));
                for v in 0..2 {
                    sum[v] = s.add(sum[v], s.sub(z[v], top));
                }
                classes.set_pair(s, k, sum);
            }
        }
        let share = s.splat((1.0 / *models as f64) as f32);
        for k in (0..n).step_by(2) {
            let mut mean = classes.pair(s, k);
            for v in 0..2 {
                mean[v] = s.mul(mean[v], share);
            }
            classes.set_pair(s, k, mean);
        }
        classes.label = classes.by_row(
            s,
            #[inline(always)]
            |r| labels[r] as f32,
        );
        let mut found = Softmax(NegLogProb).rows(s, std::array::from_mut(classes), None);
        found.own = s.mul(share, found.own);
        found.state = (s.mul(share, found.state.0), s.mul(share, found.state.1));
        found
    }

    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        state: &Self::State<S>,
        classes: &[Classes<S>; 1],
        k: usize,
        scale: S::F,
    ) -> [S::F; 1] {
        Softmax(NegLogProb).gradient(s, state, classes, k, scale)
    }
}

impl Ensemble<'_> {
    /// Copies gradients for the first model to the others, but for samples with a bit in `left`.
    pub fn spread(&self, samples: Range<usize>, left: u32) {
        let Some(gradients) = &self.gradients else { return };
        let all = left == 0 && gradients.stride == self.classes;
        let (runs, each) = if all { (1, samples.len()) } else { (samples.len(), 1) };
        for i in (0..runs).filter(|i| left >> i & 1 == 0) {
            let (r, bytes) = (samples.start + i, each * self.classes * gradients.dtype.size());
            for m in 1..self.models {
                // SAFETY: rows that only the block with these samples writes.
                unsafe {
                    std::ptr::copy_nonoverlapping(gradients.row(r), gradients.row(m * self.rows + r), bytes);
                }
            }
        }
    }
}
