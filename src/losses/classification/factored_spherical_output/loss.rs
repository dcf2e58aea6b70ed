//! The losses of the spherical family from three sums of a row of outputs.

/// What a loss sees of a row: its label's output, the sum of squares and the sum of all outputs.
#[derive(Clone, Copy)]
pub struct Row {
    pub own: f64,
    pub squares: f64,
    pub sum: f64,
}

/// The gradient in the outputs is alpha o + beta 1 + gamma e_y.
#[derive(Clone, Copy, Default)]
pub struct Slopes {
    pub alpha: f64,
    pub beta: f64,
    pub gamma: f64,
}

pub struct Loss {
    /// As in the declaration: z_loss, spherical, taylor, mse.
    pub kind: i32,
    pub classes: f64,
    pub a: f64,
    pub b: f64,
    pub eps: f64,
}

impl Loss {
    pub fn of(&self, row: Row) -> (f64, Slopes) {
        let Row { own, squares, sum } = row;
        let slopes = |alpha, beta, gamma| Slopes { alpha, beta, gamma };
        match self.kind {
            0 => self.z_loss(row),
            1 => {
                let (all, f) = (squares + self.classes * self.eps, own * own + self.eps);
                (all.ln() - f.ln(), slopes(2.0 / all, 0.0, -2.0 * own / f))
            }
            2 => {
                let (all, f) = (self.classes + sum + squares / 2.0, 1.0 + own + own * own / 2.0);
                (all.ln() - f.ln(), slopes(1.0 / all, 1.0 / all, -(1.0 + own) / f))
            }
            _ => (squares - 2.0 * own + 1.0, slopes(2.0, 0.0, -2.0)),
        }
    }

    fn z_loss(&self, Row { own, squares, sum }: Row) -> (f64, Slopes) {
        let classes = self.classes;
        let mean = sum / classes;
        let variance = squares / classes - mean * mean;
        // A constant row has no direction; rounding may make its variance negative. A NaN goes through.
        let constant = variance <= 0.0;
        let std = if constant { 1.0 } else { variance.sqrt() };
        let u = if constant { 0.0 } else { (own - mean) / std };
        let x = self.a * (self.b - u);
        let hinge = if x < 0.0 { 0.0 } else { x };
        let loss = (hinge + (-x.abs()).exp().ln_1p()) / self.a;
        if constant {
            return (loss, Slopes::default());
        }
        let g = 1.0 / (1.0 + (-x).exp());
        let alpha = g * u / (classes * std * std);
        (loss, Slopes { alpha, beta: g / (classes * std) - alpha * mean, gamma: -g / std })
    }
}
