//! Sums of the log-probabilities of tokens over the sequences that they belong to.

use crate::cpu::workspace::{Size, Workspace};

/// The tokens of a call.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    pub labels: &'a [i64],
    pub segments: &'a [i64],
    pub ignore_index: i64,
    pub average: bool,
}

pub struct Sequences<'a> {
    tokens: Tokens<'a>,
    counts: &'a mut [f64],
    sums: &'a mut [f64],
    /// -log p of each token; the caller's to fill.
    pub losses: &'a mut [f32],
}

pub fn workspace_size(size: Size, tokens: u64, sequences: u64) -> Size {
    size.add::<f64>(sequences).add::<f64>(sequences).add::<f32>(tokens)
}

impl<'a> Sequences<'a> {
    pub fn new(tokens: Tokens<'a>, sequences: usize, workspace: &mut Workspace<'a>) -> Self {
        let counts = workspace.take(sequences, 0.0);
        for (&label, &s) in tokens.labels.iter().zip(tokens.segments) {
            if label != tokens.ignore_index {
                counts[s as usize] += 1.0;
            }
        }
        let sums = workspace.take(sequences, 0.0);
        Sequences { tokens, counts, sums, losses: workspace.take(tokens.labels.len(), 0.0) }
    }

    pub fn outputs(&mut self, log_prob: Option<&mut [f32]>, counts: Option<&mut [f32]>) {
        if let Some(out) = counts {
            out.iter_mut().zip(&*self.counts).for_each(|(out, &count)| *out = count as f32);
        }
        let Some(out) = log_prob else { return };
        let labels = self.tokens.labels.iter().zip(self.tokens.segments);
        for ((&label, &s), &loss) in labels.zip(&*self.losses) {
            if label != self.tokens.ignore_index {
                self.sums[s as usize] -= f64::from(loss);
            }
        }
        for (s, out) in out.iter_mut().enumerate() {
            *out = (self.sums[s] / self.divisor(s)) as f32;
        }
    }

    fn divisor(&self, s: usize) -> f64 {
        if self.tokens.average { self.counts[s].max(1.0) } else { 1.0 }
    }

    /// What the gradient of -log p of token `t` is multiplied by.
    pub fn scale(&self, grad_loss: Option<&[f32]>, t: usize) -> f32 {
        let s = self.tokens.segments[t] as usize;
        (-f64::from(grad_loss.map_or(1.0, |g| g[s])) / self.divisor(s)) as f32
    }
}
