//! l = (p_m - [m = y])^2,  p = softmax(z / T),  m the largest logit's class.

use crate::cpu::parallel::Cells;
use crate::cpu::row::{Row, RowOut};
use crate::cpu::row_sets::{self, RowSetLoss, row_sets_problem};
use crate::cpu::simd::Simd;
use crate::cpu::softmax_entropy::{self, Entropy};
use crate::cpu::storage::{read_one, write_one};
use crate::registry::entries::correctness_aware_calibration::Call;
use crate::registry::{Floats, FloatsMut};

struct Calibration<'a> {
    temperatures: Floats<'a>,
    labels: &'a [i64],
    ignore_index: i64,
    confidence: Option<Cells<'a>>,
    correct: Option<Cells<'a, u8>>,
    grad_temperatures: Option<FloatsMut<'a>>,
}

struct State {
    temperature: f64,
    index: usize,
    row: Entropy,
    /// p_m - [m = y].
    error: f64,
}

impl Calibration<'_> {
    fn set_grad_temperature(&self, r: usize, value: f32) {
        if let Some(gradients) = &self.grad_temperatures {
            // SAFETY: sample r is within the checked buffer, and only its block writes it.
            unsafe { write_one(gradients.dtype, value, gradients.at(r)) }
        }
    }

    fn set_outputs(&self, r: usize, confidence: f32, correct: bool) {
        if let Some(out) = self.confidence {
            out.set(r, confidence);
        }
        if let Some(out) = self.correct {
            out.set(r, u8::from(correct));
        }
    }
}

impl RowSetLoss<1> for Calibration<'_> {
    type State = State;

    fn counts(&self, r: usize) -> bool {
        self.labels[r] != self.ignore_index
    }

    #[inline(always)]
    fn state<S: Simd>(&self, s: S, r: usize, rows: &[Row; 1]) -> State {
        // SAFETY: sample r is within the checked buffer.
        let temperature = f64::from(unsafe { read_one(self.temperatures.dtype, self.temperatures.at(r)) });
        let stats = softmax_entropy::stats(s, &rows[0], (1.0 / temperature) as f32);
        let row = stats.entropy(s, 1.0 / temperature);
        let index = softmax_entropy::index_of(s, &rows[0], stats.top, 0);
        let correct = index == self.labels[r] as usize;
        self.set_outputs(r, row.odds.own as f32, correct);
        let error = if correct { -row.odds.others } else { row.odds.own };
        State { temperature, index, row, error }
    }

    #[inline(always)]
    fn loss<S: Simd>(&self, _s: S, _r: usize, state: &State) -> f32 {
        (state.error * state.error) as f32
    }

    /// With D = 2 (p_m - [m = y]): dl/dz_k = D p_m (delta_km - p_k) / T, dl/dT = -D p_m (x_m less its mean) / T.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        s: S,
        r: usize,
        state: &State,
        rows: &[Row; 1],
        scale: f32,
        out: &[Option<RowOut>; 1],
    ) {
        let (row, odds) = (&state.row, &state.row.odds);
        let slope = f64::from(scale) * 2.0 * state.error * odds.own / state.temperature;
        self.set_grad_temperature(r, (-slope * row.top_excess()) as f32);
        let Some(out) = &out[0] else { return };
        row.write(s, &rows[0], out, -slope * odds.share, (1.0, 0.0), -slope * odds.own);
        if state.index < rows[0].len {
            out.set(state.index, (slope * odds.others) as f32);
        }
    }

    fn clear(&self, r: usize) {
        self.set_outputs(r, 0.0, false);
        self.set_grad_temperature(r, 0.0);
    }
}

pub fn cpu(cpu: &crate::cpu::Cpu, call: &mut Call) -> crate::registry::Result<()> {
    let loss = Calibration {
        temperatures: call.temperatures,
        labels: call.labels,
        ignore_index: call.opts.ignore_index,
        confidence: call.confidence.as_deref_mut().map(Cells::new),
        correct: call.correct.as_deref_mut().map(Cells::new),
        grad_temperatures: call.grad_temperatures,
    };
    let problem = row_sets_problem!(call, rows, [logits], [grad_logits]);
    let more_gradients = loss.grad_temperatures.is_some();
    row_sets::run(cpu, &loss, row_sets::Problem { more_gradients, ..problem });
    Ok(())
}

row_sets_cuda!(
    correctness_aware_calibration,
    rows,
    classes,
    [grad_logits, grad_temperatures],
    ignoring,
    [confidence, correct]
);
