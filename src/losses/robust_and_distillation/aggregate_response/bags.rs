//! Sums over a bag, and what its instances' gradients take from it.

/// The number value exp(-shift), shift >= 0: sums of probabilities that are all below f64 keep their digits.
#[derive(Clone, Copy)]
pub struct Scaled {
    value: f64,
    shift: f64,
}

impl Scaled {
    const ZERO: Scaled = Scaled { value: 0.0, shift: f64::INFINITY };

    /// `q` = sigmoid(x), which far down is exp(x).
    #[inline(always)]
    fn sigmoid(x: f64, q: f64) -> Scaled {
        if x < -600.0 { Scaled { value: 1.0, shift: -x } } else { Scaled { value: q, shift: 0.0 } }
    }

    #[inline(always)]
    fn add(&mut self, other: Scaled) {
        if self.shift == other.shift {
            self.value += other.value;
            return;
        }
        let shift = self.shift.min(other.shift);
        self.value = self.value * (shift - self.shift).exp() + other.value * (shift - other.shift).exp();
        self.shift = shift;
    }

    fn over(self, count: f64) -> Scaled {
        Scaled { value: self.value / count, ..self }
    }

    fn number(self) -> f64 {
        self.value * (-self.shift).exp()
    }

    /// Its logarithm, `rest` being 1 less it.
    fn ln(self, rest: Scaled) -> f64 {
        let rest = rest.number();
        if rest < 0.5 { (-rest).ln_1p() } else { self.value.ln() - self.shift }
    }
}

/// Of the instances of a bag: their number, the sum of q, and that of 1 - q (logistic).
#[derive(Clone, Copy)]
pub struct Bag {
    count: f64,
    sum: Scaled,
    rest: Scaled,
}

impl Bag {
    pub const EMPTY: Bag = Bag { count: 0.0, sum: Scaled::ZERO, rest: Scaled::ZERO };

    #[inline(always)]
    pub fn take(&mut self, x: f32) {
        self.count += 1.0;
        self.sum.add(Scaled { value: f64::from(x), shift: 0.0 });
    }

    #[inline(always)]
    pub fn take_logit(&mut self, x: f32, q: f64, rest: f64) {
        let x = f64::from(x);
        self.count += 1.0;
        self.sum.add(Scaled::sigmoid(x, q));
        self.rest.add(Scaled::sigmoid(-x, rest));
    }

    pub fn merge(&mut self, other: &Bag) {
        self.count += other.count;
        self.sum.add(other.sum);
        self.rest.add(other.rest);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    /// Loss of a bag that is not empty, and its slopes.
    pub fn finish(&self, logistic: bool, y: f64) -> (f64, Slope) {
        let (m, c) = (self.sum.over(self.count), self.count);
        if !logistic {
            let d = m.number() - y;
            return (d * d, Slope { y, k: 2.0 * d / c, ..Slope::default() });
        }
        let rest = self.rest.over(c);
        // 0 log 0 is 0.
        let term = |y: f64, log: f64| if y == 0.0 { 0.0 } else { -y * log };
        let loss = term(y, m.ln(rest)) + term(1.0 - y, rest.ln(m));
        let k = ((1.0 - y) * m.number() - y * rest.number()) / c;
        let slope = Slope {
            y,
            k,
            inverse: [1.0 / m.value, 1.0 / rest.value],
            shifts: [m.shift, rest.shift],
        };
        (loss, slope)
    }
}

/// k times q exp(shift) inverse times the same of 1 - q is the slope of a bag's loss at one of its instances (logistic).
#[derive(Clone, Copy, Default)]
pub struct Slope {
    pub y: f64,
    pub k: f64,
    pub inverse: [f64; 2],
    pub shifts: [f64; 2],
}
