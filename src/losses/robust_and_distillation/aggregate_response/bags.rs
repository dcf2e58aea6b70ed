//! Sums over a bag, and what its instances' gradients take from it.

/// Logits beyond this are summed in units of their own: what is divided by means of their probabilities is about to
/// leave the range of f32.
pub const FAR: f64 = 60.0;

/// Of the instances of a bag: their number, the sum of q, and that of 1 - q (logistic), in units of exp(-shift).
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Bag {
    count: f64,
    sums: [f64; 2],
}

/// Of the two sums; 0 where all logits of a call are near.
pub type Shifts = [f64; 2];
/// Those of a bag without instances.
pub const NO_SHIFTS: Shifts = [f64::INFINITY; 2];

/// Adds value exp(-by) to sum exp(-shift).
fn add(sum: &mut f64, shift: &mut f64, value: f64, by: f64) {
    if *shift == by {
        *sum += value;
        return;
    }
    let least = shift.min(by);
    *sum = *sum * (least - *shift).exp() + value * (least - by).exp();
    *shift = least;
}

impl Bag {
    pub const EMPTY: Bag = Bag { count: 0.0, sums: [0.0; 2] };

    #[inline(always)]
    pub fn take(&mut self, q: f32, rest: f32) {
        self.count += 1.0;
        self.sums[0] += f64::from(q);
        self.sums[1] += f64::from(rest);
    }

    /// `q` = sigmoid(x), which far down is exp(x); the same of `rest` and -x.
    pub fn take_far(&mut self, shifts: &mut Shifts, x: f64, q: f32, rest: f32) {
        self.count += 1.0;
        for (side, (x, value)) in [(x, q), (-x, rest)].into_iter().enumerate() {
            let (value, by) = if x < -FAR { (1.0, -x) } else { (f64::from(value), 0.0) };
            add(&mut self.sums[side], &mut shifts[side], value, by);
        }
    }

    pub fn merge(&mut self, shifts: &mut Shifts, other: &Bag, by: &Shifts) {
        self.count += other.count;
        for side in 0..2 {
            add(&mut self.sums[side], &mut shifts[side], other.sums[side], by[side]);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    /// Loss of a bag that is not empty, and its slopes.
    pub fn finish(&self, logistic: bool, shifts: &Shifts, y: f64) -> (f64, FarSlope) {
        let c = self.count;
        let means = self.sums.map(|sum| sum / c);
        if !logistic {
            let d = means[0] - y;
            return (d * d, FarSlope { y, k: 2.0 * d / c, inverse: [1.0; 2] });
        }
        let numbers = [0, 1].map(|side| means[side] * (-shifts[side]).exp());
        // The logarithm of a mean near 1 from the other one.
        let log = |side: usize| match numbers[1 - side] {
            other if other < 0.5 => (-other).ln_1p(),
            _ => means[side].ln() - shifts[side],
        };
        // 0 log 0 is 0.
        let term = |y: f64, side: usize| if y == 0.0 { 0.0 } else { -y * log(side) };
        let k = ((1.0 - y) * numbers[0] - y * numbers[1]) / c;
        (term(y, 0) + term(1.0 - y, 1), FarSlope { y, k, inverse: means.map(|mean| 1.0 / mean) })
    }
}

/// k (q inverse) ((1 - q) inverse), q and 1 - q in the units of the bag, is the slope of its loss at an instance
/// (logistic).
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
pub struct FarSlope {
    pub y: f64,
    pub k: f64,
    pub inverse: [f64; 2],
}

impl FarSlope {
    pub fn near(&self) -> Slope {
        Slope { y: self.y as f32, k: (self.k * self.inverse[0] * self.inverse[1]) as f32 }
    }
}

/// The same where some logits are near: k q (1 - q) (logistic).
#[derive(Clone, Copy, Default)]
#[repr(align(8))]
pub struct Slope {
    pub y: f32,
    pub k: f32,
}
