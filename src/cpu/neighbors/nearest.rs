//! The k smallest of many values.

/// Up to this many are kept sorted; more are a heap.
const SORTED: usize = 16;

/// Holds infinity until there are k values.
pub struct Nearest<'a> {
    /// Sorted in descending order, or a heap with the largest first.
    values: &'a mut [f32],
}

impl<'a> Nearest<'a> {
    pub fn new(values: &'a mut [f32]) -> Nearest<'a> {
        values.fill(f32::INFINITY);
        Nearest { values }
    }

    /// Goes on with what another `Nearest` left.
    pub fn resume(values: &'a mut [f32]) -> Nearest<'a> {
        Nearest { values }
    }

    /// The k-th smallest so far.
    #[inline(always)]
    pub fn farthest(&self) -> f32 {
        self.values[0]
    }

    #[inline]
    pub fn offer(&mut self, value: f32) {
        if value >= self.farthest() {
            return;
        }
        let values = &mut *self.values;
        let k = values.len();
        let mut at = 0;
        if k <= SORTED {
            while at + 1 < k && value < values[at + 1] {
                values[at] = values[at + 1];
                at += 1;
            }
        } else {
            loop {
                let (left, right) = (2 * at + 1, 2 * at + 2);
                let child = if right < k && values[right] > values[left.min(k - 1)] { right } else { left };
                if child >= k || values[child] <= value {
                    break;
                }
                values[at] = values[child];
                at = child;
            }
        }
        values[at] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_smallest() {
        let values: Vec<f32> = (0..400u32).map(|i| (i * 7919 % 401 / 2) as f32).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        for k in [1, 2, 3, 16, 17, 18, 31, 100, 399, 400] {
            let mut room = vec![0.0; k];
            let mut nearest = Nearest::new(&mut room);
            values.iter().for_each(|&v| nearest.offer(v));
            assert_eq!(nearest.farthest(), sorted[k - 1], "{k}");
        }
    }
}
